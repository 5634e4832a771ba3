"""A user's own functions at the turns of a master's and a worker's life."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class Hooks:
    """The functions of these names in a module; what it does not have is not called.

    In the master: ``on_starting(master)``, ``when_ready(master)``, ``on_reload(master)``, ``pre_fork(master, worker)``,
    ``worker_abort(master, worker)`` before a silent worker is told to show its stacks and die, ``worker_exit(master,
    worker)``, ``on_exit(master)``. In a worker: ``post_fork(worker)`` before it begins, ``worker_int(worker)`` when it is
    told to hand back at once.
    """

    def __init__(self, module: str) -> None:
        self._module: ModuleType | None = import_module(module) if module else None

    def call(self, name: str, *args: object) -> None:
        """Call one of them. What it raises is the caller's: a broken hook is not passed over."""
        hook = getattr(self._module, name, None)
        if hook is not None:
            hook(*args)
