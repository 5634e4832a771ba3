"""At home under systemd: readiness, the watchdog, and a file with our process id."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Self


class Notifier:
    """Tells systemd how we are (sd_notify(3)): one datagram to the socket that it named, if it did."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")  # noqa: TID251  systemd's word, for this process alone
        usec = os.environ.pop("WATCHDOG_USEC", "")  # noqa: TID251
        self._every = int(usec) / 2_000_000 if usec.isdigit() and self._address else 0.0
        self._next = 0.0

    def tell(self, *lines: str) -> None:
        """Say these; silence where nobody listens."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(lines).encode(), address)

    def watchdog(self, now: float) -> None:
        """We are alive: told twice as often as is asked for."""
        if self._every and now >= self._next:
            self._next = now + self._every
            self.tell("WATCHDOG=1")


class PidFile:
    """Our process id in a file, while we run. Raises FileExistsError where another living process is in it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Self:
        if self._path:
            if (other := self._other()) is not None:
                raise FileExistsError(errno.EEXIST, f"process {other} runs already", self._path)
            fresh = f"{self._path}.{os.getpid()}"
            with open(fresh, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
            os.replace(fresh, self._path)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._path and self._read() == os.getpid():
            with suppress(OSError):
                os.unlink(self._path)

    def _read(self) -> int | None:
        with suppress(OSError, ValueError), open(self._path, encoding="ascii") as file:
            return int(file.read().strip())
        return None

    def _other(self) -> int | None:
        pid = self._read()
        if pid is None or pid in (0, os.getpid()):
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid
        return pid
