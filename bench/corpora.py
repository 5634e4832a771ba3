"""How much of what a corpus expects is found in our chunks.

usage: corpora.py FOLDER [--out results.jsonl] [--verbose]

FOLDER holds ``manifest.jsonl`` and ``files/``; the results are for the ``score.py`` that comes with it. Everything is read
from the chunks as a search sees them: their text, the rows of their tables, their headings.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import bpe_openai

from gristmill.base.errors import GristmillError
from gristmill.chunkers import CHUNKERS
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.parser import ParseLimits, Source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results.jsonl"))
    arguments = parser.parse_args()
    encoding = bpe_openai.get_encoding("cl100k_base")
    with arguments.out.open("w", encoding="utf-8") as out:
        for line in (arguments.folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
            wanted = json.loads(line)
            began = time.process_time()
            result = read(arguments.folder / "files" / wanted["file"], lambda text: len(encoding.encode(text)))
            seconds = time.process_time() - began
            chunks = result.pop("chunks")
            print(f"{wanted['file']:40s} {chunks:5d} chunks {seconds:7.3f} s  {result['error'] or ''}")
            out.write(json.dumps({"file": wanted["file"], **result}, ensure_ascii=False) + "\n")


def read(path: Path, count: Any) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            found = detect(path.name, stream)
        document = PARSERS.load(found)().parse(Source(path.name, path.read_bytes()), ParseLimits())
        chunks = CHUNKERS.load("naive")().chunk(document, ChunkSettings(), count)
    except GristmillError as exc:
        return {"error": f"{type(exc).__name__}: {exc}", "chunks": 0, "text": "", "pages": None}
    assert all(chunk.tokens <= 512 for chunk in chunks), [chunk.tokens for chunk in chunks if chunk.tokens > 512]
    lines = [line for chunk in chunks for line in chunk.text.split("\n")]
    return {
        "error": None,
        "chunks": len(chunks),
        "pages": len(document.pages) or None,
        "text": "\n".join(chunk.text for chunk in chunks),
        "tables": [[line.split(" | ") for line in chunk.text.split("\n") if " | " in line] for chunk in chunks],
        "headings": lines + [title for chunk in chunks for title in chunk.path],
    }


if __name__ == "__main__":
    main()
