"""A server beside the workers of a master, in real processes: nobody who asks is turned away or cut off."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from gristmill.engine.front import listening
from gristmill.testing.masters import PATIENCE, Master
from gristmill.testing.servers.process import free_port

SERVER = Path(__file__).parents[1] / "web" / "slow.py"


class Asking:
    """A request to ``/slow`` under way; ``pid`` is who answered it, ``failed`` what went wrong."""

    def __init__(self, port: int) -> None:
        self.pid, self.failed = 0, ""
        self._port = port
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def end(self) -> str:
        """What went wrong, once it is over."""
        self._thread.join(PATIENCE)
        return self.failed

    def done(self) -> int:
        """Who has answered."""
        assert not self.end()
        return self.pid

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", "/slow")
            answer = connection.getresponse()
            self.pid = int(answer.read()) if answer.status == 200 else 0
            self.failed = "" if answer.status == 200 else f"{answer.status}"
        except OSError as exc:
            self.failed = str(exc)
        finally:
            connection.close()


class House:
    """A master over one worker and the server of ``tests/web/slow.py``."""

    def __init__(self, home: Path, health: str = "") -> None:
        self.home, self.port = home, free_port()
        server = [sys.executable, str(SERVER), str(home)]
        listen = f"127.0.0.1:{self.port}"
        self.master = Master(f"sqlite:///{home / 'broker.db'}", workers=1, server=server, listen=listen, health=health)

    def ask(self) -> Asking:
        """A request that a server has begun to answer."""
        before = self._asked()
        asking = Asking(self.port)
        turn = threading.Event()
        while self._asked() == before and not asking.failed:
            turn.wait(0.01)
        return asking

    def go(self) -> None:
        (self.home / "go").touch()

    def _asked(self) -> int:
        path = self.home / "asked"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, health=f"127.0.0.1:{free_port()}")


def test_a_draining_master_has_its_server_finish_what_was_asked(house: House) -> None:
    """P9: and it is not ready before anything ends, and lets nobody in."""
    with house.master as master:
        server = master.said("a server is ready")["server_pid"]
        master.said("a worker is ready")
        asking = house.ask()
        master.signal(signal.SIGTERM)
        master.said("draining: no new work", 2)
        assert master.probe("/ready")[0] == 503
        assert "refused" in Asking(house.port).end()
        house.go()
        assert asking.done() == server
        assert master.wait() == 0
        assert master.said("a server has ended")["how"] == "exit code 0"


def test_one_server_follows_another_and_nobody_is_turned_away(house: House) -> None:
    with house.master as master:
        first = master.said("a server is ready")["server_pid"]
        asking = house.ask()
        master.signal(signal.SIGUSR2)
        second = master.said("a server is ready", 2)["server_pid"]
        others = [Asking(house.port) for _ in range(20)]  # while the first drains
        house.go()
        assert asking.done() == first
        assert {one.done() for one in others} <= {first, second}
        master.said("a server has ended", server_pid=first)
        assert Asking(house.port).done() == second


def test_who_asks_while_there_is_no_server_waits_for_the_next(house: House) -> None:
    """The socket is the master's: a server's death turns nobody away who comes later."""
    house.go()
    with house.master as master:
        first = master.said("a server is ready")["server_pid"]
        os.kill(first, signal.SIGKILL)
        master.said("a server died", server_pid=first)
        assert Asking(house.port).done() == master.said("a server is ready", 2)["server_pid"]


def test_a_server_that_cannot_start_ends_the_master_with_the_reason(tmp_path: Path) -> None:
    script = "import sys; sys.exit(2)"
    server = [sys.executable, "-c", script]
    listen = f"127.0.0.1:{free_port()}"
    with Master(f"sqlite:///{tmp_path / 'broker.db'}", workers=1, server=server, listen=listen) as master:
        master.said("no server can start; its reason is above")
        assert master.wait() == 2


def test_an_address_that_is_taken_ends_the_master_before_anything_starts(tmp_path: Path) -> None:
    with listening("127.0.0.1:0") as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with Master("memory://", workers=1, server=["no"], listen=listen) as master:
            assert master.wait() == 1
            assert f"nothing can listen on {listen} (--listen" in master.said("the master cannot start")["error"]
            assert "a worker starts" not in master.told()


def test_probes_whose_address_is_taken_end_it_too(tmp_path: Path) -> None:
    with listening("127.0.0.1:0") as taken:
        health = f"127.0.0.1:{taken.getsockname()[1]}"
        with Master("memory://", workers=1, health=health) as master:
            assert master.wait() == 1
            assert f"no probes on {health} (--health" in master.said("the master cannot start")["error"]
