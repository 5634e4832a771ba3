"""What became of each document of an ingest, in the shape of the command line's JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

from gristmill.ports.catalog import Document, Failure, RunState

Status = Literal["done", "unchanged", "failed", "cancelled"]


class Outcome(msgspec.Struct, kw_only=True):
    """One document."""

    document_id: str
    path: str
    dataset: str
    status: Status
    chunks: int
    tokens: int
    pages: int
    seconds: float
    error: Failure | None


class Totals(msgspec.Struct):
    """All of them. ``seconds`` is wall time."""

    documents: int = 0
    done: int = 0
    unchanged: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    chunks: int = 0
    tokens: int = 0
    pages: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    def add(self, outcome: Outcome) -> None:
        """Count one. Chunks, tokens and pages are those of the documents that were done now."""
        self.documents += 1
        setattr(self, outcome.status, getattr(self, outcome.status) + 1)
        if outcome.status == "done":
            self.chunks += outcome.chunks
            self.tokens += outcome.tokens
            self.pages += outcome.pages


def outcome_of(document: Document, path: str, *, fresh: bool) -> Outcome:
    """What to say of a document whose run has ended. ``fresh``: it was worked on by this command."""
    done: Status = "done" if fresh else "unchanged"
    status: Status = {RunState.DONE: done, RunState.FAILED: "failed"}.get(document.state, "cancelled")
    return Outcome(
        document_id=document.id,
        path=path,
        dataset=document.dataset,
        status=status,
        chunks=document.chunks,
        tokens=document.tokens,
        pages=document.pages,
        seconds=round(document.seconds, 3) if fresh else 0.0,
        error=document.failure if status == "failed" else None,
    )
