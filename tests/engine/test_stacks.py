"""Stacks on demand: their file, coroutines, and what a crash has left."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from gristmill.engine import stacks


@pytest.fixture
def fd() -> Iterator[int]:
    made = stacks.make(stacks.RUNNERS)
    yield made
    os.close(made)


class _Awaitable:
    def __await__(self) -> Generator[int, None, None]:
        yield 1


async def _inner() -> None:
    await _Awaitable()


async def _many() -> AsyncIterator[int]:
    await _inner()
    yield 1


async def _outer() -> None:
    async for _ in _many():
        pass


def test_a_coroutine_tells_where_it_waits_outermost_first() -> None:
    body = _outer()
    body.send(None)
    places = [line.rpartition(" in ")[2] for line in stacks.of_coroutine(body)]
    body.close()
    assert places[0] == "_outer"
    assert places[-2:] == ["_inner", "_Awaitable.__await__"] or places == ["_outer"]
    assert list(stacks.of_coroutine(body)) == []
    assert list(stacks.of_coroutine(None)) == []


def test_only_the_crash_is_taken_and_only_what_one_wants_to_read(fd: int) -> None:
    os.write(fd, b"Current thread 0x1 (most recent call first):\n  asked for\n\ntask 7\n-- end of the stacks\n")
    assert stacks.crash(fd) == ""
    os.write(
        fd, b"Fatal Python error: Aborted\n\nCurrent thread 0x1:\n  File f\n\nExtension modules: a, b (total: 2)\n"
    )
    assert stacks.crash(fd) == "Fatal Python error: Aborted\n\nCurrent thread 0x1:\n  File f"


def test_a_body_that_floods_the_file_is_not_read_whole(fd: int) -> None:
    for _ in range(64):
        os.write(fd, b"x" * 65_536)
    os.write(fd, b"Fatal Python error: " + b"y" * 20_000)
    assert len(stacks.crash(fd)) == stacks.LONGEST_TRACEBACK


def test_a_closed_file_tells_nothing() -> None:
    assert stacks.crash(-1) == ""


def test_a_process_that_serves_none_is_not_signalled() -> None:
    pid = os.fork()
    if pid == 0:
        os.closerange(3, 200)
        os.execv("/bin/sleep", ["sleep", "60"])
    try:
        while b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.sched_yield()
        assert stacks.file_of(pid) is None
        assert stacks.ask(pid, within=1.0) is None
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_a_process_that_has_gone_has_no_file() -> None:
    assert stacks.file_of(2**22 + 1) is None
