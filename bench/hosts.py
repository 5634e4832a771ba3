"""A folder of documents through two workers on servers, beside the same folder through one process on files.

    python bench/hosts.py FOLDER [--embedder lexical] [--output bench/results/hosts.json]

Each round starts its servers (Valkey and PostgreSQL; MariaDB for both), two `gristmill worker`, and a `gristmill ingest`
that shares a home with them. What is compared is what `gristmill documents export` writes: every chunk of every document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gristmill.testing.servers import MariaServer, PostgresServer, RedisServer

OWN = {"chunk_id", "document_id", "created"}  # another in each installation


class Home:
    """One installation."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.environ = folder, environ

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gristmill", "--home", str(self.folder), *words],
            env={**os.environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, *words: str) -> str:
        process = self.start(*words)
        out, _ = process.communicate()
        return out


def valkey_and_postgres(stack: ExitStack) -> dict[str, str]:
    cache = urlsplit(stack.enter_context(RedisServer("valkey-9")).url)
    at = urlsplit(stack.enter_context(PostgresServer()).url)
    return {
        "DB_TYPE": "postgres",
        "POSTGRES_HOST": str(at.hostname),
        "POSTGRES_PORT": str(at.port),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DBNAME": "postgres",
        "REDIS_HOST": str(cache.hostname),
        "REDIS_PORT": str(cache.port),
    }


def mariadb_for_both(stack: ExitStack) -> dict[str, str]:
    at = urlsplit(stack.enter_context(MariaServer()).url)
    return {
        "DB_TYPE": "mariadb",
        "GRISTMILL_ENGINE__BROKER": "database",
        "MYSQL_HOST": str(at.hostname),
        "MYSQL_PORT": str(at.port),
        "MYSQL_USER": "root",
        "MYSQL_DBNAME": at.path[1:],
    }


PLACES = {"valkey and postgres": valkey_and_postgres, "mariadb for both": mariadb_for_both}


def ingested(home: Home, files: Path, embedder: str, workers: int) -> dict[str, Any]:
    """What one ingest with so many further workers comes to."""
    others = [home.start("worker", "--name", f"bench-{n}") for n in range(workers)]
    while workers and len(json.loads(home.run("status", "--json"))["workers"]) < workers:
        time.sleep(0.2)
    began = time.perf_counter()
    told = [json.loads(line) for line in home.run("ingest", str(files), "--embedder", embedder, "--json").splitlines()]
    wall = time.perf_counter() - began
    beats = json.loads(home.run("status", "--json"))["workers"] if workers else []
    for other in others:
        other.send_signal(signal.SIGTERM)
        other.communicate()
    chunks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in home.run("documents", "export").splitlines():
        row = json.loads(line)
        chunks[row["document"]].append({k: v for k, v in row.items() if k not in OWN})
    statuses = {Path(row["path"]).name: (row["status"], row["error"] and row["error"]["type"]) for row in told[:-1]}
    doctor = home.start("doctor", "--deep")
    doctor.communicate()
    done = {beat["name"]: beat.get("done", 0) for beat in beats}
    return {"wall_s": wall, "statuses": statuses, "chunks": chunks, "doctor": doctor.returncode, "done_by_worker": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--embedder", default="lexical")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "system": platform.system()}, "rounds": {}}
    with tempfile.TemporaryDirectory() as root:
        alone = ingested(Home(Path(root) / "alone", {}), arguments.folder, arguments.embedder, 0)
        report["documents"] = len(alone["statuses"])
        report["chunks"] = sum(map(len, alone["chunks"].values()))
        report["embedded_wall_s"] = round(alone["wall_s"], 1)
        for name, places in PLACES.items():
            with ExitStack() as stack:
                made = ingested(Home(Path(root) / name, places(stack)), arguments.folder, arguments.embedder, 2)
            names = sorted({*made["chunks"], *alone["chunks"]})
            report["rounds"][name] = {
                "wall_s": round(made["wall_s"], 1),
                "same_statuses": made["statuses"] == alone["statuses"],
                "documents_that_differ": [one for one in names if made["chunks"].get(one) != alone["chunks"].get(one)],
                "chunks": sum(map(len, made["chunks"].values())),
                "doctor": made["doctor"],
                "done_by_worker": made["done_by_worker"],
            }
    print(json.dumps(report, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
