"""Many workers, 50 tasks, and everything that can go wrong: nothing is lost, nothing doubled, every end is right (P1-P5)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from fault.engine.arenas import ARENAS, FAULTS
from fault.engine.mutations import Mutation
from fault.engine.plan import SEED, Fault, Round, make
from fault.engine.theatre import Theatre, opened
from gristmill.testing.servers import ServerMissing

_environ = os.environ  # noqa: TID251  what `make fault` is asked for
CHOSEN = int(_environ.get("FAULT_SEED", SEED))
ROUNDS = int(_environ.get("FAULT_ROUNDS", "200"))
USUAL = "sqlite sqlite valkey-9 valkey-9 valkey-8 redis-8 redis-7 postgres mariadb"  # twice: twice as many rounds
BROKERS = Counter(_environ.get("FAULT_BROKERS", USUAL).replace(",", " ").split())
NOTES = Path("build/fault")  # what failed rounds have to say
PATIENCE = 600.0  # seconds for a round, with all that is to be started for it; a safety


def rounds() -> list[Round]:
    """As many as are asked for, the brokers' shares one after the other."""
    whole = BROKERS.total()
    shares = {name: ROUNDS * weight // whole for name, weight in BROKERS.items()}
    shares[next(iter(BROKERS))] += ROUNDS - sum(shares.values())
    pairs = [(name, number) for name, share in shares.items() for number in range(share)]
    return [make(name, number, seed=CHOSEN, faults=FAULTS[name]) for name, number in pairs]


class Stage:
    """The theatre of one broker, kept from round to round until something goes wrong in it."""

    def __init__(self, portal: BlockingPortal, base: Path) -> None:
        self._portal, self._base = portal, base
        self._stack = ExitStack()
        self._name, self._mutation, self._numbers = "", None, 0  # type: tuple[str, Mutation | None, int]
        self.theatre: Theatre

    def play(self, one: Round, *, mutation: Mutation | None = None) -> list[str]:
        if (self._name, self._mutation) != (one.broker, mutation):
            self.close()
            self._open(one.broker, mutation)
        try:
            found = self._portal.call(self.theatre.play, one)
        except BaseException:
            self.close()
            raise
        if found:
            self.close()
        return found

    def _open(self, name: str, mutation: Mutation | None) -> None:
        self._numbers += 1
        try:
            arena = self._stack.enter_context(ARENAS[name]())
        except ServerMissing as exc:
            pytest.skip(str(exc))
        play: AbstractAsyncContextManager[Theatre] = opened(arena, self._base / str(self._numbers), mutation=mutation)
        self.theatre = self._stack.enter_context(self._portal.wrap_async_context_manager(play))
        self._name, self._mutation = name, mutation

    def close(self) -> None:
        self._name = ""
        self._stack.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with start_blocking_portal() as portal:
        made = Stage(portal, tmp_path_factory.mktemp("engine"))
        yield made
        made.close()


Record = Callable[[str, object], None]


def played(stage: Stage, one: Round, record: Record) -> None:
    """Play and check; a round that fails says how it is repeated."""
    began = time.monotonic()
    found = stage.play(one)
    seen = stage.theatre.seen
    told = {"broker": one.broker, "number": one.number, "seed": one.seed, "faults": seen.struck, "wrong": found}
    told |= {"excused": seen.excused, "bodies": len(stage.theatre.story.begun)}
    record("fault round", told | {"tasks": len(one.pieces), "seconds": round(time.monotonic() - began, 2)})
    if found:
        where = f"tests/fault/engine/test_rounds.py::test_every_round[{one}]"
        again = f"FAULT_SEED={one.seed} FAULT_BROKERS={one.broker} FAULT_ROUNDS={one.number + 1}"
        words = "\n".join([one.told, *found, f"again: {again} .venv/bin/python -m pytest -n 0 '{where}'"])
        NOTES.mkdir(parents=True, exist_ok=True)
        (NOTES / f"{one.seed}-{one}.txt").write_text(words, encoding="utf-8")  # at once: a long run tells at its end
        pytest.fail(words, pytrace=False)


FEW: list[tuple[str, int, list[Fault]]] = [
    ("sqlite", 1, ["kill keeper"]),
    ("sqlite", 2, ["stop host"]),
    ("valkey-9", 1, ["network silent", "kill runner"]),
    ("postgres", 1, ["broker restarted", "drain"]),
]


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize(("name", "number", "faults"), FEW, ids=[f"{name}-{faults[0]}" for name, _, faults in FEW])
def test_some_rounds(stage: Stage, name: str, number: int, faults: list[Fault], record_property: Record) -> None:
    played(stage, make(name, number, faults=faults), record_property)


@pytest.mark.fault
@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("one", rounds(), ids=str)
def test_every_round(stage: Stage, one: Round, record_property: Record) -> None:
    played(stage, one, record_property)


MUTATIONS: dict[Mutation, tuple[list[Fault], str]] = {
    "no fence": (["stop keeper", "stop host"], "ZOMBIE HEARD|STALE RESULT"),
    "ack before finish": (["kill keeper"], "WRONG RESULT|WRONG END|LOST"),
    "reclaim without token": (["stop keeper", "stop host"], "SAME TOKEN|ZOMBIE HEARD|STALE RESULT"),
    "reclaim uncounted": (["kill runner"], "TOO OFTEN|STUCK|WRONG END"),
    "cancel unheard": (["cancel storm"], "WRONG END|WRONG RESULT"),
}
WITHIN = 10  # rounds


@pytest.mark.fault
@pytest.mark.timeout(PATIENCE * 4)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_promise_is_found(stage: Stage, mutation: Mutation, record_property: Record) -> None:
    """The rounds are no better than what they would find."""
    faults, words = MUTATIONS[mutation]
    for number in range(WITHIN):
        found = stage.play(make("sqlite", 1000 + number, faults=faults), mutation=mutation)
        if any(kind in "\n".join(found) for kind in words.split("|")):
            record_property(
                "fault mutation", {"mutation": mutation, "rounds": number + 1, "found": found[0].split("\n")[0]}
            )
            return
    pytest.fail(f"{WITHIN} rounds did not notice: {mutation}")
