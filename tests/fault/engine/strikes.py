"""The faults, as they are done. Each returns whether it found something to strike."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from fault.engine.plan import Fault, Strike
from gristmill.testing.proxy import Proxy

if TYPE_CHECKING:
    from fault.engine.theatre import Theatre

OUTAGE = 1.5  # leases that something is away


async def kill_keeper(theatre: Theatre, strike: Strike) -> bool:
    actor = theatre.pick(strike.place)
    theatre.seen.gone.add(actor.name)
    actor.kill()
    await to_thread.run_sync(actor.process.wait)
    theatre.enter(actor.place)
    return True


async def kill_nursery(theatre: Theatre, strike: Strike) -> bool:
    """And with it all runners."""
    return _kill(theatre.pick(strike.place).nursery())


async def kill_runner(theatre: Theatre, strike: Strike) -> bool:
    """One that is in the middle of a task."""
    return _kill(_busy_runner(theatre, strike))


async def stop_runner(theatre: Theatre, strike: Strike) -> bool:
    """Its keeper renews the lease: nobody else gets the task."""
    pid = _busy_runner(theatre, strike)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        await anyio.sleep(OUTAGE * theatre.lease)
        os.kill(pid, signal.SIGCONT)
    return True


async def stop_keeper(theatre: Theatre, strike: Strike) -> bool:
    return await _stop(theatre, strike, whole=False)


async def stop_host(theatre: Theatre, strike: Strike) -> bool:
    return await _stop(theatre, strike, whole=True)


async def _stop(theatre: Theatre, strike: Strike, *, whole: bool) -> bool:
    """A zombie: it wakes up when what it held is others', and writes."""
    actor = theatre.pick(strike.place)
    actor.hits.append(strike.fault)
    if actor.stopped or not actor.alive:
        return False
    actor.stop(whole=whole)
    try:
        await anyio.sleep(theatre.lease)
        await theatre.lets_go(actor)
    finally:
        actor.go_on()
    return True


async def drain(theatre: Theatre, strike: Strike) -> bool:
    actor = theatre.pick(strike.place)
    actor.hits.append(strike.fault)
    if actor.stopped or actor.doomed or actor.name not in theatre.story.up:
        return False
    theatre.seen.gone.add(actor.name)
    actor.drain()
    theatre.enter(actor.place)
    code = await to_thread.run_sync(actor.process.wait)
    if code != 0:
        theatre.seen.wrong.append(f"DRAIN: worker {actor.name} ended with exit code {code}:\n{actor.words()}")
    return True


async def cancel_storm(theatre: Theatre, strike: Strike) -> bool:
    """A third of all tasks at once, whatever they are doing."""
    rng = Random(strike.seed)
    await theatre.cancel([piece.n for piece in theatre.pieces if piece.may_be_cancelled and rng.random() < 0.3])
    return True


async def clock_jump(theatre: Theatre, strike: Strike) -> bool:
    """The wall clock of a worker's host is set. Where the broker has a clock of its own, nobody notices."""
    rng, actor = Random(strike.seed), theatre.pick(strike.place)
    if theatre.arena.shared_clock:
        theatre.seen.jumped = True
        theatre.jump(actor, rng.choice([0.5, 2.0, 5.0]) * theatre.lease)
    else:
        theatre.jump(actor, rng.choice([-3600.0, -theatre.lease, 2 * theatre.lease, 3600.0]))
    return True


async def broker_paused(theatre: Theatre, strike: Strike) -> bool:
    theatre.seen.whole.append(strike.fault)
    async with theatre.alone:
        await to_thread.run_sync(theatre.arena.pause)
        try:
            await anyio.sleep(OUTAGE * theatre.lease)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(theatre.arena.resume)
    return True


async def broker_restarted(theatre: Theatre, strike: Strike) -> bool:
    theatre.seen.whole.append(strike.fault)
    async with theatre.alone:
        await to_thread.run_sync(theatre.arena.restart)
    return True


async def broker_forgets(theatre: Theatre, strike: Strike) -> bool:
    theatre.seen.whole.append(strike.fault)
    async with theatre.alone:
        began = time.monotonic()
        theatre.life += 1
        await to_thread.run_sync(theatre.arena.forget)
        theatre.seen.ended.clear()  # what is published again has another end
        theatre.seen.forgot.append((began, time.monotonic()))
        theatre.life += 1
    return True


async def network_cut(theatre: Theatre, strike: Strike) -> bool:
    """All connections of one worker break; the next one breaks in the middle of an answer or a question."""
    proxy, rng = _behind(theatre, strike), Random(strike.seed)
    if proxy is None:
        return False
    await to_thread.run_sync(partial(proxy.cut, after=rng.randint(0, 400), direction=rng.choice(["up", "down"])))
    await to_thread.run_sync(proxy.reset if rng.random() < 0.7 else proxy.close)
    return True


async def network_slow(theatre: Theatre, strike: Strike) -> bool:
    seconds = Random(strike.seed).choice([0.05, 0.2])
    return await _trouble(theatre, strike, lambda proxy: proxy.delay(seconds))


async def network_silent(theatre: Theatre, strike: Strike) -> bool:
    """Nothing passes, for longer than a lease; then what was on its way arrives."""
    return await _trouble(theatre, strike, lambda proxy: proxy.blackhole())


async def network_lost(theatre: Theatre, strike: Strike) -> bool:
    """Nothing ever comes on its connections again; it has to notice by itself."""
    proxy = _behind(theatre, strike)
    if proxy is None:
        return False
    await to_thread.run_sync(proxy.half_open)
    return True


async def late_delivery(theatre: Theatre, strike: Strike) -> bool:
    """Questions arrive, answers do not, for longer than a lease: what was claimed is others' by then."""
    return await _trouble(theatre, strike, lambda proxy: proxy.blackhole("down"))


async def _trouble(theatre: Theatre, strike: Strike, begin: Callable[[Proxy], None]) -> bool:
    proxy = _behind(theatre, strike)
    if proxy is None:
        return False
    async with theatre.online:
        await to_thread.run_sync(begin, proxy)
        try:
            await anyio.sleep(OUTAGE * theatre.lease)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(proxy.heal)
    return True


async def delivered_twice(theatre: Theatre, strike: Strike) -> bool:
    """What waits in the broker's streams, and what is being worked on, is in them once more."""
    async with theatre.alone:
        return await to_thread.run_sync(theatre.arena.duplicate) > 0


def _behind(theatre: Theatre, strike: Strike) -> Proxy | None:
    """The proxy between the first worker and the broker."""
    if theatre.proxy is not None:
        theatre.actors[0].hits.append(strike.fault)
    return theatre.proxy


def _busy_runner(theatre: Theatre, strike: Strike) -> int | None:
    family = set(theatre.pick(strike.place).family())
    busy = [one.pid for one in theatre.story.running() if one.pid in family]
    return busy[strike.seed % len(busy)] if busy else None


def _kill(pid: int | None) -> bool:
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True


STRIKES: dict[Fault, Callable[[Theatre, Strike], Awaitable[bool]]] = {
    "kill keeper": kill_keeper,
    "kill nursery": kill_nursery,
    "kill runner": kill_runner,
    "stop keeper": stop_keeper,
    "stop host": stop_host,
    "stop runner": stop_runner,
    "drain": drain,
    "cancel storm": cancel_storm,
    "clock jump": clock_jump,
    "broker paused": broker_paused,
    "broker restarted": broker_restarted,
    "broker forgets": broker_forgets,
    "network cut": network_cut,
    "network slow": network_slow,
    "network silent": network_silent,
    "network lost": network_lost,
    "late delivery": late_delivery,
    "delivered twice": delivered_twice,
}
