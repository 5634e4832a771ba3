"""Playing rounds: one broker, some workers that live on from round to round, and a director who strikes."""

from __future__ import annotations

import fcntl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
from anyio import to_thread

from fault.engine import cast
from fault.engine.arenas import Arena
from fault.engine.cast import Actor
from fault.engine.host import QUEUE, Start, offset, set_offset
from fault.engine.ledger import Reader
from fault.engine.mutations import Mutation
from fault.engine.oracle import Seen, wrong
from fault.engine.plan import Piece, Round, Strike
from fault.engine.story import Story
from fault.engine.strikes import STRIKES
from gristmill.base.errors import BrokerUnavailable
from gristmill.base.ids import new_id
from gristmill.brokers import open_broker
from gristmill.engine.broker import Broker
from gristmill.engine.message import Message, TaskRecord
from gristmill.engine.state import FINAL, TaskState
from gristmill.testing.proxy import Proxy

T = TypeVar("T")
LOOK = 0.02  # seconds between looks at the ledger
BATCH = 0.7  # seconds after which the next tasks are published, at the latest
DEAF, DEAF_SECONDS = 5, 60.0  # who takes nothing in so many rounds, and that long, does not hear its broker any more
PATIENCE = 150.0  # seconds for a round to end: a safety; who is not done by then never will be
MUTANTS = 60.0  # the same where something is broken on purpose: many a mutant never ends


class Unfinished(Exception):
    """Something stayed as it was."""


class Clock:
    """The director's: that of the workers' host."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> float:
        return time.time() + offset(self._path)  # noqa: TID251  as in the workers' processes

    def monotonic(self) -> float:
        return time.monotonic()


class Theatre:
    """One broker and its workers. Use within ``opened``."""

    def __init__(self, arena: Arena, room: Path, proxy: Proxy | None, mutation: Mutation | None) -> None:
        self.arena = arena
        self.room = room
        self.proxy = proxy  # before the first worker
        self.actors: dict[int, Actor] = {}
        self.story, self.seen = Story(), Seen(0.0)
        self.spoilt = False  # something went wrong: no round after it can be trusted
        self._mutation = mutation
        room.mkdir(parents=True)
        (room / "ledger").touch()
        self._clock = room / "clock"
        set_offset(self._clock, 0.0)
        self.clock = Clock(self._clock)
        self._reader = Reader(room)
        self._ends: dict[str, TaskRecord] = {}
        self._numbers = 0
        self._more, self._over = anyio.Event(), anyio.Event()
        self.life = 0  # of the broker: goes up when it begins to lose its memory, and when that is done
        self._left: list[Actor] = []
        self.online = anyio.Lock()  # one thing at a time is done to the network
        self.alone = anyio.Lock()  # one thing at a time is done to the broker as a whole
        self._asked: set[str] = set()  # tasks whose end was asked for
        self._round: Round
        self.broker: Broker

    # What a round is made of.

    async def play(self, one: Round) -> list[str]:
        """Play a round. Returns everything that was wrong; if nothing was, the theatre is ready for another one."""
        self._round, self.story, self.seen = one, Story(up=self.story.up), Seen(one.lease)
        self._asked, self._ends, self._over = set(), {}, anyio.Event()
        for place in range(one.workers):
            self.enter(place)
        await self._all_up()
        for actor in self.actors.values():
            actor.hits.clear()
        try:
            with anyio.fail_after(PATIENCE if self._mutation is None else MUTANTS):
                await self._perform(one)
                records = await self._settled(one)
        except TimeoutError:
            records = await self._records(one)
            self.seen.wrong += self._stuck(one, records)
        self._hear()
        self._look_for_the_dead_and_the_deaf()
        self.seen.hits = {actor.name: list(actor.hits) for actor in [*self.actors.values(), *self._left]}
        found = wrong(one, self.story, self.seen, records)
        if not found:
            found += await self._clear(records)
        self.spoilt = bool(found)
        return found

    async def _perform(self, one: Round) -> None:
        async with anyio.create_task_group() as acts:
            acts.start_soon(self._listen)
            acts.start_soon(self._feel_the_machine)
            acts.start_soon(self._publish, one)
            for after, names in one.cancels:
                acts.start_soon(self._cancel, after, names)
            async with anyio.create_task_group() as strikes:
                for strike in one.strikes:
                    strikes.start_soon(self._strike, strike)
                await self._all_ended(one)
                self._over.set()
                self._more.set()
            acts.cancel_scope.cancel()

    async def _publish(self, one: Round) -> None:
        for batch in range(3):
            pieces = [piece for piece in one.pieces if piece.batch == batch and not piece.published_by_body]
            first = [piece.message for piece in pieces]
            await self.patiently(lambda first=first: self.broker.publish(first))  # type: ignore[misc]
            again = [_again(piece) for piece in pieces if piece.again]
            accepted = await self.patiently(lambda again=again: self.broker.publish(again))  # type: ignore[misc]
            if any(accepted) and "broker forgets" not in self.seen.whole:
                self.seen.wrong.append(f"DOUBLED: a second publish was accepted: {again}")
            with anyio.move_on_after(BATCH):
                await self._begun((batch + 1) * 10)

    async def _cancel(self, after: int, names: Sequence[str]) -> None:
        await self._begun(after)
        await self.cancel(names)

    async def cancel(self, names: Sequence[str]) -> None:
        """Cancel these tasks, as soon as they are known."""
        left = set(names)
        self._asked |= left
        while left := left - self._ends.keys() - self.seen.dropped:
            known = await self._records(self._round, left)
            left -= await self._ask([record.id for record in known.values()], list(known))
            await anyio.sleep(0.1)

    async def _ask(self, ids: Sequence[str], names: Sequence[str] = ()) -> set[str]:
        """Cancel by id, and remember what the broker said. Returns the names of those that it knew."""
        states = await self.patiently(lambda: self.broker.cancel(ids, reason="round")) if ids else []
        answered = time.monotonic()
        for task_id, state in zip(ids, states, strict=True):
            if state is not None and not state.final:
                self.seen.cancelled.setdefault(task_id, (state, answered))
        return {n for n, state in zip(names, states, strict=False) if state is not None}

    async def _strike(self, strike: Strike) -> None:
        await self._begun(strike.after)
        if not self._over.is_set() and await STRIKES[strike.fault](self, strike):
            self.seen.struck.append(strike.fault)

    async def _begun(self, count: int) -> None:
        """Return when so many bodies have begun, or all is over."""
        while len(self.story.begun) < count and not self._over.is_set():
            await self._more.wait()

    async def _listen(self) -> None:
        while True:
            self._hear()
            await anyio.sleep(LOOK)

    def _hear(self) -> None:
        if entries := self._reader.new():
            self.story.add(entries)
            self._more.set()
            self._more = anyio.Event()

    async def _feel_the_machine(self) -> None:
        """How long this process has to wait for its turn: what the workers may have to wait, too."""
        while True:
            before = time.monotonic()
            await anyio.sleep(0.05)
            self.seen.starved = max(self.seen.starved, time.monotonic() - before - 0.05)

    async def _all_up(self) -> None:
        with anyio.fail_after(PATIENCE):
            while any(actor.name not in self.story.up for actor in self.actors.values()):
                self._hear()
                for actor in self.actors.values():
                    if not actor.alive:
                        raise Unfinished(f"worker {actor.name} did not start:\n{actor.words()}")
                await anyio.sleep(LOOK)

    async def _all_ended(self, one: Round) -> None:
        """Look until every task has ended, and remember how. Once the broker has forgotten, reconcile at every look."""
        open_ones = {piece.n for piece in one.pieces}
        while open_ones - self.seen.dropped:
            life = self.life
            known = await self._records(one, open_ones)
            if life % 2 or life != self.life:
                continue  # who was asked is another one by now
            for n, record in known.items():
                if record.state.final:
                    self._ends[n] = self.seen.ended[record.id] = record
            open_ones -= self._ends.keys()
            if self.seen.forgot:
                self.seen.dropped = (open_ones & self._asked) - known.keys()
                await self._reconcile([piece for piece in one.pieces if piece.n in open_ones], known)
            await anyio.sleep(0.15)

    async def _reconcile(self, pieces: Sequence[Piece], known: dict[str, TaskRecord]) -> None:
        """As the pipeline does, publish again what the broker does not know: same keys, new ids; and cancel again."""
        fresh = [
            msgspec.structs.replace(piece.message, id=new_id() if piece.message.key else piece.message.id)
            for piece in pieces
            if piece.n not in known and piece.n not in self._asked
        ]
        if fresh:
            await self.patiently(lambda: self.broker.publish(fresh))
        unheard = [known[n] for n in self._asked & known.keys()]
        await self._ask([one.id for one in unheard if not one.state.final and not one.cancel_requested])

    async def _settled(self, one: Round) -> dict[str, TaskRecord]:
        """The records, once no body of the round runs any more, wherever."""
        while True:
            records = await self._records(one)
            again = (
                [] if not self.seen.forgot else [one for one in records.values() if not one.state.final]
            )  # late publishes
            if not again and not any(self._body_runs(piece.n) for piece in one.pieces):
                return await self._records(one)
            self._hear()
            await anyio.sleep(0.1)

    def _body_runs(self, n: str) -> bool:
        """Whether some body of the task holds its lock."""
        path = self.room / f"lock-{n}"
        if not path.exists():
            return False
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    async def _records(self, one: Round, names: Collection[str] | None = None) -> dict[str, TaskRecord]:
        """What the broker knows of the round's tasks, by their names; of one that it has forgotten, how it ended."""
        pieces = [piece for piece in one.pieces if names is None or piece.n in names]
        keyed = {piece.message.key: piece.n for piece in pieces if piece.message.key is not None}
        plain = {piece.message.id: piece.n for piece in pieces if piece.message.key is None}
        by_key = await self.patiently(lambda: self.broker.find([key for key in keyed if key]))
        by_id = await self.patiently(lambda: self.broker.describe(list(plain)))
        found = {keyed[key]: record for key, record in by_key.items()}
        found |= {plain[record.id]: record for record in by_id if record is not None}
        if names is None and self.seen.forgot:
            found = self._ends | found
        return found

    def _stuck(self, one: Round, records: dict[str, TaskRecord]) -> list[str]:
        told = [f"STUCK after {PATIENCE:g} s"]
        for piece in one.pieces:
            record = records.get(piece.n)
            if record is None or not record.state.final:
                told.append(f"  {piece.n} {piece.message.task} {record and record.state}")
            if self._body_runs(piece.n):
                told.append(f"  a body of {piece.n} {piece.message.task} runs")
        return told

    def _look_for_the_dead_and_the_deaf(self) -> None:
        """No worker ends by itself, and none is left without tasks for long."""
        busy = {told.worker for calls in self.story.calls.values() for told in calls if told.call == "claim"}
        for actor in self.actors.values():
            if actor.name in busy or actor.hits:
                actor.idle, actor.since = 0, time.monotonic()
            actor.idle += 1
            if actor.idle > DEAF and time.monotonic() - actor.since > DEAF_SECONDS:
                self.seen.wrong.append(f"DEAF: worker {actor.name} took nothing in {DEAF} rounds:\n{actor.words()}")
            if not actor.alive and not actor.doomed:
                code = actor.process.returncode
                self.seen.wrong.append(f"DIED: worker {actor.name} with exit code {code}:\n{actor.words()}")

    async def _clear(self, records: dict[str, TaskRecord]) -> list[str]:
        """Have the broker forget the round. Returns what it knew beyond it."""
        everything = await self.everything()
        ids = {record.id for record in records.values()}
        extra = [f"DOUBLED: nobody asked for {one.message} ({one.state})" for one in everything if one.id not in ids]
        await self.patiently(lambda: self.broker.purge(states=list(FINAL)))
        for path in self.room.glob("lock-*"):
            path.unlink()
        return extra + [f"NOT PURGED: {one}" for one in await self.everything()]

    # What strikes ask for.

    def enter(self, place: int) -> Actor:
        """Have a worker at that place; a new one is on its way when this returns."""
        actor = self.actors.get(place)
        if actor is not None and actor.alive and not actor.doomed:
            return actor
        if actor is not None:
            self._left.append(actor)
        self._numbers += 1
        clock = str(self._clock) if self.arena.shared_clock else ""
        backend = "trio" if self._numbers % 3 == 0 else "asyncio"
        port = self.proxy.port if self.proxy is not None and place == 0 else None
        told = Start(self.arena.url(port), self.lease, clock, backend=backend, mutation=self._mutation)
        actor = self.actors[place] = cast.start(f"w{place}-{self._numbers}", place, self.room, told)
        return actor

    @property
    def lease(self) -> float:
        return self._round.lease

    @property
    def pieces(self) -> list[Piece]:
        return self._round.pieces

    def pick(self, place: int) -> Actor:
        return self.actors[sorted(self.actors)[place % len(self.actors)]]

    async def lets_go(self, actor: Actor) -> None:
        """Return when the broker does not believe any more that this worker holds anything."""
        with anyio.move_on_after(4 * self.lease):
            while any(record.worker == actor.name for record in await self.everything(TaskState.RUNNING)):  # noqa: ASYNC110
                await anyio.sleep(0.1)  # nobody tells

    async def everything(self, *states: TaskState) -> list[TaskRecord]:
        return await self.patiently(lambda: self.broker.tasks(states=states, queue=QUEUE, limit=1000))

    def jump(self, actor: Actor, seconds: float) -> None:
        """Set the clock of its host wrong."""
        set_offset(actor.clock, offset(actor.clock) + seconds)

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask the broker until it answers."""
        while True:
            try:
                return await call()
            except BrokerUnavailable:
                await anyio.sleep(0.1)

    # Opening and closing.

    async def close(self) -> None:
        """End all workers. Returns when they are gone."""
        everyone = [*self.actors.values(), *self._left]
        for actor in everyone:
            actor.go_on()
            actor.kill()
        for actor in everyone:
            await to_thread.run_sync(actor.process.wait)
        self._reader.close()


@asynccontextmanager
async def opened(arena: Arena, room: Path, *, mutation: Mutation | None = None) -> AsyncIterator[Theatre]:
    """A theatre on a broker that is up, with no worker yet."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(arena.port)) if arena.port else None
        theatre = Theatre(arena, room, proxy, mutation)
        async with open_broker(arena.url(), clock=theatre.clock if arena.shared_clock else None) as theatre.broker:
            try:
                yield theatre
            finally:
                with anyio.CancelScope(shield=True):
                    await theatre.close()


def _again(piece: Piece) -> Message:
    """The second publish: the very same message, or another with its key."""
    return piece.message if piece.again == "message" else msgspec.structs.replace(piece.message, id=new_id())
