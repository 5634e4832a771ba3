"""What the fault rounds came to: one table at the end, and a file for the records."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRONG = ("LOST", "DOUBLED")  # all else is a wrong end state or a broken lease


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = list(_reports(terminalreporter))
    rounds = [value for name, value in reports if name == "fault round"]
    kills = [value for name, value in reports if name == "struck"]
    mutations = [value for name, value in reports if name == "fault mutation"]
    masters = {name: [value for other, value in reports if other == name] for name in ("master kills", "replacements")}
    if not (rounds or kills or any(masters.values())):
        return
    told = _told(rounds, kills, mutations) | {"master": masters}
    terminalreporter.section("fault rounds")
    for line in _table(told):
        terminalreporter.line(line)
    output = os.environ.get("FAULT_OUTPUT")  # noqa: TID251  set by `make fault`
    if output:
        Path(output).write_text(json.dumps({"fault": told}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _reports(terminalreporter: Any) -> Iterator[tuple[str, Any]]:
    for status in ("passed", "failed"):
        for report in terminalreporter.stats.get(status, []):
            yield from getattr(report, "user_properties", [])


def _told(rounds: list[Any], kills: list[Any], mutations: list[Any]) -> dict[str, Any]:
    wrong = Counter(words.split(" ")[0] for one in rounds for words in one["wrong"])
    brokers = {}
    for name in sorted({one["broker"] for one in rounds}):
        mine = [one for one in rounds if one["broker"] == name]
        brokers[name] = {
            "rounds": len(mine),
            "tasks": sum(one["tasks"] for one in mine),
            "faults": dict(sorted(Counter(fault for one in mine for fault in one["faults"]).items())),
            "failed": [one["number"] for one in mine if one["wrong"]],
            "seconds": round(sum(one["seconds"] for one in mine), 1),
        }
    return {
        "seeds": sorted({one["seed"] for one in rounds}),
        "rounds": len(rounds),
        "tasks": sum(one["tasks"] for one in rounds),
        "bodies begun": sum(one["bodies"] for one in rounds),
        "leases lost to a slow machine": sum(one["excused"] for one in rounds),
        "faults": dict(sorted(Counter(fault for one in rounds for fault in one["faults"]).items())),
        "lost": wrong["LOST"],
        "doubled": wrong["DOUBLED"] + wrong["TWO"],
        "wrong": sum(wrong.values()) - wrong["LOST"] - wrong["DOUBLED"] - wrong["TWO"],
        "brokers": brokers,
        "mutations found": {one["mutation"]: f"round {one['rounds']}: {one['found']}" for one in mutations},
        "pipeline": {"rounds": len(kills), "kills": sum(len(one) for one in kills)},
    }


def _table(told: dict[str, Any]) -> Iterator[str]:
    for name, one in told["brokers"].items():
        faults, failed = sum(one["faults"].values()), len(one["failed"])
        yield f"{name:12} {one['rounds']:5} rounds {one['tasks']:7} tasks {faults:6} faults {failed:4} failed"
    for name, found in told["master"].items():
        for one in found:
            yield f"{name}: {one}"
    if told["faults"]:
        yield "faults: " + ", ".join(f"{name} {count}" for name, count in told["faults"].items())
    for name, found in told["mutations found"].items():
        yield f"mutation {name!r} found in {found[:120]}"
    pipeline = told["pipeline"]
    yield f"pipeline: {pipeline['rounds']} rounds, {pipeline['kills']} kills"
    yield (
        f"seeds {told['seeds']}: {told['rounds']} rounds, {told['tasks']} tasks;"
        f" lost {told['lost']}, doubled {told['doubled']}, wrong {told['wrong']}"
    )
