"""``python -m fuzz``: every parser for FUZZ_SECONDS (60), one after the other; FUZZ_PARSERS (all) and FUZZ_SEED choose.

What was interesting is kept in build/fuzz, so that the next call goes on from there. The exit code is 1 where something was
found: each find is told with its input and its traceback. It belongs into ``tests/parsers/hostile.py``, as small as it goes.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

from fuzz import BEFORE, ENDINGS

FOLDER = Path(__file__).parents[2] / "build" / "fuzz"
LEAST = 5  # seconds for which beginning once more is worth it
_COUNT = re.compile(r"stat::number_of_executed_units:\s*(\d+)|^#(\d+)\s+(?:DONE|pulse|NEW|REDUCE)", re.M)


def fuzz(name: str, folder: Path, seconds: int, seed: int) -> int:
    """Fuzz one parser for so long, whatever its process dies of. Returns how many inputs it was given."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    count = 0
    while (left := int(end - time.monotonic())) > LEAST or not count:
        before = set(_inputs(folder))
        child = subprocess.run(
            [sys.executable, "-m", "fuzz.target", name, str(folder), str(max(left, 1)), str(seed)],
            cwd=Path(__file__).parents[1], capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        counts = [int(one or other) for one, other in _COUNT.findall(child.stderr)]
        count += max(counts, default=0) + 1
        if child.returncode:
            _write_down(name, folder, sorted(set(_inputs(folder)) - before), child)
        seed += 1
    return count


def _inputs(folder: Path) -> list[str]:
    return [str(path) for path in (folder / "finds").glob("*")]


def _write_down(name: str, folder: Path, inputs: list[str], child: subprocess.CompletedProcess[str]) -> None:
    """A process that died: of a signal, a time limit, or an error outside of any input."""
    told = {
        "parser": name, "signature": f"the process ended with {child.returncode}", "input": " ".join(inputs),
        "traceback": child.stderr[-3000:],
    }  # fmt: skip
    with (folder / "finds.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def main() -> None:
    seconds = int(os.environ.get("FUZZ_SECONDS") or 60)  # noqa: TID251  a tool's own, as those of `make fault`
    names = (os.environ.get("FUZZ_PARSERS") or "").split() or [*BEFORE, *ENDINGS]  # noqa: TID251
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(1, 10**6))  # noqa: TID251
    found = 0
    for name in names:
        folder = FOLDER / name
        told = folder / "finds.jsonl"
        told.unlink(missing_ok=True)
        count = fuzz(name, folder, seconds, seed)
        finds = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()] if told.exists() else []
        print(f"{name:9} {count:8} inputs, {len(finds)} finds (FUZZ_SEED={seed})", flush=True)  # noqa: T201
        for find in finds:
            print(f"  {find['signature']}\n  {find['input']}\n{find['traceback']}", flush=True)  # noqa: T201
        found += len(finds)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
