"""Every file of a folder of hostile ones through a real worker: its outcome, seconds and memory, and what it tried to reach.

    python bench/hostile.py FOLDER [--jobs 1] [--only PART_OF_NAME] [--output bench/results/hostile.json]

Each file is ingested by the command line, by a worker with one slot and the default limits, into a home that lasts; each of
the jobs has its own. Where namespaces may be made, all of it runs without a network, and with a file system that is read-only
but for one folder, which holds the homes, the temporary folders and trees of sentinels. An audit hook in every process of ours
notes the sockets that are connected, the names that are looked up and the files that are opened for writing elsewhere.

``expect.jsonl`` of the folder says what to expect: a file that misses it, or a bound of ours (30 s, 1 GiB, one clear error), is
listed under ``missed``; the exit code is 1 then. Where the machine has more to do than cores, the bound on seconds is one on
processor seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

SECONDS, MEMORY = 30.0, 1 << 30
LOOK = 0.04  # seconds between looks at the processes
TICK = os.sysconf("SC_CLK_TCK")
ERRORS = {"UnsupportedDocument", "EncryptedDocument", "DamagedDocument", "DocumentTooLarge", "EmptyDocument"}
BY_CONTENT = ("zip_named.epub",)  # whose name is wrong, so an error would do; but what it is can be read
INSIDE = "HOSTILE_BENCH_INSIDE"
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
ENTER = 'mount --bind "$0" "$0" && mount -o remount,ro,bind / && mount -o remount,rw,bind "$0" && exec "$@"'
HOOK = """
import os, socket, sys
ALLOWED = tuple(os.environ["HOSTILE_BENCH_ALLOWED"].split(":"))
NOTES = os.open(os.environ["HOSTILE_BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NET = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate")

def note(event, what):
    os.write(NOTES, f"{event} {what!r}\\n".encode("utf-8", "backslashreplace"))

def hook(event, args):
    if event in NET:
        if not event.startswith("socket.get") and (args[0].family == socket.AF_UNIX or args[0].type == socket.SOCK_DGRAM
                and event == "socket.connect"):  # the worker to its own, and how it learns its address: nothing is sent
            return
        note(event, args if event.startswith("socket.get") else args[1:])
    elif event in RUNS:
        if args[0] != sys.executable:  # a nursery
            note(event, args[0])
    elif event == "open" or event in CHANGES:
        if event == "open" and not (isinstance(args[2], int) and args[2] & WRITES):
            return
        path = args[0]
        if isinstance(path, (str, bytes)):
            path = os.path.realpath(os.fsdecode(path))
            if not path.startswith(ALLOWED):
                note(event, path)

sys.addaudithook(hook)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="files with this in their name")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    if sandbox := os.environ.get(INSIDE):
        run_all(arguments, Path(sandbox))
        return
    with tempfile.TemporaryDirectory(prefix="hostile-bench-") as name:
        sandbox = os.path.realpath(name)
        command = [sys.executable, __file__, str(arguments.folder), "--only", arguments.only]
        command += ["--jobs", str(arguments.jobs)]
        isolated = subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0
        if isolated:
            command = [*NAMESPACES, "sh", "-c", ENTER, sandbox, *command]
        done = subprocess.run(command, env={**os.environ, INSIDE: sandbox}, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        result = json.loads(Path(sandbox, "result.json").read_text(encoding="utf-8"))
    result["isolated"] = isolated
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    for line in result["missed"]:
        print("MISSED", line)
    print(len(result["files"]), "files:", result["outcomes"])
    sys.exit(bool(result["missed"]))


def run_all(arguments: argparse.Namespace, sandbox: Path) -> None:
    """All files, with everything that may be written below the sandbox."""
    expected = [json.loads(line) for line in (arguments.folder / "expect.jsonl").read_text("utf-8").splitlines()]
    expected = [one for one in expected if arguments.only in one["file"]]
    began = time.time()
    worlds: SimpleQueue[World] = SimpleQueue()
    for number in range(arguments.jobs):
        worlds.put(World(sandbox / str(number)))

    def ingest(one: dict[str, Any]) -> dict[str, Any]:
        world = worlds.get()
        try:
            return world.ingest(arguments.folder / one["file"], one)
        finally:
            worlds.put(world)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        files = list(pool.map(ingest, expected))
    result = {
        "files": files,
        "missed": [f"{one['file']}: {what}" for one in files for what in one["missed"]],
        "outcomes": Counter(one["error"] or one["outcome"] for one in files),
        "bounds": {"seconds": SECONDS, "peak_rss": MEMORY},
        "machine": {
            "python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system(),
            "load": round(os.getloadavg()[0], 1), "seconds": round(time.time() - began),
        },
    }  # fmt: skip
    (sandbox / "result.json").write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


class World:
    """A home, a temporary folder, and a tree that nobody is to touch."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.tmp, self.sentinels, self.hook = (root / name for name in ("home", "tmp", "sentinels", "hook"))
        self.notes = root / "notes"
        for folder in (self.tmp, self.sentinels / "user" / "cwd", self.hook):
            folder.mkdir(parents=True)
        for folder in (self.sentinels, self.sentinels / "user", self.sentinels / "user" / "cwd"):
            (folder / "evil.txt").write_text("as it was", encoding="utf-8")
        (self.hook / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
        allowed = [self.home, self.tmp, "/dev/null", "/dev/shm", "/proc/self"]
        self.environment = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.sentinels / "user"),
            "TMPDIR": str(self.tmp), "PYTHONPATH": f"{self.hook}:{os.environ.get('PYTHONPATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "GRISTMILL_HOME": str(self.home), "GRISTMILL_WORKER__SLOTS": "1", "HOSTILE_BENCH_NOTES": str(self.notes),
            "HOSTILE_BENCH_ALLOWED": ":".join(map(str, allowed)),
        }  # fmt: skip
        self.looked = self.snapshot()

    def snapshot(self) -> dict[str, str]:
        """What is in the sentinel tree, and what is left in the temporary folder."""
        paths = [path for root in (self.sentinels, self.tmp) for path in sorted(root.rglob("*"))]
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in paths
        }

    def ingest(self, file: Path, expect: dict[str, Any]) -> dict[str, Any]:
        """What one file came to."""
        self.notes.unlink(missing_ok=True)
        command = [sys.executable, "-m", "gristmill", "ingest", "--json", "--embedder", "lexical", str(file)]
        process = subprocess.Popen(
            command, cwd=self.sentinels / "user" / "cwd", env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        watch = Watch(process.pid)
        while process.poll() is None:
            watch.look()
            time.sleep(LOOK)
        out, err = process.communicate()
        found = self._outcome(out, watch)
        found |= {"file": file.name, "what": expect["what"], "bytes": file.stat().st_size}
        notes = self.notes.read_text(encoding="utf-8").splitlines() if self.notes.exists() else []
        found["reached"] = [note for note in notes if note.startswith("socket.")]
        found["ran"] = [note for note in notes if note.startswith(("subprocess.", "os.system", "os.exec", "os.posix"))]
        found["wrote"] = [note for note in notes if note not in found["reached"] + found["ran"]]
        found["missed"] = list(self._missed(found, expect, process.returncode, err))
        print(f"{found['file']:34} {found['error'] or found['outcome']:20} {found['seconds']:6.2f} s "
              f"{found['peak_rss'] >> 20:5} MiB  {'; '.join(found['missed'])}", flush=True)  # fmt: skip
        return found

    def _outcome(self, out: str, watch: Watch) -> dict[str, Any]:
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        one: dict[str, Any] = next((line for line in lines if "document_id" in line), {})
        error = one.get("error") or {}
        return {
            "outcome": one.get("status", "none"), "chunks": one.get("chunks", 0), "seconds": one.get("seconds", 0.0),
            "cpu_seconds": round(watch.cpu, 2), "peak_rss": watch.peak, "face_rss": watch.own,
            "error": error.get("type", ""), "stage": error.get("stage", ""), "message": error.get("message", ""),
            "document_id": one.get("document_id", ""),
        }  # fmt: skip

    def _missed(self, found: dict[str, Any], expect: dict[str, Any], code: int, err: str) -> Iterator[str]:
        if code not in (0, 1) or found["outcome"] == "none":
            yield f"the command ended with {code}: {err[-300:]}"
        if found["outcome"] == "failed" and found["error"] not in ERRORS:
            yield f"{found['error']}: {found['message']}"
        if found["error"] and found["file"] not in found["message"]:
            yield f"the message does not name the file: {found['message']}"
        spent = found["seconds"] if os.getloadavg()[0] <= (os.cpu_count() or 1) else found["cpu_seconds"]
        if spent > SECONDS:
            yield f"{spent} s"
        if max(found["peak_rss"], found["face_rss"]) > MEMORY:
            yield f"{max(found['peak_rss'], found['face_rss']) >> 20} MiB"
        for name in ("reached", "ran", "wrote"):
            if found[name]:
                yield f"{name} {found[name][:3]}"
        looked = self.snapshot()
        if looked != self.looked:
            yield f"left behind: {sorted(set(looked.items()) ^ set(self.looked.items()))[:3]}"
            self.looked = looked
        yield from self._misread(found, expect)

    def _misread(self, found: dict[str, Any], expect: dict[str, Any]) -> Iterator[str]:
        done = found["outcome"] == "done"
        empty = found["error"] == "EmptyDocument"
        unheard = found["stage"] == "enrich" and found["error"] == "UnsupportedDocument"  # sound, and no model is set
        if expect["expect"] == "ok" and not (done or unheard or (empty and not expect.get("contains"))):
            yield f"expected to be read: {found['message']}"  # that there is nothing in it is what is said of an empty one
        if expect["expect"] == "error" and done and expect["file"] not in BY_CONTENT:
            yield "expected an error"
        text = self._chunks(found["document_id"]) if done and {"contains", "never"} & expect.keys() else ""
        if done and expect.get("contains", "") not in text:
            yield f"{expect['contains']!r} is in no chunk"
        if done and len(expect.get("never", "")) < 6 and expect.get("never", "\x01") in text:
            yield f"{expect['never']!r} is in a chunk"

    def _chunks(self, document: str) -> str:
        command = [sys.executable, "-m", "gristmill", "documents", "chunks", document, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return "\n".join(str(chunk.get("content", "")) for chunk in json.loads(done.stdout or "[]"))


class Watch:
    """The largest resident size, and the processor time, of the processes below one (its runners) while they are there."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak, self.own = pid, 0, 0
        self._times: dict[int, float] = {}

    @property
    def cpu(self) -> float:
        return sum(self._times.values())

    def look(self) -> None:
        self.own = max(self.own, _peak(self.pid))
        for pid in _below(self.pid):
            self.peak = max(self.peak, _peak(pid))
            self._times[pid] = max(self._times.get(pid, 0.0), _spent(pid))


def _below(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from _below(child)


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _spent(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


if __name__ == "__main__":
    if not shutil.which("unshare"):
        NAMESPACES[:] = ["false"]
    main()
