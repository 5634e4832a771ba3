"""Being told by the database what other processes do: a thread of its own waits at the socket and costs nothing meanwhile."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio import to_thread

from gristmill.base.errors import BrokerUnavailable
from gristmill.base.logs import get_logger
from gristmill.brokers.sql.dialect import Dialect

log = get_logger(__name__)

SILENCE = 10.0  # seconds without a word after which the server is asked whether it is there
PAUSE, LAST_PAUSE = 0.1, 5.0  # seconds between tries to connect again


class Listener:
    """Calls ``changed`` whenever the database tells of something, and after every time that it may have told in vain."""

    def __init__(
        self, dialect: Dialect, changed: Callable[[], None], *, meaning: Callable[[Exception], Exception]
    ) -> None:
        self._dialect = dialect
        self._changed = changed
        self._meaning = meaning
        self._connection: Any = None
        self._stopping, self._stopped = socket.socketpair()
        self._thread = anyio.CapacityLimiter(1)

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Somebody waits for what others do. It listens anyway."""
        yield

    def open(self) -> None:
        """In a thread: from here on nothing is missed."""
        self._connection = self._dialect.listener()

    def stop(self) -> None:
        """End the thread. ``run`` does not outlive a cancellation by more than this."""
        self._stopping.send(b"x")

    def close(self) -> None:
        """Give the connections back."""
        self._hang_up()
        self._stopping.close()
        self._stopped.close()

    async def run(self) -> None:
        pause = PAUSE
        while True:
            try:
                await to_thread.run_sync(self._hear, limiter=self._thread)
            except BrokerUnavailable as exc:
                log.warning("the broker's database tells nothing of other processes", error=str(exc), again_after=pause)
                await anyio.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE)
                continue
            pause = PAUSE
            self._changed()

    def _hear(self) -> None:
        """In the thread: come back when there may be news, or when it stops."""
        try:
            if self._connection is None:
                self.open()
                return
            while True:
                ready = select.select([_socket_of(self._connection), self._stopped], [], [], SILENCE)[0]
                if self._stopped in ready:
                    return
                cursor = self._connection.cursor()
                cursor.execute("SELECT 1")  # takes in what has come, and fails where nobody is there any more
                cursor.close()
                if ready:
                    return
        except Exception as exc:
            self._hang_up()
            raise self._meaning(exc) from exc

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._dialect.hang_up(connection)


def _socket_of(connection: Any) -> Any:
    """What ``select`` waits for: pg8000 has it under this name, psycopg as ``fileno``."""
    return getattr(connection, "_usock", connection)
