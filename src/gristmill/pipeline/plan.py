"""What a document's ingestion consists of: its parts, and the messages with stable keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gristmill.base.ids import new_id
from gristmill.engine.message import Message
from gristmill.ports.catalog import Part, Run

QUEUE = "ingest"
PLAN_TASK = "pipeline.plan"
PART_TASK = "pipeline.part"
FINISH_TASK = "pipeline.finish"
MAX_ATTEMPTS = 3


def cut(run_id: str, pages: int, size: int) -> list[Part]:
    """One part that makes chunks of all pages; where there are more than ``size``, others read so many of them before."""
    if pages <= size:
        return [Part(run_id, 0)]
    firsts = range(0, pages, size)
    readers = [
        Part(run_id, n, first=first, last=min(first + size, pages), chunk_first=0, chunk_last=0)
        for n, first in enumerate(firsts)
    ]
    return [*readers, Part(run_id, len(readers))]


def windows(run_id: str, count: int) -> list[Part]:
    """A part for each window of a document."""
    return [Part(run_id, n, first=n, last=n + 1) for n in range(count)]


def due(parts: Sequence[Part]) -> list[Part]:
    """The parts that can be worked on: those that are not done, and wait for no pages to be read."""
    left = [part for part in parts if not part.done]
    return [part for part in left if part.only_reads] or left


def slices(part: Part, chunks: int, size: int) -> list[Part]:
    """The part in slices of at most ``size`` chunks."""
    return [
        msgspec.structs.replace(part, chunk_first=first, chunk_last=min(first + size, chunks))
        for first in range(0, chunks, size)
    ]


def plan_key(run_id: str) -> str:
    return f"{run_id}:plan"


def finish_key(run_id: str) -> str:
    return f"{run_id}:finish"


def part_key(run_id: str, number: int) -> str:
    return f"{run_id}:{number}"


def plan_message(run: Run) -> Message:
    """The request to count a run's units and make its parts."""
    return _message(PLAN_TASK, plan_key(run.id), run.tenant, [run.id])


def finish_message(run: Run) -> Message:
    """The request to commit a run all of whose parts are done."""
    return _message(FINISH_TASK, finish_key(run.id), run.tenant, [run.id])


def part_message(run: Run, part: Part) -> Message:
    """The request to do one part."""
    return _message(PART_TASK, part_key(run.id, part.number), run.tenant, [run.id, part.number])


def messages(run: Run, parts: Sequence[Part]) -> list[Message]:
    """What must be in the broker for this run: its plan, its open parts, or its finish."""
    if not run.planned:
        return [plan_message(run)]
    return [part_message(run, part) for part in due(parts)] or [finish_message(run)]


def open_keys(run: Run, parts: Sequence[Part]) -> list[str]:
    """The keys of these messages."""
    if not run.planned:
        return [plan_key(run.id)]
    return [part_key(run.id, part.number) for part in due(parts)] or [finish_key(run.id)]


def run_of_key(key: str) -> str:
    """The id of the run that a task with this key belongs to, if it is one of a run's."""
    return key.rpartition(":")[0]


def keys(run_id: str, parts: Iterable[Part]) -> list[str]:
    """Every key that a run's tasks can have."""
    return [plan_key(run_id), finish_key(run_id), *(part_key(run_id, part.number) for part in parts)]


def _message(task: str, key: str, tenant: str, args: list[Any]) -> Message:
    return Message(id=new_id(), task=task, args=args, key=key, queue=QUEUE, lane=tenant, max_attempts=MAX_ATTEMPTS)
