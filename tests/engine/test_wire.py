"""Frames between a worker and its children arrive whole and in order, however the bytes come."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.engine.message import new_message
from gristmill.engine.outcome import failure, success
from gristmill.engine.wire import (
    SILENCE,
    Answer,
    Ask,
    Beat,
    BlockingChannel,
    Book,
    Channel,
    Done,
    Fork,
    Frame,
    Said,
    Stop,
    Unpacker,
    Work,
    pack,
)

texts = st.text(max_size=20)
frames = st.one_of(
    st.builds(Beat, texts),
    st.builds(Stop, texts, texts),
    st.builds(Fork, st.integers(0, 2**31), st.booleans()),
    st.builds(Said, texts, st.floats(0, 1), texts, st.dictionaries(texts, st.integers(-9, 9), max_size=3)),
    st.builds(
        Done, texts, st.one_of(st.builds(success, st.integers(-9, 9)), st.builds(failure, st.just(ValueError("x"))))
    ),
    st.builds(Work, st.builds(new_message, texts), st.integers(1, 9), st.integers(0, 9), st.none() | st.integers(0, 9)),
    st.builds(Ask, st.integers(0, 9), st.lists(st.builds(new_message, texts), max_size=2)),
    st.builds(Book, st.integers(0, 9), texts, st.floats(0.1, 9), st.floats(0, 9), st.floats(0, 9)),
    st.builds(Answer, st.integers(0, 9), st.lists(st.booleans(), max_size=3), st.floats(0, 9), texts),
)


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 40), max_size=60))
def test_frames_come_out_as_they_went_in_whatever_the_pieces(sent: list[Frame], cuts: list[int]) -> None:
    raw = b"".join(map(pack, sent))
    unpacker, got, at = Unpacker(), list[Frame](), 0
    for cut in [*cuts, len(raw)]:
        got += unpacker.feed(raw[at : at + cut])
        at += cut
    assert got == sent


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]
LARGE = Said("id", 0.5, "x" * 5_000_000, {})


@pytest.mark.anyio
async def test_large_frames_of_many_senders_never_mix(ends: Ends) -> None:
    here, there = Channel(ends[0]), Channel(ends[1])
    everything: list[Frame] = [LARGE, *(Stop(str(n), "") for n in range(50)), LARGE]
    got: list[Frame] = []
    async with anyio.create_task_group() as senders:
        for frame in everything:
            senders.start_soon(here.send, frame)
        while len(got) < 52:
            got += await there.receive()
    assert sorted(map(hash, map(pack, got))) == sorted(map(hash, map(pack, everything)))


@pytest.mark.anyio
async def test_posted_frames_come_whole_and_in_their_order(ends: Ends) -> None:
    here, there = Channel(ends[0]), Channel(ends[1])
    posted: list[Frame] = [Stop("first", ""), LARGE, *(Stop(str(n), "") for n in range(50)), LARGE, Stop("last", "")]
    got: list[Frame] = []
    async with anyio.create_task_group() as group:
        group.start_soon(here.write)
        for number, frame in enumerate(posted):
            here.post(frame)
            if number % 7 == 0:  # some at once, some together
                await anyio.sleep(2 * SILENCE)
        while len(got) < len(posted):
            got += await there.receive()
        here.hang_up()  # and so ``write`` ends
    assert got == posted


@pytest.mark.anyio
async def test_what_is_posted_to_nobody_is_lost_without_a_word(ends: Ends) -> None:
    here = Channel(ends[0])
    ends[1].close()
    here.post(LARGE)
    here.post(Beat())
    await here.write()
    assert await here.receive() == []


@pytest.mark.anyio
async def test_what_is_posted_after_the_close_is_lost_without_a_word(ends: Ends) -> None:
    """A stop for a task whose runner has just gone is no reason for its worker to go, too."""
    here = Channel(ends[0])
    here.close()
    here.post(Beat())
    here.post(LARGE)
    await here.write()
    with pytest.raises(ConnectionError):
        await here.send(Beat())


@pytest.mark.anyio
async def test_a_cancelled_send_is_sent_whole(ends: Ends) -> None:
    here, there = Channel(ends[0]), Channel(ends[1])
    got: list[Frame] = []

    async def send_and_give_up(scope: anyio.CancelScope) -> None:
        with scope:
            await here.send(LARGE)

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as senders:
        senders.start_soon(send_and_give_up, scope)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        while not got:
            got += await there.receive()
    await here.send(Beat())
    assert (got, await there.receive()) == ([LARGE], [Beat()])


@pytest.mark.anyio
async def test_the_end_of_the_other_side_is_an_empty_answer(ends: Ends) -> None:
    here = Channel(ends[0])
    ends[1].close()
    assert await here.receive() == []
    with pytest.raises(ConnectionError):
        await here.send(Beat())


def test_a_process_without_a_loop_talks_the_same(ends: Ends) -> None:
    here, there = BlockingChannel(ends[0]), BlockingChannel(ends[1])
    for n in range(3):
        here.send(Stop(str(n), "x"))
    assert [there.receive() for _ in range(3)] == [Stop(str(n), "x") for n in range(3)]
    ends[0].close()
    assert there.receive() is None
