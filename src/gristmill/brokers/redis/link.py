"""The connection for commands: supervised, rebuilt when it is lost, and asked again where that does no harm."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import anyio
import hiredis

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import BrokerUnavailable, EngineError, GristmillError, SettingsError
from gristmill.base.ids import new_id
from gristmill.base.logs import get_logger
from gristmill.brokers.redis.connection import Connection, Lost, Refused, packed
from gristmill.brokers.redis.places import Places
from gristmill.brokers.redis.scripts import script
from gristmill.brokers.redis.url import Address, Target

log = get_logger(__name__)

PROBE = 15.0  # seconds of silence after which a connection is asked whether it is still there
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0  # seconds between attempts to connect

# What passes: said by the server itself, or inside a script (older ones put the place before it).
_PASSING = re.compile(
    r"(?:^|-|\s)(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|MOVED|ASK|OOM|NOREPLICAS|MISCONF|NOAUTH|UNKILLABLE)\b"
    r"|Script killed by user|non local key in a cluster node"
)
_ELSEWHERE = frozenset({"READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOREPLICAS", "NOAUTH"})
_MOVED = re.compile(r"MOVED \d+ (\S*):(\d+)")


class Link:
    """Commands and steps of one broker. ``run`` keeps it connected; calls wait for a connection, but not for ever."""

    def __init__(self, target: Target, *, clock: Clock | None = None, rng: Random | None = None) -> None:
        self.target = target
        self.name = f"gristmill-{new_id()[-12:]}"
        self._places = Places(target)
        self._clock = clock
        self._rng = rng or Random()  # noqa: S311  jitter, no secret
        self._connection: Connection | None = None
        self._change = anyio.Event()
        self._why = "not connected yet"
        self._refused = False
        self._last_id: int | None = None  # of the connection before, as the server numbers them
        self._monotonic = (clock or SystemClock()).monotonic
        self._ahead = 0.0  # of our monotonic clock, the server's clock
        live = f"{target.prefix}gristmill:live"
        # On a Cluster a second key that is never there: while the slot moves, the server refuses the step as a whole.
        keys = [live, f"{target.prefix}gristmill:nothing"] if target.kind == "cluster" else [live]
        self._head = (str(len(keys)).encode(), *(key.encode() for key in keys))
        self._ttls = (str(int(target.result_ttl) or 1).encode(), str(int(target.failure_ttl) or 1).encode())

    async def run(self) -> None:
        """Stay connected, for ever."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._places.open(name=self.name) as connection:
                    await self._begin(connection)
                    self._set(connection)
                    pause = FIRST_PAUSE
                    await self._probe(connection)
            except Lost as exc:
                self._why = str(exc)
                self._refused = isinstance(exc, Refused)
            finally:
                self._set(None)
            level = log.info if pause < LONGEST_PAUSE else log.warning
            level("the broker is out of reach", where=self.target.where, reason=self._why, again_after=pause)
            await anyio.sleep(pause * self._rng.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def connected(self) -> None:
        """Return once there is a connection. Raises BrokerUnavailable after the target's patience, SettingsError at once
        where the server refuses us as we come.
        """
        await self._ready(anyio.current_time() + self.target.patience)

    def now(self) -> float:
        """The server's clock, as we know it from its last answer about that."""
        return self._ahead + self._monotonic()

    async def command(self, *words: bytes | str) -> Any:
        """One command that may be repeated. Raises BrokerUnavailable, EngineError."""
        command = packed(*words)
        return await self._repeated(command, command)

    async def step(self, name: str, nonce: bytes, *words: bytes | str | int | float) -> Any:
        """A step that may be repeated: one call of it has one nonce, and so one effect."""
        return await self._repeated(*self._packed(name, nonce, words))

    async def step_once(self, name: str, nonce: bytes, *words: bytes | str | int | float) -> Any:
        """The same, but raises Lost when the connection was lost after it was sent: the caller finds out what happened."""
        return await self._once(*self._packed(name, nonce, words), anyio.current_time() + self.target.patience)

    def _packed(
        self, name: str, nonce: bytes, words: tuple[bytes | str | int | float, ...]
    ) -> tuple[bytes, tuple[Any, ...]]:
        known = script(name)
        time = b"" if self._clock is None else repr(self._clock.now()).encode()
        rest = (*self._head, time, nonce, *self._ttls, *words)
        return packed(b"EVALSHA", known.sha, *rest), (b"EVAL", known.text, *rest)

    async def _repeated(self, command: bytes, full: Any) -> Any:
        until = anyio.current_time() + self.target.patience
        while True:
            try:
                return await self._once(command, full, until)
            except Lost as exc:
                self._why = str(exc)
                if anyio.current_time() >= until:
                    raise self._unavailable() from exc

    async def _once(self, command: bytes, full: Any, until: float) -> Any:
        pause = FIRST_PAUSE
        while True:
            connection = await self._ready(until)
            answer = await connection.ask(command, timeout=self.target.timeout)
            if not isinstance(answer, hiredis.ReplyError):
                return answer
            text = str(answer)
            if text.startswith("NOSCRIPT") and full is not command:
                command = full = packed(*full)
                continue
            passing = _PASSING.search(text)
            if passing is None:
                raise self._refusal(text)
            self._why = text
            if passing.group(1) in _ELSEWHERE:
                self._look_elsewhere(connection, text)
            if anyio.current_time() + pause >= until:
                raise self._unavailable()
            await anyio.sleep(pause * self._rng.uniform(0.5, 1.5))
            pause = min(pause * 2, 0.5)

    def _refusal(self, text: str) -> GristmillError:
        """What an error that will not pass means."""
        where = self.target.where
        if re.search("NOPERM|ACL failure|permissions? to", text):
            user = f"user {self.target.username!r}" if self.target.username else "the default user"
            keys = self.target.prefix or "rag_flow_svr_queue*, gristmill:"
            return SettingsError(
                f"engine.broker: {user} may not do at {where} what a broker has to (commands of scripts, streams, pub/sub; "
                f"keys and channels {keys}*): {text}"
            )
        if re.search("unknown (redis )?command", text, re.IGNORECASE):
            return SettingsError(f"engine.broker: {where} is too old; Valkey, or Redis from 6.2 on, would do: {text}")
        return EngineError(f"the broker at {where} refuses this: {text}")

    def _look_elsewhere(self, connection: Connection, text: str) -> None:
        moved = _MOVED.search(text)
        if moved is not None:
            self._places.moved(Address(moved.group(1) or connection.address.host, int(moved.group(2))))
        connection.close(text)

    async def _ready(self, until: float) -> Connection:
        connection = self._connection
        if connection is not None and not connection.closed:
            return connection
        with anyio.CancelScope(deadline=until):
            while True:
                if self._refused and self._last_id is None:  # and never was let in
                    raise SettingsError(f"engine.broker: {self._why}")
                await self._change.wait()
                if self._connection is not None and not self._connection.closed:
                    return self._connection
        raise self._unavailable()

    def _unavailable(self) -> BrokerUnavailable:
        return BrokerUnavailable(f"the broker at {self.target.where} does not answer: {self._why}")

    async def _begin(self, connection: Connection) -> None:
        """Nothing that the last connection has left in the network may be carried out after what this one sends."""
        timeout = self.target.timeout
        number = await connection.ask(packed("CLIENT", "ID"), timeout=timeout)
        if self._last_id is not None:
            last = str(self._last_id)
            found = await connection.ask(packed("CLIENT", "LIST", "ID", last), timeout=timeout)
            # After a restart the server counts anew, and the number is somebody else's.
            if isinstance(found, bytes) and f" name={self.name} ".encode() in found:
                await connection.ask(packed("CLIENT", "KILL", "ID", last), timeout=timeout)
        self._last_id = number if isinstance(number, int) else None
        await self._ask_time(connection)

    async def _probe(self, connection: Connection) -> None:
        """Raises Lost when the connection is. One that is half open is found by asking now and then."""
        while True:
            with anyio.move_on_after(PROBE):
                await connection.over.wait()
                raise Lost(connection.reason)
            if anyio.current_time() - connection.heard >= PROBE / 2:
                await self._ask_time(connection)

    async def _ask_time(self, connection: Connection) -> None:
        answer = await connection.ask(packed("TIME"), timeout=self.target.timeout)
        if isinstance(answer, list):
            self._ahead = int(answer[0]) + int(answer[1]) / 1_000_000 - self._monotonic()
        elif isinstance(answer, hiredis.ReplyError) and _PASSING.search(str(answer)):
            raise Lost(f"{connection.address}: {answer}")

    def _set(self, connection: Connection | None) -> None:
        self._connection = connection
        self._change.set()
        self._change = anyio.Event()
