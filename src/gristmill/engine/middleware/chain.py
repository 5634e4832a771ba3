"""Handlers in handlers: what a middleware is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gristmill.engine.message import Lease
from gristmill.engine.outcome import Outcome
from gristmill.engine.task import Policy


@dataclass(frozen=True)
class Job:
    """One attempt, on its way through the chain."""

    lease: Lease
    policy: Policy


Handler = Callable[[Job], Awaitable[Outcome]]
Middleware = Callable[[Handler], Handler]


def chain(handler: Handler, middleware: Sequence[Middleware]) -> Handler:
    """The handler inside all of these; the first is the outermost."""
    for wrap in reversed(middleware):
        handler = wrap(handler)
    return handler
