"""The master: starts worker processes, watches them, replaces them, and ends them without losing what they hold.

It is a loop over a selector and runs no task code. It imports nothing that it supervises, so that nothing a worker does or
a library brings can break it: ``python -m gristmill.engine.supervisor PLAN`` with the plan as JSON.

A worker is an exec'd process with one socket to the master, over which lines of JSON go both ways (see ``child``).
"""

from __future__ import annotations

import os
import random
import selectors
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from gristmill.engine import stacks
from gristmill.engine.fleet import KILL_AFTER, SETTLED, Child, Exit, Plan, Starts, say
from gristmill.engine.front import Front
from gristmill.engine.handback import HandBack, able, ask_any
from gristmill.engine.hooks import Hooks
from gristmill.engine.onlooker import Onlooker
from gristmill.engine.probes import Probes
from gristmill.engine.systemd import Notifier, PidFile
from gristmill.engine.wakeup import hearing

HURRIED = 5.0  # seconds that workers have to hand back at once

SIGNALS = ("TERM", "QUIT", "INT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "CHLD")


class Supervisor:
    """Keeps ``plan.workers`` workers running until it is told to stop. One ``run`` for one Supervisor."""

    def __init__(self, plan: Plan, *, reload: Callable[[], Plan] | None = None) -> None:
        self.plan = plan
        self.wanted = plan.workers
        self.children: list[Child] = []
        self.stopping: str = ""  # "", "drain", "quick"
        self.orphans = 0
        self._reload = reload
        self._old: list[Child] = []  # to be replaced one by one
        self._before: tuple[Plan, int] | None = None  # what to go back to until a worker of the new plan is ready
        self._gone = HandBack()
        self._booted = False
        self._starts = Starts()
        self._code = 0
        self._announced = False
        self._init = os.getpid() == 1
        self._selector = selectors.DefaultSelector()
        self.front = Front(plan, self._selector)
        self._hooks = Hooks(plan.hooks)
        self._systemd = Notifier()
        self._probes = Probes(plan.health)
        self._onlooker = Onlooker(plan.onlooker)

    def run(self) -> int:
        """Supervise until the end. Returns the exit code."""
        with ExitStack() as place:
            try:
                for one in (
                    PidFile(self.plan.pidfile),
                    hearing(SIGNALS, self._selector, self._hear_signal),
                    self.front.listening(),
                    self._probes.serving(),
                ):
                    place.enter_context(one)
            except OSError as exc:
                say("the master cannot start", level="error", error=str(exc))
                return 1
            self._hooks.call("on_starting", self)
            say("starting", workers=self.wanted, pid=os.getpid())
            while not (self.stopping and not self.children and not self.front.children):
                self._keep()
                for key, _ in self._selector.select(self._pause()):
                    key.data()
                self._look()
            self._gone.rest(self.plan)
            self._hooks.call("on_exit", self)
        say("stopped", code=self._code)
        return self._code

    def _hear_signal(self, name: str) -> None:
        getattr(self, f"_on_{name.lower()}")()

    # -- signals
    def _on_term(self) -> None:
        if self.stopping:  # a second one hurries
            self._stop_all("quick", signal.SIGINT, HURRIED)
        else:
            self._stop_all("drain", signal.SIGTERM, self.plan.grace + KILL_AFTER)

    _on_quit = _on_term

    def _on_int(self) -> None:
        if self.stopping == "quick":
            for child in [*self.children, *self.front.children]:
                child.kill("told to stop at once")
        else:
            self._stop_all("quick", signal.SIGINT, HURRIED)

    def _on_hup(self) -> None:
        """Read the configuration again, and have new workers run by it."""
        if self._ends("hup"):
            return
        self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._hooks.call("on_reload", self)
        if self._reload is not None:
            try:
                plan = self._reload()
            except (OSError, ValueError) as exc:
                say("the configuration is not read again: the one before stays", level="error", error=str(exc))
                self._systemd.tell("READY=1")
                return
            self._before = self._before or (self.plan, self.wanted)
            self.plan, self.wanted = plan, plan.workers
        self._systemd.tell("READY=1")
        self._replace_all("configuration read again")

    def _on_usr1(self) -> None:
        self.plan.reopen_log()
        for child in [*self.children, *self.front.children]:
            child.tell({"reopen": True})
        say("log files reopened")

    def _on_usr2(self) -> None:
        if not self._ends("usr2"):
            self._replace_all("asked for")

    def _on_ttin(self) -> None:
        if not self._ends("ttin"):
            self.wanted += 1
            say("one worker more", workers=self.wanted)

    def _on_ttou(self) -> None:
        if not self._ends("ttou"):
            self.wanted = max(1, self.wanted - 1)
            say("one worker less", workers=self.wanted)

    def _ends(self, name: str) -> bool:
        """Whether it is too late for this signal: who ends starts nobody, and is not ready again."""
        if self.stopping:
            say("stopping: this signal does nothing now", signal=name.upper())
        return bool(self.stopping)

    def _on_chld(self) -> None:
        """Reap: our workers; as the first process of a container also whoever has lost its parent."""
        if self._init:
            while (found := _waited(-1)) is not None:
                pid, status = found
                child = next((one for one in [*self.children, *self.front.children] if one.pid == pid), None)
                if child is None:
                    self.orphans += 1
                    self._probes.tally.count("orphans")
                else:
                    self._ended(child, status)
            return
        for child in [*self.children, *self.front.children]:
            if (found := _waited(child.pid)) is not None:
                self._ended(child, found[1])

    def _stop_all(self, how: str, number: int, seconds: float) -> None:
        if not self.stopping:
            self._systemd.tell("STOPPING=1")
        self.stopping = how
        self._probes.tally.count("drains", how)
        self._probes.show(self.status())  # not ready, before anything ends
        say("stopping", how=how, workers=len(self.children))
        self.front.stop(number, seconds)
        for child in self.children:
            child.stop(number, within=seconds)

    def _replace_all(self, why: str) -> None:
        say("replacing workers one by one", why=why)
        self._probes.tally.count("replacements", "all")
        self._old = [child for child in self.children if not child.retiring]
        self._starts.hurry()
        self.front.replace(self.plan)

    # -- what there should be
    def _keep(self) -> None:
        """Start who is missing, retire who is too many. Of those to be replaced one at a time: first its successor."""
        if self.stopping:
            return
        self.front.keep()
        active = [child for child in self.children if not child.retiring]
        self._old = [child for child in self._old if child in active]
        retiring = len(active) < len(self.children)
        wanted = self.wanted + (1 if self._old and not retiring else 0)
        if len(active) < wanted and self._starts.due:
            active += [self._start() for _ in range(wanted - len(active))]
        ready = [child for child in active if child.ready]
        if len(ready) > self.wanted:
            ready.sort(key=lambda child: (child not in self._old, child.born))
            for child in ready[: len(ready) - self.wanted]:
                child.stop(signal.SIGTERM, within=self.plan.grace + KILL_AFTER)

    def _start(self) -> Child:
        child = Child(self.plan, jitter=random.random())  # noqa: S311  spreads replacements
        self._hooks.call("pre_fork", self, child)
        child.start()
        self.children.append(child)
        self._probes.tally.count("worker_starts")
        child.watch(self._selector, lambda: self._hear(child))
        say("a worker starts", worker_pid=child.pid)
        return child

    def _hear(self, child: Child) -> None:
        for told in child.hear():
            self._probes.hear(told)
            self._gone.hear(told)
            if told.get("ready") and not child.ready:
                self._on_ready(child)
            if "draining" in told:
                self._on_draining(child, told["draining"])

    def _on_ready(self, child: Child) -> None:
        child.ready = self._booted = True
        self._starts.succeeded()
        if child.plan is self.plan:
            self._before = None
        say("a worker is ready", worker_pid=child.pid, worker=child.name)
        if not self._announced and sum(one.ready for one in self.children) >= self.wanted:
            self._announced = True
            self._systemd.tell("READY=1")
            self._hooks.call("when_ready", self)

    def _on_draining(self, child: Child, seconds: float) -> None:
        """Somebody has told it to stop, past us: its successor starts now, and it has no longer than by our word."""
        if not child.retiring:
            say("a worker drains", worker_pid=child.pid, worker=child.name)
            child.retire(within=max(seconds + KILL_AFTER, HURRIED))
        self._probes.show(self.status())

    def _ended(self, child: Child, status: int) -> None:
        """A worker is gone: what it held goes back at once, and somebody else takes its place."""
        if child in self.front.children:
            if self.front.ended(child, status):
                self._give_up("no server can start; its reason is above")
            return
        child.ended(status)
        self._hear(child)
        self.children.remove(child)
        self._hooks.call("worker_exit", self, child)
        lived = time.monotonic() - child.born
        self._probes.tally.count("worker_exits", child.reason)
        say(
            "a worker has ended" if child.as_told else "a worker died",
            level="info" if child.as_told else "error",
            worker_pid=child.pid, worker=child.name, how=child.how, seconds=round(lived, 1), held=child.held,
        )  # fmt: skip
        if child.name and child.code != Exit.CLEAN:
            self._gone.add(child.name)
        if not child.as_told and not self.stopping:
            self._replace_dead(child, lived)

    def _replace_dead(self, child: Child, lived: float) -> None:
        """At once, unless workers keep dying; never, where none could ever start."""
        if not child.ready:
            self._starts.failed()
            if self._old:
                say("the new worker did not start: the old ones stay", level="error")
                self._old = []
            if self._before is not None and child.plan is self.plan:
                (self.plan, self.wanted), self._before = self._before, None
            if not self._booted and child.code == Exit.BOOT_FAILED:
                self._give_up("no worker can start; its reason is above")
                return
        elif lived < SETTLED:
            self._starts.failed()

    def _give_up(self, why: str) -> None:
        say(why, level="error")
        self._code = Exit.BOOT_FAILED
        self._stop_all("quick", signal.SIGINT, HURRIED)

    # -- what there is
    def _look(self) -> None:
        """Deadlines, silence, age, size; the dead one's tasks; the word to systemd and to the probes."""
        now = time.monotonic()
        for child in self.children:
            if child.keep_deadlines(now):
                self._hooks.call("worker_abort", self, child)
                child.abort(now)
            if child.ready and not child.retiring and child not in self._old and (worn := child.worn(now)):
                say("a worker is replaced", worker_pid=child.pid, worker=child.name, why=worn)
                self._old.append(child)
                self._probes.tally.count("replacements", "worn")
        self.front.look(now)
        self._gone.ask(self.children, now)
        if able(self.children) and self._probes.ask_depths(now):  # somebody looks at the metrics
            ask_any(self.children, {"depths": True})
        self._systemd.watchdog(now)
        self._probes.show(self.status())
        self._onlooker.show(self.status)

    def _pause(self) -> float:
        """Seconds until something is to be looked at, when nothing happens."""
        return 0.05 if self._gone or self._old or self.stopping else 0.5

    def told(self) -> list[str]:
        """Who holds what, for eyes."""
        return [f"worker {one.pid} {one.name}: holds {', '.join(one.held) or 'nothing'}" for one in self.children]

    def status(self) -> dict[str, Any]:
        """What the probes tell."""
        ready = sum(child.ready and not child.retiring and not child.suspect for child in self.children)
        return {
            "pid": os.getpid(),
            "ready": bool(ready) and self.front.ready and not self.stopping,
            "stopping": self.stopping,
            "wanted": self.wanted,
            "orphans": self.orphans,
            "at": time.monotonic(),
            "workers": [child.status() for child in self.children],
            "servers": self.front.status(),
        }


def _waited(pid: int) -> tuple[int, int] | None:
    with suppress(ChildProcessError):
        found, status = os.waitpid(pid, os.WNOHANG)
        return (found, status) if found else None
    return None


def main() -> int:
    """The process of the master."""
    plan = Plan.load(sys.argv[1])
    supervisor = Supervisor(plan, reload=plan.read_again if plan.reload else None)
    stacks.serve()
    stacks.tellers.append(supervisor.told)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
