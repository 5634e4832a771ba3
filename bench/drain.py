"""How long a drain takes: TERM to a master whose workers run 20 tasks.

    python bench/drain.py [--rounds 3] [--output bench/results/drain.json]

*long*: the tasks need 0.1 to 60 s more, the grace is 5 s. The master has to be gone within the grace and 1 s; another one,
which idles beside it, runs the rest at once (their leases are ten minutes) and to their end.
*short*: they need 0.1 to 2 s more. The master has to be gone within 0.5 s of the last one's end.
Figures are the worst of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from gristmill.brokers import open_broker
from gristmill.engine.context import TaskContext
from gristmill.engine.task import App
from gristmill.testing.bodies import write
from gristmill.testing.masters import Master
from gristmill.testing.processes import settles
from gristmill.testing.workers import ends

TASKS, WORKERS, GRACE, LEASE = 20, 2, 5.0, 600.0
KINDS = {"long": (0.1, 60.0), "short": (0.1, 2.0)}
BOUNDS = {"exit_after_term_s": GRACE + 1.0, "exit_after_last_end_s": 0.5}
APP = "drain:app"

app = App("drain")


@app.task(name="lasts", bind=True, soft_time_limit=None, time_limit=None)
async def lasts(ctx: TaskContext, ledger: str, gate: str, seconds: float) -> None:
    """Begins, waits for the gate, and then needs so many seconds."""
    write(ledger, f"start {ctx.id} {time.monotonic()}")
    while not os.path.exists(gate):  # noqa: ASYNC110, ASYNC240  nobody here would set an event
        await anyio.sleep(0.01)
    await anyio.sleep(seconds)
    write(ledger, f"end {ctx.id} {time.monotonic()}")


def lines(ledger: Path, what: str) -> list[tuple[str, float]]:
    """Which tasks wrote this, and when."""
    found = [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []
    return [(task, float(at)) for kind, task, at in found if kind == what]


def spread(shortest: float, longest: float) -> list[float]:
    """As many durations, each longer than the one before by the same factor."""
    return [shortest * (longest / shortest) ** (n / (TASKS - 1)) for n in range(TASKS)]


async def one(kind: str, folder: Path) -> dict[str, Any]:
    """One drain."""
    url, ledger, gate = f"sqlite:///{folder}/tasks.db", folder / "ledger", folder / "gate"
    options: dict[str, Any] = {"app": APP, "lease": LEASE, "slots": TASKS, "grace": GRACE, "workers": WORKERS}
    async with open_broker(url) as broker:
        with Master(url, **options) as master:
            await to_thread.run_sync(master.ready)
            messages = [lasts.message(str(ledger), str(gate), seconds) for seconds in spread(*KINDS[kind])]
            await broker.publish(messages)
            await settles(lambda: len(lines(ledger, "start")) == TASKS)
            with Master(url, **options) as other:
                await to_thread.run_sync(other.ready)
                gate.touch()
                told = time.monotonic()
                master.signal(signal.SIGTERM)
                code = await to_thread.run_sync(master.wait)
                gone = time.monotonic()
                mine = [at for _, at in lines(ledger, "end") if at <= gone]
                rest = TASKS - len(mine)
                await settles(lambda: len(lines(ledger, "start")) == TASKS + rest)
                records = await ends(broker, messages, timeout=300.0)
        again = [at for _, at in lines(ledger, "start")[TASKS:]]
        return {
            "exit_code": code,
            "ended_before": len(mine),
            "handed_back": rest,
            "exit_after_term_s": gone - told,
            "exit_after_last_end_s": gone - max(mine),
            "begun_again_after_term_s": max(again) - told if again else 0.0,
            "states": dict(Counter(f"{record.state}, attempt {record.attempt}" for record in records)),
            "ended_more_than_once": sum(n > 1 for n in Counter(task for task, _ in lines(ledger, "end")).values()),
            "never_ended": len({message.id for message in messages} - {task for task, _ in lines(ledger, "end")}),
        }


def worst(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The largest of each figure; states of all."""
    found: dict[str, Any] = {name: round(max(one[name] for one in rounds), 3) for name in rounds[0] if name != "states"}
    found["states"] = dict(sum((Counter(one["states"]) for one in rounds), Counter[str]()))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find this app
    report: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "load_before": round(os.getloadavg()[0], 1)},
        "tasks": TASKS, "workers": WORKERS, "grace_s": GRACE, "lease_s": LEASE, "rounds": arguments.rounds, "bounds": BOUNDS,
    }  # fmt: skip
    for kind in KINDS:
        rounds = []
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as folder:
                rounds.append(anyio.run(one, kind, Path(folder)))
        report[kind] = worst(rounds)
    print(json.dumps(report, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    kept = report["long"]["exit_after_term_s"] <= GRACE + 1.0 and report["short"]["exit_after_last_end_s"] <= 0.5
    return (
        0
        if kept and not any(report[kind]["ended_more_than_once"] + report[kind]["never_ended"] for kind in KINDS)
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
