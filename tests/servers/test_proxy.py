"""The proxy passes on, and fails exactly as told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from gristmill.testing.proxy import Direction, Proxy
from gristmill.testing.servers.waiting import until

SAID = b"0123456789"


class Echo:
    """Answers what it hears, over any number of connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = bytearray()
        self.ended = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        serving = []
        while True:
            connection, _ = self._listener.accept()
            with connection:
                first = connection.recv(1, socket.MSG_PEEK)
                if first == b"!":
                    break
                one = threading.Thread(target=self._serve, args=(connection.dup(),))
                one.start()
                serving.append(one)
        for one in serving:
            one.join()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                pass
            self.ended += 1

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"!")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=60)


def receive(client: socket.socket, count: int) -> bytes:
    """So many bytes, or what came before the end."""
    got = b""
    while len(got) < count and (data := client.recv(count - len(got))):
        got += data
    return got


def test_it_passes_on_and_counts(proxy: Proxy) -> None:
    with connect(proxy) as one, connect(proxy) as two:
        for client in (one, two):
            client.sendall(SAID)
        assert [receive(client, 10) for client in (one, two)] == [SAID, SAID]
    assert proxy.accepted == 2
    assert proxy.passed == {"up": 20, "down": 20}


@pytest.mark.parametrize("after", [0, 1, 9, 10])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_it_cuts_at_the_byte_once(proxy: Proxy, echo: Echo, direction: Direction, after: int) -> None:
    proxy.cut(after=after, direction=direction)
    with connect(proxy) as client:
        client.sendall(SAID)
        got = receive(client, 11)
    assert SAID.startswith(got)
    until(lambda: echo.ended == 1, "the server was not told")
    if direction == "up":
        assert echo.heard == SAID[:after]
    else:
        assert echo.heard == SAID
        assert got == SAID[:after]
    assert proxy.cuts == 1
    with connect(proxy) as client:
        client.sendall(SAID)
        assert receive(client, 10) == SAID


@pytest.mark.parametrize("now", [True, False])
def test_it_resets(proxy: Proxy, now: bool) -> None:
    with connect(proxy) as client:
        client.sendall(SAID)
        assert receive(client, 10) == SAID
        if now:
            proxy.reset()
        else:
            proxy.cut(after=0, direction="up", reset=True)
            client.sendall(SAID)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_what_falls_into_the_blackhole_arrives_once_healed(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as old:
        old.sendall(SAID)
        assert receive(old, 10) == SAID
        proxy.blackhole()
        with connect(proxy) as new:
            for client in (old, new):
                client.sendall(SAID)
            until(lambda: proxy.accepted == 2, "the blackhole accepts nothing")
            assert echo.heard == SAID
            proxy.heal()
            assert [receive(client, 10) for client in (old, new)] == [SAID, SAID]


def test_a_blackhole_may_swallow_answers_only(proxy: Proxy, echo: Echo) -> None:
    proxy.blackhole("down")
    with connect(proxy) as client:
        client.sendall(SAID)
        until(lambda: echo.heard == SAID, "the request did not arrive")
        assert proxy.passed["down"] == 0
        proxy.heal()
        assert receive(client, 10) == SAID


def test_a_half_open_connection_stays_silent_and_new_ones_work(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as old:
        old.sendall(SAID)
        assert receive(old, 10) == SAID
        proxy.half_open()
        until(lambda: echo.ended == 1, "the server keeps the connection")
        old.sendall(SAID)
        with connect(proxy) as new:
            new.sendall(SAID)
            assert receive(new, 10) == SAID
        old.setblocking(False)
        with pytest.raises(BlockingIOError):
            old.recv(1)
        assert echo.heard == 2 * SAID


def test_a_half_open_connection_is_reset_like_others(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as old:
        old.sendall(SAID)
        assert receive(old, 10) == SAID
        proxy.half_open()
        until(lambda: echo.ended == 1, "the server keeps the connection")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            old.recv(1)


def test_it_refuses_and_accepts_again(proxy: Proxy) -> None:
    with connect(proxy) as old:
        old.sendall(SAID)
        assert receive(old, 10) == SAID
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        old.sendall(SAID)
        assert receive(old, 10) == SAID
        proxy.heal()
        with connect(proxy) as new:
            new.sendall(SAID)
            assert receive(new, 10) == SAID


def test_a_server_that_is_gone_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with (
        Proxy(port) as proxy,
        pytest.raises(ConnectionResetError),
        connect(proxy) as client,
    ):  # it may be quicker than we
        client.recv(1)


def test_it_splits_and_delays(proxy: Proxy) -> None:
    proxy.split(1)
    proxy.delay(0.001)
    with connect(proxy) as client:
        client.sendall(SAID)
        assert receive(client, 10) == SAID
    assert proxy.passed == {"up": 10, "down": 10}


def test_it_closes_all(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(SAID)
        assert receive(client, 10) == SAID
        proxy.close()
        assert client.recv(1) == b""
        assert proxy.open == 0
