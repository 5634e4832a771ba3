"""What the store keeps of a task, and what it is for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gristmill.engine.message import ErrorRecord, Lease, Notice, TaskRecord, decode
from gristmill.engine.state import TaskState

_FALSE = b"\xc2"


class Held(Lease, frozen=True):
    """A lease that has its message as it travels with it: the record of its end is written from that."""

    raw: bytes = b""


class _Said(msgspec.Struct, array_like=True, frozen=True):
    value: float
    message: str
    data: str


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    """The array of ``scripts/common.lua``, place by place."""

    state: str
    attempt: int
    max_attempts: int
    token: int
    published: float
    not_before: float
    deadline: float | bool
    seq: int
    queue: str
    priority: str
    lane: str
    key: str | bool
    entry: str
    worker: str
    started: float | bool
    cancel: int
    born: str
    claim: str
    done: str
    history: list[msgspec.Raw]
    ended: float | bool = False
    body: msgspec.Raw = msgspec.Raw(_FALSE)
    result: msgspec.Raw = msgspec.Raw(_FALSE)
    error: msgspec.Raw = msgspec.Raw(_FALSE)
    last: msgspec.Raw = msgspec.Raw(_FALSE)


_packed = msgspec.msgpack.Decoder(_Packed)
_said = msgspec.msgpack.Decoder(_Said)
_error = msgspec.json.Decoder(ErrorRecord)
_notices = msgspec.msgpack.Decoder(list[tuple[str, str, float, str, str]])
_queues = msgspec.msgpack.Decoder(list[str])

_LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4}  # bytes of the length of a string, by its first byte


def record(shown: Sequence[Any]) -> TaskRecord | None:
    """A task's record from what ``show`` in ``common.lua`` returned for it."""
    if not shown:
        return None
    task = _packed.decode(shown[0])
    lease, said, body = shown[1:] if len(shown) > 1 else (b"", _text(task.last) or b"", _text(task.body) or b"")
    progress = _said.decode(said) if said else _Said(0.0, "", "{}")
    error = _text(task.error)
    return TaskRecord(
        message=decode(body),
        state=TaskState(task.state),
        attempt=task.attempt,
        token=task.token,
        worker=task.worker,
        published=task.published,
        not_before=task.not_before,
        started=None if isinstance(task.started, bool) else task.started,
        ended=None if isinstance(task.ended, bool) else task.ended,
        lease_until=float(lease) if lease else None,
        cancel_requested=bool(task.cancel),
        progress=progress.value,
        progress_message=progress.message,
        progress_data=msgspec.json.decode(progress.data),
        result=_text(task.result),
        error=None if error is None else _error.decode(error),
        history=[_error.decode(_text(one) or b"{}") for one in task.history],
    )


def leases(rows: Sequence[Any], worker: str) -> list[Lease]:
    """Leases from the flat list of message, token, attempt."""
    return [Held(decode(rows[at]), rows[at + 1], worker, rows[at + 2], rows[at]) for at in range(0, len(rows), 3)]


def notices(kind: str, payload: bytes) -> list[Notice]:
    """The notices of one publication."""
    return [
        Notice(kind, task_id, state, value, message, worker)
        for task_id, state, value, message, worker in _notices.decode(payload)
    ]


def queues(payload: bytes) -> list[str]:
    """The queues that a wake-up is for."""
    return _queues.decode(payload)


def _text(raw: msgspec.Raw) -> bytes | None:
    """The bytes of a packed string, which need not be UTF-8."""
    data = bytes(raw)
    if data == _FALSE:
        return None
    return data[1 + _LENGTHS.get(data[0], 0) :]
