"""What dead workers held goes back at once: by the master's knowledge, not when leases expire."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from gristmill.engine.fleet import Child, Plan

ASK_AGAIN = 1.0  # seconds after which another worker is asked to take back what a dead one held


class HandBack:
    """The names of dead workers, until somebody has said that their tasks went back. True while there are any."""

    def __init__(self) -> None:
        self._gone: dict[str, float] = {}  # when somebody was asked last

    def __bool__(self) -> bool:
        return bool(self._gone)

    def add(self, name: str) -> None:
        """A worker of that name has died."""
        self._gone[name] = 0.0

    def hear(self, told: dict[str, Any]) -> None:
        """Words of a worker, which may be that it took some back."""
        self._gone = {name: at for name, at in self._gone.items() if name not in told.get("taken_back", ())}

    def ask(self, children: Sequence[Child], now: float) -> None:
        """Ask a living worker."""
        due = [name for name, asked in self._gone.items() if now - asked >= ASK_AGAIN]
        if due and ask_any(children, {"gone": due}):
            self._gone.update(dict.fromkeys(due, now))

    def rest(self, plan: Plan) -> None:
        """No worker is left to be asked."""
        if self._gone:
            plan.hand_back(list(self._gone))


def able(children: Sequence[Child]) -> list[Child]:
    """Those that will hear what they are asked."""
    return [child for child in children if child.ready and not child.suspect]


def ask_any(children: Sequence[Child], line: dict[str, Any]) -> bool:
    """Tell this to one of those that will hear it. False where there is none."""
    found = able(children)
    if found:
        random.choice(found).tell(line)  # noqa: S311  any of them
    return bool(found)
