"""Who waits for whom, on databases with several writers. SQLite has one: there the beginning of a transaction is the lock.

Every step on a document or on a run of it holds the document's row until its transaction ends, so that such steps come
one after the other, and each sees what those before it have done. Locks are taken in one order: dataset, document, turn.
"""

from __future__ import annotations

import sqlalchemy as sa

from gristmill.base.errors import NotFound
from gristmill.catalogs.sql.dialect import insert_missing
from gristmill.catalogs.sql.rows import run_of
from gristmill.catalogs.sql.schema import GENERATION, dataset, document, run, turn
from gristmill.ports.catalog import Run


def hold_dataset(connection: sa.Connection, dataset_id: str, name: str) -> None:
    """The dataset stays while this transaction lasts. Others may hold it, too. Raises NotFound."""
    wanted = sa.select(dataset.c.id).where(dataset.c.id == dataset_id).with_for_update(read=True, key_share=True)
    if connection.execute(wanted).first() is None:
        raise NotFound(f"dataset {name!r} is gone: it was deleted meanwhile")


def hold_document(connection: sa.Connection, document_id: str) -> bool:
    """No other step on this document until this transaction ends. Whether it is there."""
    wanted = sa.select(document.c.id).where(document.c.id == document_id).with_for_update()
    return connection.execute(wanted).first() is not None


def hold_documents(connection: sa.Connection, dataset_id: str) -> None:
    """No other step on any document of this dataset."""
    mine = sa.select(document.c.id).where(document.c.dataset_id == dataset_id)
    if not one_writer(connection):
        connection.execute(mine.order_by(document.c.id).with_for_update()).all()


def hold_run(connection: sa.Connection, run_id: str) -> Run | None:
    """The run as it is now that no other step on its document can change it."""
    if not one_writer(connection):
        owner = sa.select(run.c.document_id).where(run.c.id == run_id).scalar_subquery()
        connection.execute(sa.select(document.c.id).where(document.c.id == owner).with_for_update()).all()
    return run_of(connection, run_id)


def take_turn(connection: sa.Connection) -> None:
    """From here to the end of its transaction nobody else numbers a generation.

    So a generation becomes visible only after all that have a lower number: a view that goes up to the highest can name
    every one below it that readers must not see (P4).
    """
    if one_writer(connection):
        return
    mine = sa.select(turn.c.name).where(turn.c.name == GENERATION).with_for_update()
    if connection.execute(mine).first() is None:  # somebody emptied the tables
        insert_missing(connection, turn, {"name": GENERATION})
        connection.execute(mine).one()


def one_writer(connection: sa.Connection) -> bool:
    """Whether the database has only one writer at a time."""
    return connection.dialect.name == "sqlite"
