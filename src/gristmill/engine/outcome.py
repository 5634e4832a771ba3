"""How one attempt at a task came out, as data: it crosses process borders."""

from __future__ import annotations

import traceback
from enum import StrEnum
from errno import ENOMEM
from typing import Any

import msgspec

from gristmill.base.errors import GristmillError, LimitExceeded, MemoryLimitExceeded
from gristmill.base.settings.mask import masked_text
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


def failure(exc: BaseException, *, stage: str = "", attempt: int = 0) -> Outcome:
    """The body raised. Errors of Gristmill say themselves whether repeating helps; of others we assume it.

    A group of one is that one: how the body's task group wraps it is no news.
    """
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    if isinstance(exc, MemoryError) or (isinstance(exc, OSError) and exc.errno == ENOMEM):
        exc = MemoryLimitExceeded("the task used more memory than its memory limit allows")
    known = isinstance(exc, GristmillError)
    return Outcome(
        Ending.ERROR,
        error=ErrorRecord(
            clean(type(exc).__name__),
            _words(exc),
            stage=clean(stage),
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


def throttled(again_after: float) -> Outcome:
    """It was not its turn yet; the attempt does not count."""
    return Outcome(Ending.STOPPED, reason="throttled", again_after=again_after)


def clean(text: str) -> str:
    """The text without what no encoding can carry: names of files bring halves of surrogate pairs."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _words(exc: BaseException) -> str:
    try:
        return clean(masked_text(str(exc)))
    except Exception:  # noqa: BLE001  a body's exception may be broken itself, and must be told all the same
        return "(its message cannot be read)"


def _short(exc: BaseException) -> str:
    lines = "".join(traceback.format_exception(exc)).splitlines()
    return clean(masked_text("\n".join(lines[-TRACEBACK_LINES:])))
