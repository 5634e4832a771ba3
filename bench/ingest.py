"""Ingest throughput: 1,000 generated documents through Gristmill, beside a plain loop over the same functions.

    python bench/ingest.py [--documents 1000] [--rounds 3] [--output bench/results/ingest.json]

The loop is one process that reads, parses, chunks, embeds (`lexical`) and writes each document to the same doc store:
no queue, no leases, no generations, no progress, nothing durable in between. What Gristmill adds is what it costs.
CPU counts all processes of the run; both sides alternate inside a round.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gristmill.base.clock import SystemClock
from gristmill.base.tokens import count_tokens
from gristmill.chunkers import CHUNKERS
from gristmill.docstores import DOCSTORES
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.pipeline.index import records
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.docstore import Space
from gristmill.ports.parser import ParseLimits, Source
from gristmill.providers import EMBEDDERS

WORDS = "lease token worker queue chunk page index vector search document retry cancel drain runner keeper part table".split()


def make_documents(folder: Path, count: int) -> None:
    """Markdown files of about 8 kB with headings, so that each becomes some eight chunks."""
    rng = random.Random(7)
    for n in range(count):
        sections = []
        for s in range(6):
            body = " ".join(rng.choice(WORDS) + str(rng.randrange(900)) for _ in range(120))
            sections.append(f"## Section {s} of {n}\n\n{body}.\n")
        (folder / f"doc{n:05}.md").write_text(f"# Document {n}\n\n" + "\n".join(sections), encoding="utf-8")


def plain_loop(folder: Path, home: Path) -> int:
    """The same functions, one after the other."""
    store = DOCSTORES.load("sqlite")(home)
    embedder = EMBEDDERS.load("lexical")()
    chunker = CHUNKERS.load("naive")()
    space = Space("default", "bench", embedder.dim)
    now = SystemClock().now()
    total = 0
    for gen, path in enumerate(sorted(folder.iterdir()), 1):
        data = path.read_bytes()
        parser = PARSERS.load(detect(path.name, io.BytesIO(data)))()
        chunks = chunker.chunk(parser.parse(Source(path.name, data), ParseLimits()), ChunkSettings(), count_tokens)
        vectors = embedder.embed([chunk.text for chunk in chunks], "passage")
        store.write(
            space,
            records(chunks, vectors, gen=gen, part=0, first=0, document_id=path.name, document=path.name, created=now),
        )
        total += len(chunks)
    store.close()
    return total


def measured(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds of a command with all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    last = json.loads(done.stdout.strip().splitlines()[-1])
    return {"wall": wall, "cpu": cpu, "chunks": last["summary"]["chunks"] if "summary" in last else last["chunks"]}


def one_round(folder: Path) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as scratch:
        home = str(Path(scratch) / "home")
        loop = measured([sys.executable, __file__, "--plain", str(folder), str(Path(scratch) / "plain")])
        command = [
            sys.executable,
            "-m",
            "gristmill",
            "--home",
            home,
            "ingest",
            str(folder),
            "--embedder",
            "lexical",
            "--json",
        ]
        return {"loop": loop, "first": measured(command), "again": measured(command)}


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--documents", type=int, default=1000)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--output", default="")
    ap.add_argument("--plain", nargs=2)
    args = ap.parse_args()
    if args.plain:
        print(json.dumps({"chunks": plain_loop(Path(args.plain[0]), Path(args.plain[1]))}))
        return
    folder = Path(tempfile.mkdtemp(prefix="gristmill-bench-"))
    try:
        make_documents(folder, args.documents)
        rounds = [one_round(folder) for _ in range(args.rounds)]
    finally:
        shutil.rmtree(folder)
    result = summary(rounds, args.documents)
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        Path(args.output).write_text(text + "\n", encoding="utf-8")


def summary(rounds: list[dict[str, dict[str, float]]], documents: int) -> dict[str, object]:
    def median(side: str, what: str) -> float:
        return statistics.median(r[side][what] for r in rounds)

    chunks = median("first", "chunks")
    return {
        "documents": documents,
        "chunks": chunks,
        "loop": {"wall_s": median("loop", "wall"), "cpu_ms_per_chunk": 1000 * median("loop", "cpu") / chunks},
        "gristmill": {"wall_s": median("first", "wall"), "cpu_ms_per_chunk": 1000 * median("first", "cpu") / chunks},
        "wall_ratio_to_loop": median("first", "wall") / median("loop", "wall"),
        "cpu_ratio_to_loop": median("first", "cpu") / median("loop", "cpu"),
        "unchanged_cpu_share_of_first": median("again", "cpu") / median("first", "cpu"),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()},
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
