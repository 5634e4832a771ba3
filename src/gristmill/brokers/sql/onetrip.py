"""pg8000 with one trip over the network for a statement instead of three."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

_NEEDS = ("Context", "make_params", "DESCRIBE", "SYNC_MSG", "_write", "_flush")
_UNNAMED, _PORTAL = b"\x00", b"P\x00"


@cache
def connection_class() -> Any:
    """The driver's connection, sending all of a statement at once. The driver's own where it is built otherwise by now."""
    core, own = import_module("pg8000.core"), import_module("pg8000.legacy").Connection
    if not all(hasattr(core, name) for name in _NEEDS):
        return own

    class Connection(own):  # type: ignore[misc,valid-type]  # the driver is imported when it is used
        def execute_unnamed(self, statement: Any, vals: Any = (), oids: Any = (), stream: Any = None) -> Any:
            if stream is not None:
                return super().execute_unnamed(statement, vals=vals, oids=oids, stream=stream)
            context = core.Context(statement)
            self.send_PARSE(_UNNAMED, statement, oids)
            self.send_BIND(_UNNAMED, core.make_params(self.py_types, vals))
            self._send_message(core.DESCRIBE, _PORTAL)
            self.send_EXECUTE()
            core._write(self._sock, core.SYNC_MSG)
            core._flush(self._sock)
            self.handle_messages(context)
            return context

    return Connection
