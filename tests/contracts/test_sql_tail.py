"""Reading what others append: nothing twice, and not deaf after a backup was restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa

from gristmill.base import sqlite
from gristmill.brokers import open_broker
from gristmill.brokers.sql import tables
from gristmill.brokers.sql.tail import VAIN, Tail
from gristmill.engine.broker import Broker
from gristmill.engine.message import new_message


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", module=sqlite.driver())
    with engine.connect() as connection:
        tables.metadata.create_all(connection, tables=[tables.notice])
        yield connection
    engine.dispose()


def tell(connection: sa.Connection, *numbers: int) -> None:
    connection.execute(tables.notice.insert(), [{"n": n, "at": 0.0, "body": b""} for n in numbers])


def numbers(tail: Tail, connection: sa.Connection) -> list[int]:
    return [row.n for row in tail.new(connection)]


@pytest.mark.parametrize("gaps", [True, False])
def test_what_is_appended_is_read_once(connection: sa.Connection, gaps: bool) -> None:
    tail = Tail(gaps=gaps)
    tell(connection, 1, 2)
    assert numbers(tail, connection) == []
    tell(connection, 3, 4)
    assert numbers(tail, connection) == [3, 4]
    assert [numbers(tail, connection) for _ in range(3 * VAIN)] == [[]] * 3 * VAIN


@pytest.mark.parametrize("gaps", [True, False])
def test_after_an_older_backup_was_restored_what_comes_is_read_again(connection: sa.Connection, gaps: bool) -> None:
    tail = Tail(gaps=gaps)
    tell(connection, *range(1, 1001))
    assert numbers(tail, connection) == []
    connection.execute(tables.notice.delete().where(tables.notice.c.n > 10))
    tell(connection, 11)
    read = [number for _ in range(VAIN) for number in numbers(tail, connection)]
    assert 11 in read
    tell(connection, 12)
    assert numbers(tail, connection) == [12]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_who_watches_hears_again_after_an_older_backup_was_restored(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with open_broker(f"sqlite:///{path}") as broker, open_broker(f"sqlite:///{path}") as other:
        with (
            anyio.fail_after(60),
            closing(sqlite.connect(path)) as live,
            closing(sqlite.connect(tmp_path / "b")) as kept,
        ):
            live.backup(kept)
            await end_one(broker)
            live.execute("UPDATE sqlite_sequence SET seq = 1000000 WHERE name = 'notice'")
            await end_one(broker)
            async with other.notices() as notices:
                await end_one(broker)
                await anext(notices)
                kept.backup(live)
                heard = anyio.Event()
                async with anyio.create_task_group() as group:

                    async def hear() -> None:
                        await anext(notices)
                        heard.set()

                    group.start_soon(hear)
                    while not heard.is_set():
                        await end_one(broker)


async def end_one(broker: Broker) -> None:
    message = new_message("a")
    await broker.publish([message])
    await broker.cancel([message.id])


@pytest.mark.parametrize("gaps", [True, False])
def test_notices_that_were_forgotten_in_time_begin_nothing_anew(connection: sa.Connection, gaps: bool) -> None:
    tail = Tail(gaps=gaps)
    tell(connection, *range(1, 11))
    numbers(tail, connection)
    connection.execute(tables.notice.delete())
    assert [numbers(tail, connection) for _ in range(2 * VAIN)] == [[]] * 2 * VAIN
    tell(connection, 11)
    assert numbers(tail, connection) == [11]
