"""Documents: how fast PDFs become chunks, beside other pipelines, and what long ones and large ones cost.

    python bench/documents.py [PDF_FOLDER] [--peers PYTHON] [--only speed,pdf,xlsx] [--output bench/results/documents.json]

*speed*: the text PDFs of a folder, bytes to chunks of 512 tokens. Each pipeline has a process of its own, imports are not
counted, all take turns in each round; CPU seconds count, and a pipeline's figure is the median of the rounds. PYTHON is an
interpreter with the packages of documents_peers.txt.
*pdf*, *xlsx*: PDFs of 500 to 3,000 full pages, and sheets of 100,000 to 1,000,000 rows, each ingested by the command line into
a fresh home, with the lexical embedder; the peak is that of the largest process, as the kernel keeps it. ``--pdf`` and
``--xlsx`` give other files beside those that are written here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pypdfium2

HERE = Path(__file__).resolve().parent
OURS = ("ours", "ours_text")
PLACES = {"kreuzberg": "page", "langchain": "page", "llamaindex": "page", "pdfplumber": "box", "docling_parse": "box"}
PEERS = ("pdfium", "chonkie", "semchunk", "text_splitter", *PLACES)
ROUND = 1.0  # CPU seconds of a pipeline's turn, at least
PAGES, ROWS = (500, 1_000, 2_000, 3_000), (100_000, 300_000, 1_000_000)
LOOK = 0.02  # seconds between looks at the processes
MOST_MIB = {"pdf": 400, "xlsx": 500}
MOST_GROWTH = 1.3  # seconds a unit of the largest over those of the smallest
WORDS = "lease token worker queue chunk page index vector search document retry cancel drain runner keeper part table".split()


# -- speed
def text_pdfs(folder: Path) -> dict[Path, int]:
    """The PDFs with text on most pages -> their pages."""
    found = {}
    for path in sorted(folder.glob("*.pdf")):
        document = pypdfium2.PdfDocument(path)
        written = [page for page in document if page.get_textpage().count_chars() > 0]
        if 2 * len(written) > len(document):
            found[path] = len(document)
        document.close()
    return found


def turn(python: str, name: str, files: list[Path]) -> dict[str, float]:
    command = [python, str(HERE / "documents_pipelines.py"), name, str(ROUND), *map(str, files)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def speed(folder: Path, peers: str, rounds: int) -> dict[str, Any]:
    files = text_pdfs(folder)
    pages = sum(files.values())
    turns: dict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(rounds):
        for name in (*OURS, *(PEERS if peers else ())):
            turns[name].append(turn(sys.executable if name in OURS else peers, name, list(files)))
            print(f"round {number + 1} {name}: {pages / turns[name][-1]['cpu_s']:.0f} pages a CPU second")
    pipelines = {}
    for name, found in turns.items():
        figures = {key: statistics.median(one[key] for one in found) for key in found[0]}
        ratio = statistics.median(one["cpu_s"] / own["cpu_s"] for one, own in zip(found, turns["ours"], strict=True))
        pipelines[name] = {
            "places": "box" if name in OURS else PLACES.get(name, ""),
            "pages_per_cpu_s": round(pages / figures["cpu_s"], 1),
            "cpu_over_ours": round(ratio, 2),
            "chunks": int(figures["chunks"]),
            "placed": int(figures["placed"]),
            "peak_rss_mib": round(figures["peak_rss_mib"]),
            "import_s": round(figures["import_s"], 2),
        }
    return {
        "pages": pages,
        "files": len(files),
        "rounds": rounds,
        "pipelines": pipelines,
        "versions": versions(),
        "slower_than": [
            name for name, one in pipelines.items() if name not in OURS and one["places"] and one["cpu_over_ours"] < 1
        ],
    }


def versions() -> list[str]:
    lines = (HERE / "documents_peers.txt").read_text(encoding="utf-8").splitlines()
    return [line.replace("==", " ") for line in lines if line and not line.startswith("#")]


# -- memory
def write_pdf(path: Path, pages: int) -> None:
    """Pages full of text, 3,000 characters in 42 lines each, with a running head and a heading on every tenth."""
    rng = random.Random(pages)
    with path.open("wb") as out:
        places = [0, 0, 0]

        def add(number: int, body: bytes) -> None:
            places.extend([0] * (number + 1 - len(places)))
            places[number] = out.tell()
            out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))

        out.write(b"%PDF-1.7\n")
        add(1, b"<</Type/Catalog/Pages 2 0 R>>")
        add(3, b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
        for n in range(pages):
            stream = zlib.compress(_page(rng, n, pages))
            add(
                4 + 2 * n,
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>>>>>"
                % (5 + 2 * n),
            )
            add(5 + 2 * n, b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(stream), stream))
        kids = b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(pages))
        add(2, b"<</Type/Pages/Count %d/Kids[%b]>>" % (pages, kids))
        begin = out.tell()
        out.write(b"xref\n0 %d\n0000000000 65535 f \n" % len(places))
        out.writelines(b"%010d 00000 n \n" % place for place in places[1:])
        out.write(b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n" % (len(places), begin))


def _page(rng: random.Random, n: int, pages: int) -> bytes:
    lines = [f"BT /F1 8 Tf 60 770 Td (Report of {pages} pages, page {n + 1}) Tj ET"]
    if n % 10 == 0:
        lines.append(f"BT /F1 16 Tf 60 745 Td ({n // 10 + 1} Chapter about {rng.choice(WORDS)}s) Tj ET")
    lines.append("BT /F1 10 Tf 60 725 Td 15 TL")
    for line in range(42):
        words: list[str] = []
        while sum(map(len, words)) + len(words) < 70:
            words.append(f"{rng.choice(WORDS)}{rng.randrange(900) if rng.random() < 0.2 else ''}")
        lines.append(f"({' '.join(words)}{'.' if line % 5 == 4 else ''}) '")
    return "\n".join([*lines, "ET"]).encode()


def write_xlsx(path: Path, rows: int) -> None:
    """One sheet of four columns: two words of two and two numbers; texts inline."""
    rng = random.Random(rows)
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        '<Override PartName="/xl/worksheets/sheet1.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
        'Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
        '<sheets><sheet name="Orders" sheetId="1" r:id="r1"/></sheets></workbook>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in parts.items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + text)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
            sheet.write(_row(1, ["order", "article", "amount", "price"]))
            for n in range(2, rows + 2):
                words = f"{rng.choice(WORDS)} {rng.choice(WORDS)}"
                sheet.write(_row(n, [f"order {n - 1}", words, rng.randrange(90), round(rng.random() * 900, 2)]))
            sheet.write(b"</sheetData></worksheet>")


def _row(number: int, values: list[str | int | float]) -> bytes:
    cells = [
        f'<c r="{column}{number}" t="inlineStr"><is><t>{value}</t></is></c>'
        if isinstance(value, str)
        else f'<c r="{column}{number}"><v>{value}</v></c>'
        for column, value in zip("ABCD", values, strict=True)
    ]
    return f'<row r="{number}">{"".join(cells)}</row>'.encode()


def ingested(path: Path) -> dict[str, Any]:
    """What one document costs, ingested into a fresh home by the command line and the runners that it starts."""
    with tempfile.TemporaryDirectory(prefix="gristmill-bench-") as home:
        command = [
            sys.executable,
            "-m",
            "gristmill",
            "--home",
            home,
            "ingest",
            str(path),
            "--embedder",
            "lexical",
            "--json",
        ]
        with (Path(home) / "out").open("w+") as out:
            began = time.perf_counter()
            process = psutil.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            peaks: dict[int, int] = {}
            burned: dict[int, float] = {}
            while process.poll() is None:
                for one in watched(process):
                    peaks[one.pid] = max(peaks.get(one.pid, 0), high_water(one.pid))
                    burned[one.pid] = max(burned.get(one.pid, 0.0), cpu_of(one))
                time.sleep(LOOK)
            wall = time.perf_counter() - began
            out.seek(0)
            said = out.read().strip()
        try:
            summary = json.loads(said.splitlines()[-1])["summary"]
            failed = [line for line in said.splitlines() if '"failed"' in line and '"summary"' not in line]
        except (json.JSONDecodeError, KeyError, IndexError):
            summary, failed = {}, [said[-500:]]
    peaks = {pid: peak for pid, peak in peaks.items() if peak}
    return {
        "chunks": summary.get("chunks", 0),
        "wall_s": round(wall, 2),
        "cpu_s": round(sum(burned.values()), 2),
        "main_mib": round(peaks.pop(process.pid, 0) / 1024, 1),
        "runner_mib": round(max(peaks.values(), default=0) / 1024, 1),
        "failed": failed,
    }


def watched(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def high_water(pid: int) -> int:
    """The most memory that a process has had, in KiB, as the kernel keeps it."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def cpu_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def memory(kind: str, sizes: tuple[int, ...], write: Callable[[Path, int], None], others: list[Path]) -> dict[str, Any]:
    """A kind of document in several sizes, and given files of it."""
    found: dict[str, Any] = {"sizes": {}, "files": {}}
    with tempfile.TemporaryDirectory(prefix="gristmill-bench-") as folder:
        for size in sizes:
            path = Path(folder) / f"of_{size}.{kind}"
            write(path, size)
            found["sizes"][size] = told(path.name, {"mb": round(path.stat().st_size / 1e6, 1), **ingested(path)})
            path.unlink()
    for path in others:
        found["files"][path.name] = told(path.name, ingested(path))
    each = {size: one["cpu_s"] / size for size, one in found["sizes"].items()}
    runs = [*found["sizes"].values(), *found["files"].values()]
    found["growth"] = round(each[max(sizes)] / each[min(sizes)], 2)
    found["peak_mib"] = max(max(one["runner_mib"], one["main_mib"]) for one in runs)
    found["bounds"] = {"peak_mib": MOST_MIB[kind], "growth": MOST_GROWTH}
    return found


def told(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    print(name, {key: value for key, value in figures.items() if value != []}, flush=True)
    return figures


def missed(result: dict[str, Any]) -> Iterator[str]:
    """The bounds that do not hold."""
    for name in result.get("speed", {}).get("slower_than", ()):
        yield f"slower than {name}, which gives places, too"
    for kind in ("pdf", "xlsx"):
        found = result.get(kind)
        if found is not None:
            for key, most in found["bounds"].items():
                if found[key] > most:
                    yield f"{kind}: {key} is {found[key]}, the bound is {most}"
            for name, one in {**found["sizes"], **found["files"]}.items():
                if one["failed"]:
                    yield f"{kind} {name} failed: {one['failed'][0]}"


def machine() -> dict[str, Any]:
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next(
            (line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine()
        )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[1], 1),
    }


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder", type=Path, nargs="?")
    ap.add_argument("--peers", default="")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--only", default="speed,pdf,xlsx")
    ap.add_argument("--pdf", type=Path, action="append", default=[])
    ap.add_argument("--xlsx", type=Path, action="append", default=[])
    ap.add_argument("--output", type=Path)
    args = ap.parse_args()
    only = args.only.split(",")
    result: dict[str, Any] = {}
    if args.output and args.output.exists():  # what is not measured now is kept
        result = json.loads(args.output.read_text(encoding="utf-8"))
    if "speed" in only and args.folder:
        result["speed"] = speed(args.folder, args.peers, args.rounds)
    if "pdf" in only:
        result["pdf"] = memory("pdf", PAGES, write_pdf, args.pdf)
    if "xlsx" in only:
        result["xlsx"] = memory("xlsx", ROWS, write_xlsx, args.xlsx)
    result["machine"] = machine()
    result["missed"] = list(missed(result))
    print("\n".join(result["missed"]) or "no bound missed")
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
