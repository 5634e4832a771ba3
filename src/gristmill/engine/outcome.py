"""How one attempt at a task came out, as data: it crosses process borders."""

from __future__ import annotations

import traceback
from enum import StrEnum
from typing import Any

import msgspec

from gristmill.base.errors import GristmillError, LimitExceeded, MemoryLimitExceeded
from gristmill.engine.message import ErrorRecord

TRACEBACK_LINES = 30


class Ending(StrEnum):
    """ok and error: the body's own; stopped: the worker ended it, for ``Outcome.reason``."""

    OK = "ok"
    ERROR = "error"
    STOPPED = "stopped"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt's end. ``again_after``: run it again after so many seconds (set by the retry policy)."""

    ending: Ending
    result: bytes | None = None
    error: ErrorRecord | None = None
    retryable: bool = False
    retry_after: float | None = None
    reason: str = ""
    again_after: float | None = None


def success(value: Any) -> Outcome:
    """The body returned ``value``. Raises TypeError where that is not JSON."""
    return Outcome(Ending.OK, result=None if value is None else msgspec.json.encode(value))


def failure(exc: Exception, *, stage: str = "", attempt: int = 0) -> Outcome:
    """The body raised. Errors of Gristmill say themselves whether repeating helps; of others we assume it."""
    if isinstance(exc, MemoryError):
        exc = MemoryLimitExceeded("the task used more memory than its memory limit allows")
    known = isinstance(exc, GristmillError)
    return Outcome(
        Ending.ERROR,
        error=ErrorRecord(
            type(exc).__name__,
            str(exc),
            stage=stage,
            attempt=attempt,
            traceback=_short(exc),
            limit=type(exc).__name__ if isinstance(exc, LimitExceeded) else "",
        ),
        retryable=exc.retryable if isinstance(exc, GristmillError) else not known,
        retry_after=exc.retry_after if isinstance(exc, GristmillError) else None,
    )


def ended(exc: GristmillError, *, attempt: int) -> Outcome:
    """The worker ended the body because of a limit, or its process died."""
    limit = type(exc).__name__ if isinstance(exc, LimitExceeded) else ""
    record = ErrorRecord(type(exc).__name__, str(exc), attempt=attempt, limit=limit)
    return Outcome(Ending.ERROR, error=record, retryable=exc.retryable, retry_after=exc.retry_after)


def stopped(reason: str) -> Outcome:
    """The worker stopped the body: ``cancel``, ``lost`` (the lease) or ``shutdown``."""
    return Outcome(Ending.STOPPED, reason=reason)


def _short(exc: BaseException) -> str:
    lines = "".join(traceback.format_exception(exc)).splitlines()
    return "\n".join(lines[-TRACEBACK_LINES:])
