"""The servers of the tests come up, keep or forget what they had, and go with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.testing.processes import alive, children
from gristmill.testing.servers import REDIS_KINDS, PostgresServer, RedisServer, ServerMissing
from gristmill.testing.servers.programs import postgres_programs, system_program
from gristmill.testing.servers.waiting import until
from servers.pool import ServerPool


@pytest.mark.parametrize("kind", REDIS_KINDS)
def test_a_redis_keeps_or_forgets_its_data_on_the_same_port(servers: ServerPool, kind: str) -> None:
    with servers.make(lambda: RedisServer(kind)) as server:
        url = server.url
        server.command("SET", "key", "value")
        server.restart()
        assert server.command("GET", "key") == b"value"
        server.command("SET", "key", "later")
        server.restart(kill=True)
        assert server.command("GET", "key") == b"value"
        server.restart(keep_data=False)
        assert server.command("GET", "key") is None
        assert server.url == url
        assert server.info("server")["redis_version" if not server.program.valkey else "valkey_version"] == ".".join(
            map(str, server.version)
        )


def test_what_is_appended_survives_a_kill(servers: ServerPool) -> None:
    with servers.make(lambda: RedisServer(appendonly=True)) as server:
        server.command("SET", "key", "value")
        server.restart(kill=True)
        assert server.command("GET", "key") == b"value"


@pytest.mark.parametrize("name", ["postgres", "mariadb"])
def test_a_database_is_emptied_and_keeps_its_data_over_a_kill(servers: ServerPool, name: str) -> None:
    servers.fresh(name)
    server = servers.postgres() if name == "postgres" else servers.mariadb()
    servers.database(name, "one")
    server.execute("CREATE TABLE parent (id INT PRIMARY KEY)", database="one")
    server.execute(
        "CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id))",
        database="one",
    )
    server.execute("INSERT INTO parent VALUES (1)", database="one")
    server.execute("INSERT INTO child VALUES (1, 1)", database="one")
    server.restart(kill=True)
    assert [list(row) for row in server.execute("SELECT id, parent FROM child", database="one")] == [[1, 1]]
    server.empty("one")
    assert [list(row) for row in server.execute("SELECT count(*) FROM child, parent", database="one")] == [[0]]
    server.drop_database("one")


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs it as another")
def test_root_starts_a_postgres_from_where_only_root_may_go(servers: ServerPool, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(0o700)
    programs = servers.make(postgres_programs)
    package = programs.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        (private / part.name).symlink_to(part)
    with PostgresServer(programs=private / programs.relative_to(package.parent)) as server:
        assert server.execute("SELECT 1") == [[1]]


def test_a_cluster_moves_a_key_from_node_to_node(servers: ServerPool) -> None:
    servers.fresh("cluster")
    cluster = servers.cluster()
    source = cluster.owner("key")
    target = next(node for node in cluster.nodes if node is not source)
    source.command("SET", "key", "value")
    slot = cluster.slot("key")
    cluster.begin_migration(slot, source, target)
    assert cluster.move_keys(slot, source, target) == 1
    cluster.end_migration(slot, target)
    assert cluster.owner("key") is target
    assert target.command("GET", "key") == b"value"


def test_a_sentinel_chooses_another_master(servers: ServerPool) -> None:
    servers.fresh("sentinel")
    sentinel = servers.sentinel()
    old = sentinel.master
    new = sentinel.switch()
    assert new is not old
    assert new.command("SET", "key", "value") == b"OK"


def test_servers_end_with_the_process_that_started_them_and_leave_no_folder(servers: ServerPool) -> None:
    """Even when that is killed, and when they are paused."""
    servers.make(RedisServer).close()
    code = """
import sys
from gristmill.testing.servers import RedisServer
server = RedisServer()
server.start()
server.pause()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().decode().split()
        assert alive(int(pid))
        starter.send_signal(signal.SIGKILL)
    until(lambda: not alive(int(pid)) and not Path(folder).exists(), "the server or its folder did not go")


def test_a_server_is_no_child_of_the_test(servers: ServerPool) -> None:
    before = children()
    with servers.make(RedisServer):
        assert children() == before


def test_a_server_that_is_not_here_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.testing.servers.programs._SYSTEM", ())
    with pytest.raises(ServerMissing, match="there is no redis-server here: apt-get install redis-server"):
        system_program("redis-server", "apt-get install redis-server")


@pytest.mark.parametrize(
    ("must_have", "outcome"), [(False, pytest.skip.Exception), (True, pytest.fail.Exception)], ids=["here", "CI"]
)
def test_a_missing_server_is_a_named_skip_here_and_a_failure_in_ci(
    must_have: bool, outcome: type[BaseException]
) -> None:
    def missing() -> None:
        raise ServerMissing("there is no such server: install it")

    with pytest.raises(outcome, match="install it"):
        ServerPool(must_have=must_have).make(missing)
