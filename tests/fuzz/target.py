"""One parser under fuzz, in a process of its own: ``python -m fuzz.target NAME FOLDER SECONDS SEED``.

FOLDER has ``corpus/`` (what was interesting so far) and gets ``finds/``: the input of each find and a line of ``finds.jsonl``
that tells of it. Coverage guides it where atheris is installed. A find is: an exception that is none of the five errors of
documents, an error that does not name the document, a document that does not survive encoding, chunks that are not within
bounds, a socket, a program, a file written, too much time or memory. A crash of the process is found by who started it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.util
import io
import json
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from fuzz import BEFORE, ENDINGS
from fuzz.mutate import MOST, mutant
from gristmill.base.errors import DocumentError
from gristmill.base.scratch import PREFIX
from gristmill.base.tokens import count_tokens
from gristmill.chunkers import CHUNKERS
from gristmill.parsers import PARSERS
from gristmill.ports.chunker import Chunker, ChunkSettings
from gristmill.ports.document import decode_parsed, encode_parsed
from gristmill.ports.parser import ParseLimits, Source

MEMORY = 1 << 30  # bytes over what is loaded
SECONDS = 10.0  # of processor time for one input
INSTRUMENTED = ("gristmill.parsers", "docx", "pptx", "openpyxl", "olefile", "markdown_it", "email")
_SOCKETS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Find(Exception):
    """What must not happen has happened, though nothing was raised."""


class Watch:
    """What an input reaches for besides its own bytes."""

    def __init__(self) -> None:
        self.on = False
        self.reached: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in _SOCKETS or event in _PROGRAMS:
            self.reached.append(f"{event} {args[0]!r}")
        elif event == "open" and isinstance(args[2], int) and args[2] & _WRITES:
            path = os.fsdecode(args[0]) if isinstance(args[0], str | bytes) else ""
            if path and PREFIX not in path and "__pycache__" not in path and path != os.devnull:
                self.reached.append(f"open {path!r}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.reached, self.on = [], True
        try:
            yield
        finally:
            self.on = False
        if self.reached:
            raise Find(f"reached {self.reached[0]}")


class Target:
    """Feeds inputs to one parser, and writes down what it finds, each kind once."""

    def __init__(self, name: str, folder: Path, watch: Watch, before: Any) -> None:
        self.name, self.folder, self.watch, self._before = name, folder, watch, before
        self.count = 0
        self.known = {json.loads(line)["signature"] for line in self._lines()}
        chunker: type[Chunker] = CHUNKERS.load("naive")
        self._chunker = chunker()
        (folder / "finds").mkdir(parents=True, exist_ok=True)

    def __call__(self, data: bytes) -> None:
        self.count += 1
        began = time.process_time()
        try:
            with self.watch.watching():
                self._feed(bytes(data))
            self._took(time.process_time() - began, len(data))
        except Exception as exc:  # noqa: BLE001  whatever it is, it is a find
            self._write_down(data, exc)

    def _took(self, seconds: float, size: int) -> None:
        if seconds > SECONDS:
            raise Find(f"took too long: {seconds:.1f} s for {size} bytes")

    def _feed(self, data: bytes) -> None:
        name = f"fuzz{ENDINGS.get(self.name, '')}"
        try:
            if self.name == "charset":
                self._before.decode(data)[0].encode("utf-8")
            elif self.name == "detect":
                name = f"fuzz{random.Random(len(data)).choice(list(ENDINGS.values()))}"
                self._before.detect(name, io.BytesIO(data))
            else:
                self._read(Source(name, data))
        except DocumentError as exc:
            if "fuzz" not in str(exc) or type(exc) is DocumentError or len(str(exc)) > 2000:
                raise Find(f"the error does not do: {str(exc)[:300]!r}") from exc

    def _read(self, source: Source) -> None:
        document = PARSERS.load(self.name)().parse(source, ParseLimits())
        raw = encode_parsed(document)
        if encode_parsed(decode_parsed(raw)) != raw:
            raise Find("it does not survive encoding")
        settings = ChunkSettings()
        for chunk in self._chunker.chunk(document, settings, count_tokens):
            chunk.text.encode("utf-8")
            if "\0" in chunk.text:
                raise Find("a NUL in a chunk")

    def _write_down(self, data: bytes, exc: Exception) -> None:
        signature = _signature(exc)
        if signature in self.known:
            return
        self.known.add(signature)
        path = self.folder / "finds" / hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data)
        told = {"parser": self.name, "signature": signature, "input": str(path), "bytes": len(data)}
        told["traceback"] = "".join(traceback.format_exception(exc, limit=-12))[-3000:]
        with (self.folder / "finds.jsonl").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(told) + "\n")

    def _lines(self) -> list[str]:
        path = self.folder / "finds.jsonl"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _signature(exc: Exception) -> str:
    """What two inputs with the same fault have in common: the kind of error, and where it was raised."""
    if isinstance(exc, Find):
        return f"Find: {' '.join(str(exc).split()[:4])[:80]}"
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if "/gristmill/" in frame.filename] or frames
    last = ours[-1]
    return f"{type(exc).__name__} at {Path(last.filename).name}:{last.name}:{last.lineno}"


def bound() -> None:
    """From now on this process gets so much memory more, and no core files."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def guided(target: Target, seconds: int, seed: int, others: list[bytes], atheris: Any) -> None:
    """By libFuzzer, which ends the process."""
    finds, corpus = target.folder / "finds", target.folder / "corpus"

    def change(data: bytes, most: int, seed: int) -> bytes:
        return mutant(data, seed, others)[:most] if seed % 8 else bytes(atheris.Mutate(data, most))

    flags = [
        f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={int(3 * SECONDS)}", "-rss_limit_mb=0", f"-max_len={MOST}",
        f"-artifact_prefix={finds}/", "-print_final_stats=1", "-verbosity=0", "-reload=0", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *flags], target, custom_mutator=change)
    atheris.Fuzz()


def blind(target: Target, seconds: int, seed: int, others: list[bytes]) -> None:
    """By chance alone."""
    chance = random.Random(seed)
    last = target.folder / "finds" / "last"  # what a crash leaves behind
    for one in others:
        target(one)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutant(chance.choice(others), chance.getrandbits(32), others)
        last.write_bytes(data)
        target(data)
    last.unlink(missing_ok=True)
    sys.stderr.write(f"stat::number_of_executed_units: {target.count}\n")


def main() -> None:
    name, folder, seconds, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    atheris: Any = importlib.import_module("atheris") if importlib.util.find_spec("atheris") else None
    with atheris.instrument_imports(include=list(INSTRUMENTED)) if atheris else nullcontext():
        # What is imported here for the first time is instrumented, and only that.
        before = importlib.import_module(f"gristmill.parsers.{name}") if name in BEFORE else PARSERS.load(name)
        seeds = importlib.import_module("fuzz.seeds").seeds
    count_tokens("the tables are loaded before the bound")
    others = [data[:MOST] for data in seeds(name)]
    watch = Watch()
    target = Target(name, folder, watch, before)
    for data in others:
        target(data)  # what is loaded at the first use is loaded now
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in others:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    gc.collect()
    bound()
    if atheris:
        guided(target, seconds, seed, others, atheris)
    else:
        blind(target, seconds, seed, others)


if __name__ == "__main__":
    main()
