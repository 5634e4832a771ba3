"""How much of what a corpus expects is found in our chunks.

usage: corpora.py FOLDER [--out results.jsonl] [--transcriber pocketsphinx | URL#MODEL]

FOLDER holds ``manifest.jsonl`` and ``files/``; the results are for the ``score.py`` that comes with it. Everything is read
from what ``gristmill documents chunks ID --json`` prints of a chunk: its text, whose lines between bars are rows of tables,
its pages, and the headings above it. Sound is an error without a transcriber: one that is installed, by its name, or a model at
an OpenAI-compatible endpoint, whose key is in OPENAI_API_KEY.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gristmill.base.errors import GristmillError
from gristmill.base.tokens import count_tokens
from gristmill.catalogs.cache import SqlCache
from gristmill.chunkers import CHUNKERS
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.pipeline.enrich import Models, enrich
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.document import Chunk
from gristmill.ports.model import Transcriber
from gristmill.ports.parser import ParseLimits, Source
from gristmill.providers import TRANSCRIBERS

NUMBER = re.compile(r"\d+(?:\.\d+)*\.?\s+")  # of a heading, as it is printed: a bookmark goes without


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--transcriber", default="")
    arguments = parser.parse_args()
    models = Models(transcriber(arguments.transcriber) if arguments.transcriber else None)
    count_tokens("the tables are loaded before anything is timed")
    with arguments.out.open("w", encoding="utf-8") as out:
        for line in (arguments.folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
            name = json.loads(line)["file"]
            began = time.process_time()
            result = read(arguments.folder / "files" / name, models)
            seconds = time.process_time() - began
            print(f"{name:40s} {result.pop('chunks'):5d} chunks {seconds:7.3f} s  {result['error'] or ''}")
            out.write(json.dumps({"file": name, **result}, ensure_ascii=False) + "\n")


def transcriber(wanted: str) -> Transcriber:
    url, _, model = wanted.partition("#")
    made: Any = TRANSCRIBERS.load("openai" if model else url)
    found: Transcriber = (
        made(base_url=url, model=model, api_key=os.environ.get("OPENAI_API_KEY", "")) if model else made()
    )
    return found


def read(path: Path, models: Models) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            found = detect(path.name, stream)
        document = PARSERS.load(found)().parse(Source(path.name, path.read_bytes()), ParseLimits())
        with tempfile.TemporaryDirectory() as folder:
            cache = SqlCache(Path(folder) / "cache.db")
            document = enrich(document, models, cache, lambda asset: b"")  # all bytes are in the document
            cache.close()
        chunks = CHUNKERS.load("naive")().chunk(document, ChunkSettings(), count_tokens)
    except GristmillError as exc:
        return {"error": f"{type(exc).__name__}: {exc}", "chunks": 0, "text": "", "pages": None}
    return {"error": None, "chunks": len(chunks), "pages": len(document.pages) or None, **seen(chunks)}


def seen(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """What a stranger makes of the chunks."""
    lines = [line for chunk in chunks for line in chunk.text.split("\n")]
    pages: dict[int, list[str]] = defaultdict(list)
    for chunk in chunks:
        for page in chunk.pages:
            pages[page].append(chunk.text)
    return {
        "text": "\n".join(lines),
        "page_texts": ["\n".join(pages[page]) for page in range(1, max(pages) + 1)] if pages else None,
        "tables": [[line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]],
        "headings": [
            *lines,
            *(NUMBER.sub("", line) for line in lines),
            *(title for chunk in chunks for title in chunk.path),
        ],
    }


if __name__ == "__main__":
    main()
