"""Kills to order: SIGKILL for a process of an ingest, at a chosen call of a chosen step.

Nothing in the product knows of this. A test writes a folder with a ``sitecustomize.py`` (``prepare``) and puts it at the
front of PYTHONPATH; every process of the command that it then starts wraps the steps of ``STEPS`` as their modules are
imported, counts the calls over all processes of a role, and strikes where a ``Kill`` says so. A run without any ``Kill``
tells which steps there are (``counted``).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec
import psutil

Role = Literal["main", "worker", "nursery", "runner"]  # "main" is the ingest, "worker" a `gristmill worker` beside it
Victim = Literal["top", "nursery", "runner"]  # "top": the ingest or worker that the process belongs to
When = Literal["before", "after"]

PLAN, STRUCK, COUNTS = "plan.json", "struck", "counts"

# Step -> the callables that do it. A context manager is struck inside its block ("before" its end) and after it.
STEPS: dict[str, tuple[str, ...]] = {
    **{
        f"catalog.{name}": (f"gristmill.catalogs.sql.catalog:SqlCatalog.{name}",)
        for name in (
            "create_dataset submit start plan split report finish_part log commit fail writable sweepable swept runs"
            " remember_files unfinished"
        ).split()
    },
    **{
        f"docstore.{name}": (f"gristmill.docstores.sqlite.store:SqliteDocStore.{name}",)
        for name in "write trim seal sweep maintain generations".split()
    },
    **{
        f"broker.{name}": (f"gristmill.brokers.sql.broker:SqlBroker.{name}",)
        for name in "publish reserve extend finish release progress reclaim find lock beat".split()
    },
    **{f"cache.{name}": (f"gristmill.catalogs.cache:SqlCache.{name}",) for name in "get_many put_many evict".split()},
    **{f"storage.{name}": (f"gristmill.storages.files:FileStore.{name}",) for name in "put put_file get keys".split()},
    "storage.rename": ("os:replace",),
    "catalog.migrate": ("gristmill.catalogs.sql.fresh:create", "gristmill.catalogs.sql.upgrade:upgrade"),
    "sql.transaction": ("sqlalchemy.engine.default:DefaultDialect.do_commit",),
    "sqlite.transaction": ("gristmill.base.sqlite:writing",),
    "stage.count": ("gristmill.pipeline.parse:count_pages",),
    "stage.read": ("gristmill.pipeline.parse:read_pages",),
    "stage.windows": ("gristmill.pipeline.parse:cut_windows",),
    "stage.chunks": ("gristmill.pipeline.stages:make_chunks",),
    "stage.write": ("gristmill.pipeline.stages:embed_and_write",),
    "stage.commit": ("gristmill.pipeline.stages:commit",),
    "stage.embed": ("gristmill.providers.lexical:LexicalEmbedder.embed",),
    "service.submit": ("gristmill.pipeline.service:IngestService.submit",),
    "service.reconcile": ("gristmill.pipeline.reconcile:Reconciler.look",),
    "app.load": ("gristmill.wiring:pipeline_app",),
    "frame": (
        "gristmill.engine.wire:Channel.send",
        "gristmill.engine.wire:Channel.post",
        "gristmill.engine.wire:BlockingChannel.send",
    ),
}
_NURSERY_STEPS = {"frame": ("gristmill.engine.wire:pack",)}  # it writes to its socket itself


class Kill(msgspec.Struct, frozen=True):
    """Kill ``victim`` at the ``nth`` call of ``step`` in processes of ``role``."""

    role: Role
    step: str
    when: When
    nth: int
    victim: Victim


class Count(msgspec.Struct, frozen=True, order=True):
    """How often processes of a role did a step."""

    role: Role
    step: str
    when: When
    calls: int


def prepare(folder: Path, kills: Sequence[Kill] = ()) -> Path:
    """Write what PYTHONPATH must begin with. Returns the folder."""
    (folder / COUNTS).mkdir(parents=True)
    (folder / PLAN).write_bytes(msgspec.json.encode(kills))
    arm = f"from gristmill.testing.faults import arm; arm({str(folder)!r})\n"
    (folder / "sitecustomize.py").write_text(arm, encoding="utf-8")
    return folder


def counted(folder: Path) -> list[Count]:
    """Every step that was done, with how often."""
    found = []
    for path in (folder / COUNTS).iterdir():
        role, step, when = path.name.split(",")
        shape = {"role": role, "step": step, "when": when, "calls": path.stat().st_size}
        found.append(msgspec.convert(shape, Count))
    return sorted(found)


def struck(folder: Path) -> list[str]:
    """What was killed, in words."""
    path = folder / STRUCK
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def arm(folder: str) -> None:
    """Wrap the steps in this process, as their modules are imported. For ``sitecustomize``."""
    faults = _Faults(Path(folder))
    os.register_at_fork(after_in_child=faults.forked)
    targets: dict[str, list[tuple[str, str]]] = {}
    for step, places in (STEPS | (_NURSERY_STEPS if faults.role == "nursery" else {})).items():
        for place in places:
            module, _, name = place.partition(":")
            if module in sys.modules:
                _wrap(faults, sys.modules[module], step, name)
            else:
                targets.setdefault(module, []).append((step, name))
    sys.meta_path.insert(0, _Finder(faults, targets))


class _Faults:
    """Counts calls over processes, and strikes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kills = msgspec.json.decode((folder / PLAN).read_bytes(), type=list[Kill])
        self.role: Role = "main"
        if "gristmill.engine.nursery" in sys.orig_argv:
            self.role = "nursery"
        elif "worker" in sys.orig_argv:
            self.role = "worker"

    def forked(self) -> None:
        """A nursery's child is a runner."""
        if self.role == "nursery":
            self.role = "runner"

    def hit(self, step: str, when: When) -> None:
        """One more call: is it the one?"""
        calls = self._count(step, when)
        for kill in self._kills:
            if (kill.role, kill.step, kill.when, kill.nth) == (self.role, step, when, calls):
                self._strike(kill)

    def _count(self, step: str, when: When) -> int:
        """The calls so far: a byte for each in a file of all processes."""
        name = f"{self.role},{step},{when}"
        file = os.open(self._folder / COUNTS / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, b".")
            return os.fstat(file).st_size
        finally:
            os.close(file)

    def _strike(self, kill: Kill) -> None:
        pid = _victim(self.role, kill.victim)
        with (self._folder / STRUCK).open("a", encoding="utf-8") as file:
            file.write(f"{kill.victim} {pid}: {kill.when} {kill.step} of {kill.role} number {kill.nth}\n")
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


def _victim(role: Role, victim: Victim) -> int | None:
    """The process to kill, seen from one of that role; None if there is none (yet, or any more)."""
    order: list[Victim] = ["top", "nursery", "runner"]
    mine = max(order.index(victim) if role == victim else 0 for victim in order)
    me = psutil.Process()
    steps = order.index(victim) - mine
    if steps <= 0:
        return int([me, *me.parents()][-steps].pid)
    below = [me]
    for _ in range(steps):
        below = [child for one in below for child in one.children()]
    return int(below[0].pid) if below else None


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps the steps of a module when it has been executed."""

    def __init__(self, faults: _Faults, targets: dict[str, list[tuple[str, str]]]) -> None:
        self._faults = faults
        self._targets = targets

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        steps = self._targets.pop(fullname, None)
        if steps is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        run, faults = spec.loader.exec_module, self._faults

        def exec_module(module: ModuleType) -> None:
            run(module)
            for step, name in steps:
                _wrap(faults, module, step, name)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one loader
        return spec


def _wrap(faults: _Faults, module: ModuleType, step: str, name: str) -> None:
    holder: Any = module
    *above, last = name.split(".")
    for one in above:
        holder = getattr(holder, one)
    setattr(holder, last, _wrapped(faults, step, getattr(holder, last)))


def _wrapped(faults: _Faults, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(call):

        @functools.wraps(call)
        async def later(*args: Any, **options: Any) -> Any:
            faults.hit(_named(step, args), "before")
            result = await call(*args, **options)
            faults.hit(_named(step, args), "after")
            return result

        return later
    if inspect.isgeneratorfunction(inspect.unwrap(call)) and inspect.unwrap(call) is not call:

        @contextlib.contextmanager
        def within(*args: Any, **options: Any) -> Iterator[Any]:
            with call(*args, **options) as value:
                yield value
                faults.hit(step, "before")
            faults.hit(step, "after")

        return within

    @functools.wraps(call)
    def now(*args: Any, **options: Any) -> Any:
        faults.hit(_named(step, args), "before")
        result = call(*args, **options)
        faults.hit(_named(step, args), "after")
        return result

    return now


def _named(step: str, args: tuple[Any, ...]) -> str:
    """A frame's step is named by its kind."""
    if step != "frame":
        return step
    return f"frame.{type(next(one for one in args if isinstance(one, msgspec.Struct))).__name__}"
