"""``gristmill tasks``: what the broker knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import click
import msgspec

from gristmill.base.errors import UnknownTask
from gristmill.brokers import open_broker
from gristmill.cli.main import Face
from gristmill.cli.output import json_option, print_json, print_table, printable, when
from gristmill.engine.broker import Broker
from gristmill.engine.message import TaskRecord
from gristmill.engine.state import TaskState

T = TypeVar("T")
_LOOKED_THROUGH = 10_000
_ENDED = [str(state) for state in TaskState if state.final]

limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)


@click.group("tasks")
def command() -> None:
    """Look at tasks; cancel, repeat or forget them. Ids may be shortened."""


@command.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(state) for state in TaskState]),
    help="Only tasks in this state; may be repeated.",
)
@click.option("--queue", help="Only this queue.")
@limit_option
@json_option
@click.pass_obj
def list_(face: Face, states: tuple[str, ...], queue: str | None, limit: int, as_json: bool) -> None:
    """Tasks, newest first."""
    wanted = [TaskState(state) for state in states]
    _print(_do(face, lambda broker: broker.tasks(states=wanted, queue=queue, limit=limit)), as_json=as_json)


@command.command("dead")
@limit_option
@json_option
@click.pass_obj
def dead(face: Face, limit: int, as_json: bool) -> None:
    """Dead letters: tasks that used up their attempts, with the reason."""
    _print(_do(face, lambda broker: broker.tasks(states=[TaskState.DEAD], limit=limit)), as_json=as_json)


@command.command("show")
@click.argument("task_id")
@json_option
@click.pass_obj
def show(face: Face, task_id: str, as_json: bool) -> None:
    """All that is known of a task."""
    record = _do(face, lambda broker: _find(broker, task_id))
    shown = _shape(record)
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        click.echo(f"{name:12} {printable(str(value))}")


@command.command("cancel")
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@click.pass_obj
def cancel(face: Face, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Ask tasks to end; they are over within a second."""

    async def step(broker: Broker) -> list[str]:
        ids = [(await _find(broker, task_id)).id for task_id in task_ids]
        await broker.cancel(ids, reason="asked for on the command line")
        return ids

    _told(_do(face, step), "cancelled", as_json=as_json)


@command.command("retry")
@click.argument("task_ids", nargs=-1, required=True)
@json_option
@click.pass_obj
def retry(face: Face, task_ids: tuple[str, ...], as_json: bool) -> None:
    """Queue ended tasks anew. For documents, `documents retry` is what you want."""

    async def step(broker: Broker) -> list[str]:
        return await broker.replay([(await _find(broker, task_id)).id for task_id in task_ids])

    _told(_do(face, step), "queued again as", as_json=as_json)


@command.command("purge")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_ENDED),
    help="Only tasks that ended so; may be repeated (default: all).",
)
@click.option(
    "--older-than", default=0.0, type=click.FloatRange(min=0), help="Only what ended more than so many seconds ago."
)
@json_option
@click.pass_obj
def purge(face: Face, states: tuple[str, ...], older_than: float, as_json: bool) -> None:
    """Forget ended tasks. Documents are not touched."""
    ended = [TaskState(state) for state in states or _ENDED]
    count = _do(face, lambda broker: broker.purge(states=ended, older_than=older_than))
    if as_json:
        print_json({"forgotten": count})
    else:
        click.echo(f"{count} tasks forgotten")


def _do(face: Face, step: Callable[[Broker], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_broker(face.settings.broker_url) as broker:
            return await step(broker)

    return anyio.run(run)


async def _find(broker: Broker, task_id: str) -> TaskRecord:
    [exact] = await broker.describe([task_id])
    if exact is not None:
        return exact
    found = [one for one in await broker.tasks(limit=_LOOKED_THROUGH) if one.id.startswith(task_id)]
    if len(found) != 1:
        raise UnknownTask(f"{'no task has' if not found else 'several tasks have'} an id that begins with {task_id!r}")
    return found[0]


def _shape(record: TaskRecord) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(record)
    message = shown.pop("message")
    result = shown.pop("result", None)
    shown["result"] = msgspec.json.decode(record.result) if result and record.result else None
    kept = ("id", "task", "args", "key", "queue", "priority", "lane", "max_attempts")
    return {name: message[name] for name in kept if name in message} | shown


def _print(records: list[TaskRecord], *, as_json: bool) -> None:
    if as_json:
        print_json([_shape(record) for record in records])
        return
    print_table(
        ["id", "task", "state", "attempt", "published", "why"],
        [
            (
                one.id,
                one.message.task,
                one.state,
                one.attempt,
                when(one.published),
                one.error.message if one.error else "",
            )
            for one in records
        ],
    )


def _told(ids: list[str], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(ids)
    for task_id in [] if as_json else ids:
        click.echo(f"{what} {task_id}")
