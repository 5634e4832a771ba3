"""How far an ingest is, in numbers and on lines where there is no terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gristmill.cli.plan import Plan
from gristmill.cli.report import Outcome
from gristmill.cli.show import Lines
from gristmill.cli.tally import Tally
from gristmill.cli.walk import Found
from gristmill.ports.catalog import Run, RunState
from gristmill.testing.clock import FakeClock


def a_run(document_id: str, *, progress: float = 0.0, chunks: int = 0) -> Run:
    return Run(
        id=f"run of {document_id}", tenant="t", dataset_id="d", document_id=document_id, ver=1, gen=1, digest="", format="text",
        settings={}, state=RunState.RUNNING, planned=True, parts=1, parts_done=0, progress=progress, chunks=chunks, created=0,
    )  # fmt: skip


def an_outcome(document_id: str, *, chunks: int) -> Outcome:
    return Outcome(
        document_id=document_id, path=document_id, dataset="d", status="done", chunks=chunks, tokens=0, pages=0, seconds=1.0,
        error=None,
    )  # fmt: skip


@pytest.fixture
def plan() -> Plan:
    return Plan([Found(Path(name), name, size, 0) for name, size in (("small", 100), ("large", 300))])


def test_the_share_goes_by_size_the_rate_by_chunks_and_the_time_left_by_both(plan: Plan) -> None:
    clock = FakeClock()
    tally = Tally(plan, now=clock.monotonic)
    for name in ("small", "large"):
        tally.started(name, a_run(name))
    assert (tally.share(), tally.said()) == (0, "0/2  0.0 chunks/s")
    clock.move(10)
    assert tally.ended(an_outcome("small", chunks=5))
    tally.moved(a_run("large", progress=1 / 3, chunks=15))
    assert tally.share() == pytest.approx(0.5)
    assert tally.said() == "1/2  2.0 chunks/s  10.0 s left"
    clock.move(10)
    assert tally.ended(an_outcome("large", chunks=40))
    assert (tally.share(), tally.said()) == (1, "2/2  2.2 chunks/s")


def test_who_was_never_taken_in_does_not_count(plan: Plan) -> None:
    tally = Tally(plan)
    assert not tally.ended(an_outcome("small", chunks=5))
    assert tally.share() == 0


def test_a_line_now_and_then_says_how_far_all_are(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    lines = Lines(plan, now=clock.monotonic)
    run = a_run("large", progress=2 / 3, chunks=20)
    lines.started("large", run)
    for _ in range(4):
        lines.moved(msgspec.structs.replace(run))
        clock.move(2)
    assert capsys.readouterr().out == "[###############...............]  50%  0/2  3.3 chunks/s  6.0 s left\n"
