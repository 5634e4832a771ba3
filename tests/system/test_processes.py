"""Commands as processes: signals, exit codes, pipes, terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from gristmill.base.settings import load_settings
from gristmill.brokers import open_broker
from gristmill.pipeline.service import FileSubmit
from gristmill.testing.processes import children
from gristmill.wiring import ensure_dataset, ingest_settings, open_services, opened_ports
from system.apps import burn
from system.commands import HELD, PATIENCE, Commands, Gate, line_with

pytestmark = pytest.mark.timeout(PATIENCE * 3)


@pytest.fixture
def gate() -> Iterator[Gate]:
    server = Gate()
    with server.running():
        yield server
        server.open.set()


@pytest.fixture
def commands(tmp_path: Path, gate: Gate) -> Iterator[Commands]:
    """An empty home, and an embedder that can be held up."""
    made = Commands(
        tmp_path / "home",
        {
            "GRISTMILL_MODELS__EMBEDDING__BASE_URL": gate.base_url,
            "GRISTMILL_MODELS__EMBEDDING__MODEL": "words",
            "GRISTMILL_MODELS__EMBEDDING__DIMENSIONS": "384",
            "GRISTMILL_PIPELINE__EMBEDDER": "openai",
            "GRISTMILL_WORKER__SLOTS": "3",  # two for what is held, one for the others, whichever is submitted first
        },
    )
    yield made
    made.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A document that is quickly done, two that are held up, one that fails."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, text in {"a.md": "quick", "held-1.md": f"{HELD} one", "held-2.md": f"{HELD} two"}.items():
        (folder / name).write_text(f"# {name}\n\nThis one is {text}.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def statuses(out: str) -> dict[str, str]:
    rows = [json.loads(line) for line in out.splitlines()]
    return {Path(row["path"]).name: row["status"] for row in rows if "path" in row}


@pytest.mark.parametrize(
    "told", [[signal.SIGINT], [signal.SIGINT] * 2, [signal.SIGTERM]], ids=["INT", "INT twice", "TERM"]
)
def test_an_interrupted_ingest_keeps_its_work_and_goes_on(
    told: list[int], commands: Commands, gate: Gate, folder: Path
) -> None:
    process = commands.start("ingest", folder, "--json")
    done = line_with(process.stdout, lambda line: '"done"' in line)
    assert list(statuses(done)) == ["a.md"]
    for _ in range(2):
        assert gate.asked.acquire(timeout=PATIENCE)
    process.send_signal(told[0])
    line_with(process.stderr, lambda line: "Once more to stop at once" in line)
    for number in told[1:]:
        process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["summary"]["interrupted"] is True
    assert commands.json("status")["documents"].get("done") == 1
    gate.open.set()
    code, out, err = commands.run("ingest", folder, "--json")
    assert statuses(out) == {"a.md": "unchanged", "held-1.md": "done", "held-2.md": "done", "broken.pdf": "failed"}
    assert code == 1
    assert len([text for text in gate.texts() if "quick" in text]) == 1, "what was done is not done again"
    assert commands.run("doctor", "--deep")[0] == 0


def test_an_ingest_that_waits_tells_for_what(commands: Commands, gate: Gate, folder: Path) -> None:
    process = commands.start("ingest", folder, "--json")
    for _ in range(2):
        assert gate.asked.acquire(timeout=PATIENCE)
    code, out, err = commands.run("debug", "stacks", str(process.pid), "--all", "--json")
    assert code == 0, err
    told = json.loads(out)["processes"]
    assert {one["role"] for one in told} == {"worker", "nursery", "runner"}
    waiting = [one for one in told if one["role"] == "runner" and "embedder.py" in one["stack"]]
    assert len(waiting) >= 2  # a.md may be on its way, too
    assert all("pipeline.part" in one["tasks"][0] for one in waiting)


def test_an_ingest_leaves_no_process_behind(commands: Commands, gate: Gate, folder: Path) -> None:
    gate.open.set()
    before = children()
    assert commands.run("ingest", folder)[0] == 1
    assert children() - before == set()


def test_what_is_deleted_meanwhile_is_not_waited_for(commands: Commands, gate: Gate, folder: Path) -> None:
    process = commands.start("ingest", folder, "--json")
    for _ in range(2):
        assert gate.asked.acquire(timeout=PATIENCE)
    assert commands.run("documents", "delete", "held-1.md", "--yes")[0] == 0
    gate.open.set()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert statuses(out) == {"a.md": "done", "held-1.md": "cancelled", "held-2.md": "done", "broken.pdf": "failed"}
    assert {one["name"] for one in commands.json("documents", "list")} == {"a.md", "held-2.md", "broken.pdf"}


def test_a_worker_takes_what_others_have_queued_and_drains_on_term(
    commands: Commands, gate: Gate, folder: Path
) -> None:
    _queue(commands, folder / "held-1.md")
    worker = commands.start("worker", "--slots", "1")
    assert gate.asked.acquire(timeout=PATIENCE)
    assert worker.pid in [beat["pid"] for beat in commands.json("status")["workers"]]
    worker.send_signal(signal.SIGTERM)
    line_with(worker.stderr, lambda line: "drain" in line)
    gate.open.set()
    _, err = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0, err
    assert commands.json("documents", "show", "held-1.md")["status"] == "done", "what ran has ended well"


def test_an_interrupted_worker_hands_its_work_back_uncounted(commands: Commands, gate: Gate, folder: Path) -> None:
    _queue(commands, folder / "held-1.md")
    worker = commands.start("worker", "--slots", "1")
    assert gate.asked.acquire(timeout=PATIENCE)
    worker.send_signal(signal.SIGINT)
    _, err = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0, err
    tasks = commands.json("tasks", "list", "--state", "queued")
    assert [(one["task"], one["attempt"]) for one in tasks if one["task"] == "pipeline.part"] == [("pipeline.part", 0)]


def test_a_worker_whose_app_cannot_be_loaded_says_why(commands: Commands) -> None:
    code, _, err = commands.run("worker", "--app", "nowhere.at:all")
    assert code == 2
    assert "the app 'nowhere.at:all' cannot be loaded: ModuleNotFoundError" in err


def test_processor_time_of_runners_counts_for_the_command(commands: Commands) -> None:
    """What `time` tells of a command is what it cost: its runners are waited for."""
    needed = 2.0

    async def publish() -> None:
        async with open_broker(f"sqlite:///{commands.home}/broker.db") as broker:
            await broker.publish([burn.message(needed)])

    commands.home.mkdir()
    anyio.run(publish)
    commands.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    worker = commands.start("-vv", "worker", "--app", "system.apps:app")
    line_with(worker.stderr, lambda line: "task succeeded" in line)
    worker.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(worker.pid, 0)
    worker.returncode = os.waitstatus_to_exitcode(status)
    assert worker.returncode == 0
    assert usage.ru_utime + usage.ru_stime > needed


@pytest.mark.parametrize("words", [["documents", "list"], ["config", "show", "--all", "--json"]])
def test_a_reader_that_went_away_is_no_error(words: list[str], commands: Commands) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        process = commands.start(*words, stdout=pipe)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")


def test_on_a_terminal_there_are_bars_and_lines_stay(commands: Commands, gate: Gate, folder: Path) -> None:
    commands.environ |= {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    screen, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as file:
        process = commands.start("ingest", folder, stdout=file)
    for _ in range(2):
        assert gate.asked.acquire(timeout=PATIENCE)
    bars = _read(screen, until=rb"held-1\.md[^\n]*\n[^\n]*held-2\.md|held-2\.md[^\n]*\n[^\n]*held-1\.md")
    bars += _read(screen, until=rb"all documents .*\d/4  [\d.]+ chunks/s  \d[\d. minhs]+ left")
    gate.open.set()
    bars += _read(screen, until=None)
    assert process.wait(PATIENCE) == 1
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", bars.decode())
    assert re.search(r"failed +\S*broken\.pdf: broken\.pdf is a damaged PDF", shown)
    last = shown.rstrip().splitlines()[-1]
    assert last.startswith("3 done, 1 failed; 3 chunks, ")


def _read(screen: int, *, until: bytes | None) -> bytes:
    """What appears on the screen until a pattern does; None: to the end."""
    seen = b""
    while True:
        try:
            piece = os.read(screen, 65536)
        except OSError:  # the other side is closed
            piece = b""
        seen += piece
        if (until is not None and re.search(until, seen)) or (until is None and not piece):
            return seen
        assert piece, f"it ended without {until!r}: {seen!r}"


def _queue(commands: Commands, path: Path) -> None:
    """Submit a document, as a server would: somebody else is to work on it."""
    settings = load_settings(home=commands.home, environ=commands.environ)

    async def submit() -> None:
        with opened_ports(settings) as ports:
            dataset = ensure_dataset(settings, ports.catalog, "default")
            async with open_services(settings, ports) as services:
                await services.service.submit(dataset, FileSubmit(path, path.name), ingest_settings(settings, dataset))

    anyio.run(submit)


def test_the_package_runs_as_a_module_and_tells_its_version(commands: Commands) -> None:
    code, out, _ = commands.run("--version")
    assert code == 0
    assert re.fullmatch(r"gristmill, version \d+\.\d+\S*\n", out)
