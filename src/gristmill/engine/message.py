"""What travels: the request to run a task, how it ended, and what is said about it meanwhile. JSON, versioned, frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gristmill.base.errors import EngineError
from gristmill.base.ids import new_id
from gristmill.engine.state import TaskState

VERSION = 1


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request to run a task.

    ``key`` makes publishing idempotent: while the broker knows a task with this key, whatever its state, a second one is
    left out. ``lane`` is the unit of fairness (the tenant); higher ``priority`` goes first. ``delay`` is in seconds from
    publishing, by the broker's clock. ``deadline`` is in seconds from publishing: a task not started by then is dead.
    ``trace`` is W3C's trace context, empty where nobody traces.
    """

    id: str
    task: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    key: str | None = None
    queue: str = "default"
    priority: int = 0
    lane: str = ""
    delay: float = 0.0
    deadline: float | None = None
    max_attempts: int = 3
    trace: dict[str, str] = {}
    v: int = VERSION


def new_message(task: str, *args: Any, **fields: Any) -> Message:
    """A message with a fresh id. ``fields`` are the Message's own."""
    return Message(id=new_id(), task=task, args=list(args), **fields)


def below(messages: Sequence[Message], trace: dict[str, str]) -> Sequence[Message]:
    """The messages, with this trace context where they have none."""
    if not trace:
        return messages
    return [one if one.trace else msgspec.structs.replace(one, trace=trace) for one in messages]


class ErrorRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure as it is kept (P10). ``attempt`` counts from 1; ``at`` is the broker's time; ``limit`` names a limit.

    Half surrogate pairs in its texts (names of files may bring them) are replaced: they are no Unicode, and no store
    would keep the rest of the failure either.
    """

    type: str
    message: str
    stage: str = ""
    attempt: int = 0
    at: float = 0.0
    traceback: str = ""
    limit: str = ""

    def __post_init__(self) -> None:
        _clean(self, "message", "traceback")


class Lease(msgspec.Struct, frozen=True):
    """The right to run a task now. ``token`` grows with every claim of the task: whoever holds an older one is too late.

    ``attempt`` counts from 1 and was counted at the claim.
    """

    message: Message
    token: int
    worker: str
    attempt: int

    @property
    def id(self) -> str:
        return self.message.id


class End(msgspec.Struct, frozen=True):
    """How a lease ends. ``result`` is JSON, ``state`` final."""

    lease: Lease
    state: TaskState
    result: bytes | None = None
    error: ErrorRecord | None = None

    def __post_init__(self) -> None:
        if not self.state.final:
            raise ValueError(f"{self.state} ends nothing")


class Release(msgspec.Struct, frozen=True):
    """A lease given back, to be run again after ``delay`` seconds; without delay the task keeps its place in the lane.

    ``counted=False`` gives the attempt back (a drain).
    """

    lease: Lease
    delay: float = 0.0
    counted: bool = True
    error: ErrorRecord | None = None


class Progress(msgspec.Struct, frozen=True):
    """What a running task says of itself. ``value`` is 0..1; ``data`` is whatever JSON the body gave."""

    lease: Lease
    value: float = 0.0
    message: str = ""
    data: dict[str, Any] = {}

    def __post_init__(self) -> None:
        _clean(self, "message")


class TaskRecord(msgspec.Struct, frozen=True):
    """All that the broker knows of one task. Times are seconds since the epoch by the broker's clock."""

    message: Message
    state: TaskState
    attempt: int = 0
    token: int = 0
    worker: str = ""
    published: float = 0.0
    not_before: float = 0.0
    started: float | None = None
    ended: float | None = None
    lease_until: float | None = None
    cancel_requested: bool = False
    progress: float = 0.0
    progress_message: str = ""
    progress_data: dict[str, Any] = {}
    result: bytes | None = None
    error: ErrorRecord | None = None
    history: list[ErrorRecord] = []

    @property
    def id(self) -> str:
        return self.message.id


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that just happened. ``kind``: ``cancel`` (asked for), ``state``, ``progress``.

    Notices are hints that spare polling; what must not be missed is in the task's record.
    """

    kind: str
    id: str
    state: str = ""
    progress: float = 0.0
    message: str = ""
    worker: str = ""


class Current(msgspec.Struct, frozen=True):
    """What a worker runs now, without the arguments: they may be secret, and large."""

    task: str
    key: str = ""
    queue: str = "default"
    lane: str = ""
    priority: int = 0
    attempt: int = 1


class Heartbeat(msgspec.Struct, frozen=True):
    """The worker's sign of life, with the fields of the source documents. Times are the broker's.

    ``lag`` is how many tasks of its queues no worker has been given yet, ``pending`` how many have been given to some
    worker and have not ended. ``current`` is by task id.
    """

    name: str
    now: float
    boot_at: float
    pending: int
    lag: int
    done: int
    failed: int
    current: dict[str, Current]
    ip: str
    pid: int
    queues: list[str] = []


_encoder = msgspec.json.Encoder()
_narrow_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """The message as JSON. Raises EngineError where something in it is not JSON, or an integer has more than 64 bits."""
    try:
        _narrow_encoder.encode((message.args, message.kwargs))  # runners get them so, and its integers end there
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError) as exc:
        raise EngineError(f"a request to run {message.task} cannot travel: {exc}") from exc


def decode(raw: bytes) -> Message:
    """A message from JSON; fields of a newer release are ignored."""
    return _decoder.decode(raw)


def too_late(attempt: int, max_attempts: int, deadline: float | None, now: float) -> str | None:
    """Why a queued task is not started any more; None: it may start."""
    if deadline is not None and deadline < now:
        return "the deadline passed before the task could start"
    return used_up(max_attempts) if attempt >= max_attempts else None


def used_up(max_attempts: int) -> str:
    """Why a task goes to the dead letters when no attempt is left and nobody gave another reason."""
    return f"all {max_attempts} attempts are used up"


def _clean(struct: msgspec.Struct, *names: str) -> None:
    for name in names:
        text: str = getattr(struct, name)
        if not text.isascii():
            msgspec.structs.force_setattr(struct, name, text.encode("utf-8", "replace").decode())
