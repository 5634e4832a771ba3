"""What only a database server can do to a catalog: many writers at once, deadlocks, restarts, refusals."""

from __future__ import annotations

import queue
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from gristmill.base.clock import SystemClock
from gristmill.base.errors import Conflict, GenerationClosed, NotFound, PluginError, SettingsError, StoreUnavailable
from gristmill.catalogs.sql import holds, intake, session
from gristmill.catalogs.sql.catalog import SqlCatalog
from gristmill.catalogs.sql.dialect import MysqlDialect, PostgresDialect, dialect_for
from gristmill.catalogs.sql.holds import hold_run
from gristmill.ports.catalog import Dataset, GenState, NewDocument, Part, RunState
from gristmill.testing.catalogs import a_dataset, brought_to, submitted
from gristmill.testing.proxy import Direction, Proxy
from gristmill.testing.servers import MariaServer, PostgresServer, free_port
from servers.pool import PLAIN, ServerPool

T = TypeVar("T")

KINDS = ["postgres", "mariadb"]
PATIENCE = 60.0  # seconds; only a failing test waits so long


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    made: str = request.param
    return made


@pytest.fixture
def server(kind: str, servers: ServerPool) -> PostgresServer | MariaServer:
    servers.fresh(kind)
    return servers.postgres() if kind == "postgres" else servers.mariadb()


@pytest.fixture
def open_catalog(
    server: PostgresServer | MariaServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], SqlCatalog]]:
    """Another process's catalog of the same database, so to speak. A transaction may idle for as long as a test waits."""
    for dialect in (PostgresDialect, MysqlDialect):
        longer = re.sub(r"\b15(?=s'| \*/)", f"{2 * PATIENCE:.0f}", dialect._greeting)
        assert longer != dialect._greeting
        monkeypatch.setattr(dialect, "_greeting", longer)
    opened: list[SqlCatalog] = []

    def open_one() -> SqlCatalog:
        opened.append(SqlCatalog(server.url + PLAIN[server.name]))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def catalog(open_catalog: Callable[[], SqlCatalog]) -> SqlCatalog:
    return open_catalog()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


WAITING = {
    "postgres": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    # innodb_trx would be a copy that is not renewed while it is being looked at
    "mariadb": "SELECT variable_value FROM information_schema.global_status"
    " WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'",
}


def waits_for_a_lock(server: PostgresServer | MariaServer, kind: str, other: Future[Any]) -> bool:
    """Whether somebody comes to wait for a lock before this one is done."""
    while not other.done():
        [[count]] = server.execute(WAITING[kind])
        if int(count):
            return True
    return False


# -- many at once


def test_generations_become_visible_in_the_order_of_their_numbers(
    catalog: SqlCatalog, server: PostgresServer | MariaServer, kind: str, threads: ThreadPoolExecutor
) -> None:
    """Else a view could go up to a number below which one is still to come, and would show it half written (P4)."""
    demo = a_dataset(catalog)
    begun, go_on = threading.Event(), threading.Event()

    def slowly(connection: sa.Connection) -> int:
        new = NewDocument("/slow", "slow", "d1", 1, "text")
        more = {"parts": [Part("", 0)], "failure": None, "again": False}
        made = intake.submit(connection, 1.0, demo, new, settings={}, settings_digest="s", **more)  # type: ignore[arg-type]
        begun.set()
        assert go_on.wait(PATIENCE)
        return made.run.gen

    slow = threads.submit(catalog._session.write, slowly)
    assert begun.wait(PATIENCE)
    quick = threads.submit(lambda: submitted(catalog, demo, source="/quick").run.gen)
    assert waits_for_a_lock(server, kind, quick)
    view = catalog.view(demo.id)
    go_on.set()
    assert slow.result() < quick.result()
    assert view.hi < slow.result()
    assert catalog.view(demo.id).hidden == {slow.result(), quick.result()}


@pytest.mark.parametrize("step", ["submit", "finish", "commit", "cancel", "delete", "start"])
def test_a_step_waits_for_another_one_on_the_same_document(
    catalog: SqlCatalog, server: PostgresServer | MariaServer, kind: str, threads: ThreadPoolExecutor, step: str
) -> None:
    demo = a_dataset(catalog)
    made = brought_to(catalog, demo, RunState.RUNNING)
    held, go_on = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        hold_run(connection, made.run.id)
        held.set()
        assert go_on.wait(PATIENCE)

    steps: dict[str, Callable[[], object]] = {
        "submit": lambda: submitted(catalog, demo, digest="d2"),
        "finish": lambda: catalog.finish_part(made.run.id, 0, chunks=1, tokens=1, pages=1),
        "commit": lambda: catalog.commit(made.run.id, chunks=1),
        "cancel": lambda: catalog.cancel(made.run.id),
        "delete": lambda: catalog.delete_document("t", made.document.id),
        "start": lambda: catalog.start(made.run.id),
    }
    holder = threads.submit(catalog._session.write, hold)
    assert held.wait(PATIENCE)
    second = threads.submit(steps[step])
    assert waits_for_a_lock(server, kind, second)
    go_on.set()
    holder.result()
    second.result()


def test_of_many_who_submit_one_document_one_begins_its_run(
    open_catalog: Callable[[], SqlCatalog], threads: ThreadPoolExecutor
) -> None:
    hosts = [open_catalog() for _ in range(4)]
    demo = a_dataset(hosts[0])
    made = list(threads.map(lambda n: submitted(hosts[n % 4], demo, source=f"/{n % 5}"), range(40)))
    assert len({one.run.id for one in made}) == sum(one.fresh for one in made) == 5
    assert hosts[0].check() == []


def test_of_many_who_make_a_dataset_all_get_the_same(
    open_catalog: Callable[[], SqlCatalog], threads: ThreadPoolExecutor
) -> None:
    hosts = [open_catalog() for _ in range(4)]
    assert len({one.id for one in threads.map(lambda n: a_dataset(hosts[n % 4]), range(16))}) == 1


def test_hosts_that_do_everything_at_once_leave_a_sound_catalog(
    open_catalog: Callable[[], SqlCatalog], threads: ThreadPoolExecutor
) -> None:
    """Four hosts submit, work, cancel, delete and sweep the same few documents. Every end is one that some host was told."""
    hosts = [open_catalog() for _ in range(4)]
    rooms = [a_dataset(hosts[0], name) for name in ("one", "two")]
    committed: list[tuple[str, int]] = []
    last_left: list[str] = []

    def work(seed: int) -> None:
        chance, host = random.Random(seed), hosts[seed % 4]
        for _ in range(12):
            room = chance.choice(rooms)
            try:
                one_step(chance, host, room)
            except (GenerationClosed, NotFound):  # somebody else was faster
                continue

    def one_step(chance: random.Random, host: SqlCatalog, room: Dataset) -> None:
        parts = [Part("", n) for n in range(3)]
        run = submitted(host, room, source=f"/{chance.randrange(4)}", digest=f"d{chance.randrange(3)}", parts=parts).run
        match chance.randrange(8):
            case 0:
                host.cancel(run.id)
            case 1:
                host.delete_document("t", run.document_id)
            case 2:
                host.swept([gen for _, gens in host.sweepable(grace=0.0) for gen in gens], keep_dead=0.0)
            case _:
                host.start(run.id)
                left = [host.finish_part(run.id, n, chunks=1, tokens=1, pages=1) for n in chance.sample(range(3), 3)]
                last_left.extend(run.id for one in left if one == 0)
                if host.commit(run.id, chunks=3):
                    committed.append((run.document_id, run.gen))

    list(threads.map(work, range(8)))
    host = hosts[0]
    assert host.check() == []
    assert committed
    for room in rooms:
        states = host.generations(room.id)
        live = [gen for gen, state in states.items() if state is GenState.LIVE]
        assert {(document, gen) for gen, (document, _) in host.live(room.id).items()} <= set(committed)
        assert sorted(live) == sorted(one.live for one in host.documents("t", room.id) if one.live is not None)


def test_steps_that_block_each_other_are_repeated_until_both_are_done(
    catalog: SqlCatalog, threads: ThreadPoolExecutor
) -> None:
    demo = a_dataset(catalog)
    ids = [submitted(catalog, demo, source=f"/{n}").document.id for n in range(2)]
    meet = threading.Barrier(2)
    tries: list[str] = []

    def crossing(first: str, second: str) -> Callable[[sa.Connection], str]:
        def step(connection: sa.Connection) -> str:
            tries.append(first)
            assert holds.hold_document(connection, first)
            if tries.count(first) == 1:
                meet.wait(PATIENCE)
            assert holds.hold_document(connection, second)
            return first

        return step

    both = [threads.submit(catalog._session.write, crossing(*pair)) for pair in (ids, ids[::-1])]
    assert [one.result() for one in both] == ids
    assert len(tries) == 3


OPENING = """
import sys
from gristmill.catalogs.sql.catalog import SqlCatalog
sys.stdin.readline()
catalog = SqlCatalog(sys.argv[1])
print(catalog.create_dataset("t", "demo", embedder="e", dim=4, settings={}).id)
catalog.close()
"""


def test_processes_that_open_an_empty_database_at_once_make_one_catalog(kind: str, servers: ServerPool) -> None:
    command = [sys.executable, "-c", OPENING, servers.database(kind, "catalog_opening")]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    told = [one.communicate(timeout=PATIENCE) for one in started]
    assert [one.returncode for one in started] == [0] * 3, told
    assert len({out for out, _ in told}) == 1


# -- the database itself


@pytest.mark.parametrize("state", list(RunState))
def test_the_database_itself_keeps_an_end_state(catalog: SqlCatalog, state: RunState) -> None:
    run = brought_to(catalog, a_dataset(catalog), state).run
    for later in RunState:
        step = sa.text(f"UPDATE run SET state = '{later}' WHERE id = '{run.id}'")
        if state.final and later is not state:
            with pytest.raises(Conflict, match="the end of a run does not change"):
                catalog._session.write(lambda c, step=step: c.execute(step))  # type: ignore[misc]
        elif not state.final:
            with pytest.raises(GeneratorExit):
                catalog._session.write(lambda c, step=step: undone(c, step))  # type: ignore[misc]
    assert catalog.run(run.id).state is state


def undone(connection: sa.Connection, step: sa.Executable) -> None:
    connection.execute(step)
    raise GeneratorExit  # rolled back


LEGAL = {(GenState.PENDING, GenState.LIVE), (GenState.PENDING, GenState.DEAD), (GenState.LIVE, GenState.RETIRED)}


@pytest.mark.parametrize("state", list(GenState))
def test_the_database_itself_knows_the_steps_of_a_generation(catalog: SqlCatalog, state: GenState) -> None:
    insert = f"INSERT INTO generation VALUES (1, 'd', 'doc', 1, '{state}', 0, 0)"
    catalog._session.write(lambda c: c.execute(sa.text(insert)))
    for later in GenState:
        step = sa.text(f"UPDATE generation SET state = '{later}'")
        legal = state is later or (state, later) in LEGAL
        with pytest.raises(GeneratorExit if legal else Conflict, match=None if legal else "no such step"):
            catalog._session.write(lambda c, step=step: undone(c, step))  # type: ignore[misc]
    with pytest.raises(Conflict):
        catalog._session.write(lambda c: c.execute(sa.text("UPDATE generation SET state = 'lost'")))


def test_what_a_column_cannot_hold_is_a_conflict(catalog: SqlCatalog) -> None:
    with pytest.raises(Conflict, match="refuses"):
        a_dataset(catalog, "x" * 256)


def test_moments_are_the_servers_own(catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is wrong does no harm."""
    monkeypatch.setattr(SystemClock, "now", lambda _: 1.0)
    demo = a_dataset(catalog)
    made = brought_to(catalog, demo, RunState.DONE)
    brought_to(catalog, demo, RunState.DONE, digest="d2")
    assert min(demo.created, made.document.created, made.run.created) > 1_700_000_000
    assert catalog.sweepable(grace=3600.0) == []
    assert [gens for _, gens in catalog.sweepable(grace=0.0)] == [[made.run.gen]]


LIMITS = {
    "postgres": "SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout'),"
    " current_setting('transaction_isolation')",
    "mariadb": "SELECT @@idle_transaction_timeout, @@innodb_lock_wait_timeout, @@tx_isolation",
}


def test_a_process_that_freezes_in_a_transaction_does_not_hold_its_locks_for_long(
    server: PostgresServer | MariaServer, kind: str
) -> None:
    catalog = SqlCatalog(server.url)
    found = catalog._session.write(lambda c: tuple(c.exec_driver_sql(LIMITS[kind]).one()))
    assert found == (("15s", "30s", "read committed") if kind == "postgres" else (15, 30, "READ-COMMITTED"))
    catalog.close()


# -- a server that goes


def test_a_catalog_outlives_the_restart_of_its_server(
    catalog: SqlCatalog, server: PostgresServer | MariaServer
) -> None:
    demo = a_dataset(catalog)
    run = brought_to(catalog, demo, RunState.RUNNING).run
    server.restart(kill=True)
    assert catalog.finish_part(run.id, 0, chunks=2, tokens=2, pages=1) == 0
    restarted: list[int] = []

    def in_the_middle(connection: sa.Connection) -> RunState:
        found = hold_run(connection, run.id)
        if not restarted:
            restarted.append(1)
            server.restart(kill=True)
        assert found is not None
        connection.execute(sa.text("SELECT 1"))
        return found.state

    assert catalog._session.write(in_the_middle) is RunState.RUNNING
    assert catalog.commit(run.id, chunks=2)
    assert catalog.check() == []


def test_a_server_that_is_gone_is_an_unavailable_store_until_it_is_back(server: PostgresServer | MariaServer) -> None:
    catalog = SqlCatalog(server.url, patience=0.0)
    demo = a_dataset(catalog)
    server.kill()
    for _ in range(2):
        for ask in (lambda: submitted(catalog, demo), lambda: catalog.documents("t")):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                ask()
    server.start()
    assert submitted(catalog, demo).fresh
    catalog.close()


def test_who_has_patience_waits_for_the_server_in_opening_and_in_steps(
    server: PostgresServer | MariaServer, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: queue.Queue[int] = queue.Queue()
    wait = session._wait

    def noted(tries: int) -> None:
        waits.put(tries)
        wait(tries)

    monkeypatch.setattr(session, "_wait", noted)
    server.kill()
    opening = threads.submit(SqlCatalog, server.url, patience=PATIENCE)
    assert [waits.get(timeout=PATIENCE) for _ in range(2)] == [1, 2]
    server.start()
    catalog = opening.result()
    demo = a_dataset(catalog)
    while not waits.empty():
        waits.get()
    server.kill()
    step = threads.submit(submitted, catalog, demo)
    assert [waits.get(timeout=PATIENCE) for _ in range(3)] == [1, 2, 3]
    server.start()
    assert step.result().fresh
    catalog.close()


CUTS = 16  # offsets


@pytest.mark.parametrize(("direction", "reset"), [("up", False), ("down", True)])
def test_a_connection_cut_anywhere_in_a_step_costs_at_most_asking_again(
    server: PostgresServer | MariaServer, direction: Direction, reset: bool
) -> None:
    """Whatever the drivers make of half an answer, it is an unavailable store or goes unnoticed, and nothing is done twice."""
    with Proxy(server.port) as proxy:
        catalog = SqlCatalog(server.url_for(database_of(server), port=proxy.port))
        demo = a_dataset(catalog)
        before = proxy.passed[direction]
        insisted_on(catalog, demo, "/first")
        length = proxy.passed[direction] - before
        for n in range(CUTS):
            proxy.cut(after=1 + n * length // CUTS, direction=direction, reset=reset)
            insisted_on(catalog, demo, f"/{n}")
        assert proxy.cuts >= CUTS // 2
        assert catalog.check() == []
        assert (
            len(catalog.generations(demo.id)) == len(catalog.live(demo.id)) == len(catalog.operations("t")) == CUTS + 1
        )
        catalog.close()


def database_of(server: PostgresServer | MariaServer) -> str:
    return server.url.rpartition("/")[2]


def insisted_on(catalog: SqlCatalog, demo: Dataset, source: str) -> None:
    """A document from its submit to its commit, by somebody who asks again where the answer stays away."""
    run = again(lambda: submitted(catalog, demo, source=source)).run.id
    again(lambda: catalog.start(run))
    assert again(lambda: catalog.finish_part(run, 0, chunks=2, tokens=2, pages=1)) == 0
    assert again(lambda: catalog.commit(run, chunks=2))


def again(step: Callable[[], T]) -> T:
    try:
        return step()
    except StoreUnavailable:
        return step()


# -- settings


def refused(server: PostgresServer | MariaServer, kind: str) -> list[str]:
    scheme = "postgresql" if kind == "postgres" else "mysql"
    return [
        f"{scheme}://nobody-here:w%40terfall@127.0.0.1:{server.port}/postgres",
        server.url_for("nowhere"),
    ]


def test_what_the_server_refuses_is_a_setting_to_mend(server: PostgresServer | MariaServer, kind: str) -> None:
    for url in refused(server, kind):
        with pytest.raises(SettingsError, match=r"stores\.catalog: the server of .* refuses: ") as caught:
            SqlCatalog(url)
        assert "w%40terfall" not in str(caught.value)
        assert "w@terfall" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("", None), ("?sslmode=prefer", None), ("?sslmode=disable", False), ("?sslmode=require", True)],
)
def test_sslmode_is_what_postgresql_means_by_it(mode: str, expected: bool | None) -> None:
    told = vars(dialect_for(f"postgresql://h/db{mode}"))["_arguments"].get("ssl_context")
    assert (told is not None and told is not False) if expected else told is expected


def test_certificates_that_cannot_be_read_are_a_setting_to_mend(
    server: PostgresServer | MariaServer, kind: str
) -> None:
    options = "sslmode=verify-full&sslrootcert=/no/ca.pem" if kind == "postgres" else "ssl_ca=/no/ca.pem"
    with pytest.raises(SettingsError, match=r"stores\.catalog: .*No such file"):
        SqlCatalog(f"{server.url}?{options}")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "mysql", "mariadb"])
def test_a_server_that_does_not_answer_is_named_without_the_password(scheme: str) -> None:
    port = free_port()
    with pytest.raises(StoreUnavailable, match=rf"us:\*\*\*@127\.0\.0\.1:{port}/docs") as caught:
        SqlCatalog(f"{scheme}://us:w%40terfall@127.0.0.1:{port}/docs")
    assert "terfall" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(PluginError, match=r"stores\.catalog: the driver psycopg2? is not installed"):
        SqlCatalog("postgresql+psycopg2://h/db")


def test_the_url_says_how_many_connections_and_how_long(server: PostgresServer | MariaServer) -> None:
    engine = dialect_for(f"{server.url}?max_connections=3&stale_timeout=7").engine(writes=True)
    pool: Any = engine.pool
    assert (pool.size(), pool._max_overflow, pool._recycle) == (3, 0, 7)
    engine.dispose()
