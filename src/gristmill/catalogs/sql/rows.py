"""Rows to the port's records."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from gristmill.catalogs.sql.schema import dataset, document, operation, part, run
from gristmill.ports.catalog import Dataset, Document, Failure, Operation, Part, Run, RunState

_failure = msgspec.json.Decoder(Failure)

DOCUMENTS = (
    sa.select(document, dataset.c.name.label("dataset"), run.c.state, run.c.failure)
    .join(dataset, dataset.c.id == document.c.dataset_id)
    .join(run, run.c.id == document.c.run_id)
)
DATASETS = (
    sa.select(
        dataset,
        sa.func.count(document.c.id).label("documents"),
        sa.func.coalesce(sa.func.sum(document.c.chunks), 0).label("chunks"),
    )
    .join(document, document.c.dataset_id == dataset.c.id, isouter=True)
    .group_by(dataset.c.id)
)
_RUN = sa.select(run).where(run.c.id == sa.bindparam("of_run"))  # made once: it is asked for at every step
_PARTS = sa.select(part).where(part.c.run_id == sa.bindparam("of_run")).order_by(part.c.number)
_RUN_FIELDS = tuple(name for name in Run.__struct_fields__ if name not in ("state", "failure"))
_DOCUMENT_FIELDS = tuple(name for name in Document.__struct_fields__ if name not in ("state", "failure"))


def failure_of(raw: bytes | None) -> Failure | None:
    """A failure as it was kept."""
    return _failure.decode(raw) if raw else None


def pack_failure(failure: Failure | None) -> bytes | None:
    """A failure for its column."""
    return msgspec.json.encode(failure) if failure else None


def to_dataset(row: Any) -> Dataset:
    fields = {name: row[name] for name in Dataset.__struct_fields__}
    return Dataset(**fields | {"chunks": int(row["chunks"])})  # a sum is a decimal on some databases


def to_document(row: Any) -> Document:
    fields = {name: row[name] for name in _DOCUMENT_FIELDS}
    return Document(**fields, state=RunState(row["state"]), failure=failure_of(row["failure"]))


def to_run(row: Any) -> Run:
    fields = {name: row[name] for name in _RUN_FIELDS}
    return Run(**fields, state=RunState(row["state"]), failure=failure_of(row["failure"]))


def to_part(row: Any) -> Part:
    return Part(**{name: row[name] for name in Part.__struct_fields__})


def to_operation(row: Any) -> Operation:
    fields = {name: row[name] for name in Operation.__struct_fields__ if name not in ("state", "failure")}
    return Operation(**fields, state=RunState(row["state"]), failure=failure_of(row["failure"]))


def parts_of(connection: sa.Connection, run_id: str) -> list[Part]:
    """All parts of a run in order."""
    found = connection.execute(_PARTS, {"of_run": run_id})
    return [to_part(row) for row in found.mappings()]


def run_of(connection: sa.Connection, run_id: str) -> Run | None:
    """A run, if it is known."""
    row = connection.execute(_RUN, {"of_run": run_id}).mappings().first()
    return to_run(row) if row else None


def operations_of(tenant: str, dataset_id: str | None, limit: int) -> sa.Select[Any]:
    """The newest rows of the operation log."""
    found = sa.select(operation).where(operation.c.tenant == tenant).order_by(operation.c.id.desc()).limit(limit)
    return found.where(operation.c.dataset_id == dataset_id) if dataset_id else found
