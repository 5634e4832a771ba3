"""Signals as events of a selector: they become bytes in a socket, and nothing happens inside a handler."""

from __future__ import annotations

import selectors
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def hearing(names: Sequence[str], selector: selectors.BaseSelector, heard: Callable[[str], None]) -> Iterator[None]:
    """Within this block ``heard`` is called with the name of each of these signals, by the loop over ``selector``."""
    hear, tell = socket.socketpair()

    def read() -> None:
        for number in hear.recv(4096):
            if (name := signal.Signals(number).name.removeprefix("SIG")) in names:  # others' signals come here, too
                heard(name)

    with hear, tell:
        for end in (hear, tell):
            end.setblocking(False)
        signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
        for name in names:
            signal.signal(getattr(signal, f"SIG{name}"), lambda *_: None)
        selector.register(hear, selectors.EVENT_READ, read)
        yield
        signal.set_wakeup_fd(-1)
        selector.close()
