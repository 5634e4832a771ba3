"""Who watches a master through a pipe: told how it is, for as long as it listens. Its end, or its sleep, is nothing to us."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

EVERY = 0.25  # seconds


class Onlooker:
    """Writes lines of JSON into an open file; 0: there is nobody."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""
        self._next = 0.0
        if fd:
            os.set_blocking(fd, False)
            os.set_inheritable(fd, False)

    def show(self, status: Callable[[], dict[str, Any]]) -> None:
        """Tell this, unless it is too soon, or the onlooker has not read what was said before."""
        now = time.monotonic()
        if not self._fd or now < self._next:
            return
        self._next = now + EVERY
        self._rest = self._rest or json.dumps(status()).encode() + b"\n"
        try:
            self._rest = self._rest[os.write(self._fd, self._rest) :]
        except BlockingIOError:
            return
        except OSError:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = 0
