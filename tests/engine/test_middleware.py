"""Policies around the running of a task: the order of the chain, and what each of ours does."""

from __future__ import annotations

from random import Random

import pytest

from gristmill.base import meters
from gristmill.base.errors import EncryptedDocument, ModelUnavailable, RunnerCrashed
from gristmill.engine.broker import Broker
from gristmill.engine.message import Lease, new_message
from gristmill.engine.middleware.chain import Handler, Job, Middleware, chain
from gristmill.engine.middleware.log import logging
from gristmill.engine.middleware.meter import metering
from gristmill.engine.middleware.retry import retrying
from gristmill.engine.outcome import Outcome, ended, failure, stopped, success
from gristmill.engine.task import Policy
from gristmill.testing import bodies
from gristmill.testing.clock import FakeClock
from gristmill.testing.workers import run, working

pytestmark = pytest.mark.anyio


def job(attempt: int = 1) -> Job:
    return Job(Lease(new_message("t"), token=1, worker="w", attempt=attempt), Policy("t"))


def returning(outcome: Outcome) -> Handler:
    async def handle(job: Job) -> Outcome:
        return outcome

    return handle


def noting(order: list[str], name: str) -> Middleware:
    def middleware(handler: Handler) -> Handler:
        async def handle(job: Job) -> Outcome:
            order.append(f"{name} in")
            outcome = await handler(job)
            order.append(f"{name} out")
            return outcome

        return handle

    return middleware


async def test_the_first_of_a_chain_is_the_outermost() -> None:
    order: list[str] = []
    handler = chain(returning(success(1)), [noting(order, "a"), noting(order, "b")])
    assert await handler(job()) == success(1)
    assert order == ["a in", "b in", "b out", "a out"]


async def test_a_worker_runs_every_attempt_through_the_chain_it_was_given(memory_broker: Broker) -> None:
    order: list[str] = []
    async with working(memory_broker, middleware=[noting(order, "mine")]):
        await run(memory_broker, bodies.add.message(1, 1))
    assert order == ["mine in", "mine out"]


@pytest.mark.parametrize(
    ("outcome", "least", "most"),
    [
        (failure(ValueError("who knows")), 0.0, 1.0),
        (failure(ModelUnavailable("slow down", retry_after=50.0)), 50.0, 55.0),
        (ended(RunnerCrashed("died"), attempt=1), 0.0, 0.0),
    ],
    ids=["unknown error", "retry after", "crash"],
)
async def test_what_may_pass_is_tried_again(outcome: Outcome, least: float, most: float) -> None:
    after = (await chain(returning(outcome), [retrying(Random(7))])(job())).again_after
    assert after is not None
    assert least <= after <= most


@pytest.mark.parametrize(
    "outcome",
    [success(1), stopped("cancel"), failure(MemoryError()), failure(EncryptedDocument())],
    ids=["success", "stopped", "limit", "final error"],
)
async def test_what_will_not_pass_is_left_as_it_is(outcome: Outcome) -> None:
    assert await chain(returning(outcome), [retrying(Random(7))])(job()) == outcome


async def test_tasks_and_their_seconds_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "_made", {})
    await chain(returning(success(1)), [metering(FakeClock())])(job())
    shown = meters.render().decode()
    assert 'gristmill_tasks_total{outcome="ok",task="t"} 1.0' in shown
    assert 'gristmill_task_seconds_count{task="t"} 1.0' in shown


async def test_a_failure_is_logged_with_its_class_and_stage(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = failure(ModelUnavailable("throttled"), stage="embed")
    await chain(returning(outcome), [logging(FakeClock())])(job(attempt=2))
    line = capsys.readouterr().err
    for word in ("task failed", "ModelUnavailable", "throttled", "embed", '"attempt": 2'):
        assert word in line
