"""The part of docs/reference/measurements.md that is about documents, from bench/results/documents.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parent / "results" / "documents.json"
NAMES = {
    "ours": "**Gristmill**, naive",
    "ours_text": "Gristmill, naive, without tables and pictures",
    "pdfium": "pypdfium2, text, no chunks (the floor)",
    "chonkie": "pypdfium2 + chonkie RecursiveChunker",
    "semchunk": "pypdfium2 + semchunk",
    "text_splitter": "pypdfium2 + semantic-text-splitter",
    "kreuzberg": "kreuzberg, own chunker",
    "langchain": "LangChain PyPDFLoader + RecursiveCharacter",
    "llamaindex": "LlamaIndex PDFReader + SentenceSplitter",
    "pdfplumber": "pdfplumber, words, no chunks",
    "docling_parse": "docling-parse, lines, no chunks",
}
PLACES = {"box": "page and boxes", "page": "page", "": "none"}
KINDS = {"pdf": ("PDF, pages full of text", "pages"), "xlsx": ("XLSX, four columns", "rows")}


def section(kept: dict[str, Any]) -> list[str]:
    """The lines of the page."""
    return [
        "",
        "## Documents",
        "",
        f"`make bench-documents` repeats it; the numbers are kept in `bench/results/documents.json`. {_machine(kept)}",
        *(_speed(kept["speed"]) if "speed" in kept else ()),
        *_memory(kept),
    ]


def _machine(kept: dict[str, Any]) -> str:
    machine = kept["machine"]
    return (
        f"The machine: {machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']};"
        f" load average {machine['load']} at the end. CPU seconds count, for others used the machine, too: compare ratios."
    )


def _speed(found: dict[str, Any]) -> Iterator[str]:
    yield from (
        "",
        "### PDFs to chunks",
        "",
        f"{found['files']} text PDFs, {found['pages']} pages (papers, gazettes in three columns, slides, wide tables), bytes to"
        " chunks of 512 tokens without overlap. Each pipeline has a process of its own, imports are not counted, all take"
        f" turns in each of {found['rounds']} rounds. OCR is off: no other pipeline here has any. *Places*: what a chunk knows"
        " of where it came from.",
        "",
    )
    rows = sorted(found["pipelines"].items(), key=lambda pair: pair[1]["cpu_over_ours"])
    yield from _table(
        ["pipeline", "pages a CPU second", "CPU over ours", "places", "chunks", "peak RSS MiB", "import s"],
        (
            [
                NAMES[name],
                f"{one['pages_per_cpu_s']:.0f}",
                f"{one['cpu_over_ours']:.2f}",
                PLACES[one["places"]],
                one["chunks"],
                one["peak_rss_mib"],
                one["import_s"],
            ]
            for name, one in rows
        ),
    )
    for name in found["slower_than"]:
        only = PLACES[found["pipelines"][name]["places"]]
        yield from ("", f"Not faster than {name}, whose chunks know their {only}.")
    yield from ("", ", ".join(found["versions"]) + ".")


def _memory(kept: dict[str, Any]) -> Iterator[str]:
    yield from (
        "",
        "### Long and large documents",
        "",
        "Each ingested by the command line into a fresh home, by the runners that it starts, with the lexical embedder. The"
        " peak is that of the largest process, as the kernel keeps it.",
        "",
    )
    rows: list[list[object]] = []
    for kind, (what, unit) in KINDS.items():
        for size, one in kept.get(kind, {}).get("sizes", {}).items():
            each = f"{1e6 * one['cpu_s'] / int(size):,.0f}"
            rows.append(
                [f"{what}: {int(size):,} {unit}", one["mb"], one["chunks"], one["cpu_s"], each, round(_peak(one))]
            )
        for name, one in kept.get(kind, {}).get("files", {}).items():
            rows.append([f"`{name}` of the hostile set", "", one["chunks"], one["cpu_s"], "", round(_peak(one))])
    yield from _table(["document", "MB", "chunks", "CPU s", "CPU µs a page or row", "peak RSS MiB"], rows)
    yield from ("", "| | measured | bound | |", "| --- | --: | --- | --- |")
    for kind, (what, _) in KINDS.items():
        for key, name in (("peak_mib", "peak RSS MiB"), ("growth", "CPU a unit, largest over smallest")):
            if kind in kept:
                value, most = kept[kind][key], kept[kind]["bounds"][key]
                yield f"| {what}: {name} | {value} | at most {most} | {'holds' if value <= most else '**does not hold**'} |"


def _peak(one: dict[str, Any]) -> float:
    return float(max(one["runner_mib"], one["main_mib"]))


def _table(head: list[str], rows: Iterable[list[object]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + " --: |" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"


def kept() -> list[str]:
    """What there is to tell; nothing where it was never measured."""
    return section(json.loads(KEPT.read_text(encoding="utf-8"))) if KEPT.exists() else []
