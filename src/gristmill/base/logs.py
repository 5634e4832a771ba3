"""Logs: constant events with fields beside them, secrets masked, written by structlog.

structlog is imported when the first line is written, not before: most processes write none.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Literal

from gristmill.base.registry import imported
from gristmill.base.settings.mask import masked

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]

_RANK: dict[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_set: dict[str, Any] = {"rank": _RANK["warning"], "format": "auto", "ready": False}


class Logger:
    """A module's voice."""

    def __init__(self, name: str) -> None:
        self._name = name

    def tells(self, level: Level) -> bool:
        """Whether lines of this level are written: for those whose fields cost something."""
        return bool(_RANK[level] >= _set["rank"])

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        if not self.tells(level):
            return
        structlog = _structlog()
        if not _set["ready"]:
            _configure(structlog)
        getattr(structlog.get_logger(), level)(event, logger=self._name, **fields)


def get_logger(name: str) -> Logger:
    """The logger of a module."""
    return Logger(name)


def setup_logs(level: Level, *, format: Format = "auto") -> None:
    """Log to the standard error stream from this level on: for people on a terminal, as JSON lines otherwise."""
    _set.update(rank=_RANK[level], format=format, ready=False)


def _structlog() -> Any:
    """structlog without Rich, which it would load for coloured tracebacks: a tenth of an idle worker's memory."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return imported("structlog")
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        return imported("structlog")
    finally:
        del sys.modules["rich"]


def _configure(structlog: Any) -> None:
    human = _set["format"] == "console" or (_set["format"] == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask,
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=_Stderr()),
    )
    _set["ready"] = True


class _Stderr:
    """The standard error stream as it is now. Where it cannot take a line, the line is lost and the work goes on."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def _mask(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No secret gets through, whatever was logged (P11)."""
    return {key: masked(value, key) for key, value in event.items()}
