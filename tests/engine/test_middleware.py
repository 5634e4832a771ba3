"""Policies around the running of a task: the order of the chain, and what each of ours does."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gristmill.base import meters
from gristmill.base.errors import EncryptedDocument, ModelUnavailable, RunnerCrashed
from gristmill.engine.broker import Broker
from gristmill.engine.message import Lease, new_message
from gristmill.engine.middleware.chain import Handler, Job, Middleware, chain
from gristmill.engine.middleware.log import logging
from gristmill.engine.middleware.meter import metering
from gristmill.engine.middleware.rate import pacing
from gristmill.engine.middleware.retry import retrying
from gristmill.engine.outcome import Outcome, ended, failure, stopped, success
from gristmill.engine.state import TaskState
from gristmill.engine.task import App, Policy, Task
from gristmill.testing import bodies
from gristmill.testing.clock import FakeClock
from gristmill.testing.flaky import FlakyBroker
from gristmill.testing.workers import ends, run, working

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


async def test_tasks_with_a_rate_take_turns_over_all_workers(memory_broker: Broker) -> None:
    """What would wait for long goes back uncounted, each behind the other."""
    clock = FakeClock()
    paced = Job(job().lease, Policy("t", rate=0.5, burst=2.0))
    one, two = (chain(returning(success(1)), [pacing(memory_broker, clock)]) for _ in range(2))
    assert [await handler(paced) for handler in (one, two)] == [success(1)] * 2
    backs = [await handler(paced) for handler in (one, one, two)]
    assert [back.reason for back in backs] == ["throttled"] * 3
    assert [round(back.again_after or 0, 1) for back in backs] == [2.0, 4.0, 2.0]


async def test_without_a_broker_a_task_with_a_rate_comes_again_uncounted(memory_broker: Broker) -> None:
    flaky = FlakyBroker(memory_broker)
    flaky.fail("book")
    outcome = await chain(returning(success(1)), [pacing(flaky.broker, FakeClock())])(
        Job(job().lease, Policy("t", rate=1.0))
    )
    assert (outcome.reason, outcome.again_after) == ("throttled", 1.0)


async def test_a_worker_keeps_a_tasks_rate(memory_broker: Broker) -> None:
    """The second one is not due again before its turn, and has not used up an attempt."""
    app = App("paced")

    @app.task(rate=0.001)
    async def paced() -> None: ...

    messages = [paced.message(), paced.message()]
    async with working(memory_broker, app, inline=True):
        await memory_broker.publish(messages[:1])
        await ends(memory_broker, messages[:1])
        async with memory_broker.notices() as notices:
            await memory_broker.publish(messages[1:])
            found = await memory_broker.describe([messages[1].id])
            while found[0] is None or found[0].not_before - found[0].published < 900:
                await anext(notices)
                found = await memory_broker.describe([messages[1].id])
    assert (found[0].state, found[0].attempt) == (TaskState.QUEUED, 0)


@pytest.mark.parametrize("body", [bodies.paced, bodies.paced_async], ids=["def", "async def"])
@pytest.mark.parametrize("inline", [False, True], ids=["runner", "inline"])
async def test_a_body_takes_its_share_of_a_rate_that_all_workers_share(
    memory_broker: Broker, body: Task[[], None], inline: bool
) -> None:
    options: dict[str, Any] = {"app": bodies.app, "inline": True} if inline else {}
    async with working(memory_broker, **options):
        assert (await run(memory_broker, body.message())).state is TaskState.SUCCEEDED
    assert await memory_broker.book("bodies", rate=0.01, most=0.0) > 1.0


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


async def test_tasks_and_their_seconds_are_counted() -> None:
    meters.reset()
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
