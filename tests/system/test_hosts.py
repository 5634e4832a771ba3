"""Workers that share a catalog and a broker on servers come to the same as one process on files."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
import pytest

from gristmill.base.settings import Settings, load_settings
from gristmill.pipeline.doctor import examine
from gristmill.pipeline.service import FileSubmit
from gristmill.ports.docstore import Record, Space
from gristmill.wiring import TENANT, ensure_dataset, ingest_settings, open_services, opened_ports
from pipeline.home import csv, pdf
from samples.office import report_docx
from servers.pool import ServerPool
from system.commands import HELD, PATIENCE, Commands, Gate, line_with

pytestmark = pytest.mark.timeout(PATIENCE * 3)

# What is another in each installation: ids, which begin with the dataset's, and what counts or tells the time.
OWN = {"chunk_id", "document_id", "gen", "created"}
LOOK = 1.0  # seconds after which a notice is no longer waited for


@pytest.fixture
def gate() -> Iterator[Gate]:
    server = Gate()
    with server.running():
        yield server
        server.open.set()


@pytest.fixture
def model(gate: Gate) -> dict[str, str]:
    return {
        "GRISTMILL_MODELS__EMBEDDING__BASE_URL": gate.base_url,
        "GRISTMILL_MODELS__EMBEDDING__MODEL": "words",
        "GRISTMILL_MODELS__EMBEDDING__DIMENSIONS": "384",
        "GRISTMILL_PIPELINE__EMBEDDER": "openai",
        "GRISTMILL_PIPELINE__PAGES_PER_PART": "2",
        "GRISTMILL_WORKER__SLOTS": "1",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("held-1.md", "held-2.md"):
        (folder / name).write_text(f"# {name}\n\nThis one is {HELD} until both workers have one.\n")
    pdf(folder / "pages.pdf", 5)
    (folder / "rows.csv").write_text(csv(3100))  # two windows
    (folder / "report.docx").write_bytes(report_docx())
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    return folder


@pytest.fixture(params=["valkey and postgres", "mariadb for both"])
def places(request: pytest.FixtureRequest, servers: ServerPool) -> dict[str, str]:
    """Where catalog and broker are, as the environment variables of the source say it."""
    if request.param == "mariadb for both":
        at = urlsplit(servers.fresh("mariadb"))
        database = {"DB_TYPE": "mariadb", "GRISTMILL_ENGINE__BROKER": "database"}
        return database | _names("MYSQL", at) | {"MYSQL_USER": "root", "MYSQL_DBNAME": at.path[1:]}
    cache, at = urlsplit(servers.fresh("valkey-9")), urlsplit(servers.fresh("postgres"))
    database = _names("POSTGRES", at) | {"POSTGRES_USER": "postgres", "POSTGRES_DBNAME": at.path[1:]}
    return {"DB_TYPE": "postgres"} | database | _names("REDIS", cache)


def _names(prefix: str, at: Any) -> dict[str, str]:
    return {f"{prefix}_HOST": at.hostname, f"{prefix}_PORT": str(at.port)}


def test_two_workers_on_servers_make_the_same_chunks_as_an_ingest_on_files(
    tmp_path: Path, gate: Gate, model: dict[str, str], folder: Path, places: dict[str, str]
) -> None:
    shared = Commands(tmp_path / "shared", model | places)
    alone = Commands(tmp_path / "alone", model)
    try:
        workers = [shared.start("-v", "worker") for _ in range(2)]
        for worker in workers:
            line_with(worker.stderr, lambda line: "working" in line)
        settings = load_settings(home=shared.home, environ=shared.environ)
        anyio.run(_ingested, settings, sorted(folder.iterdir()), gate)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            _, err = worker.communicate(timeout=PATIENCE)
            assert worker.returncode == 0, err
        alone.run("ingest", folder)
        made, expected = _made(settings), _made(load_settings(home=alone.home, environ=alone.environ))
        assert {name: status for name, (status, _) in made.items()} == {
            path.name: "failed" if path.name == "broken.pdf" else "done" for path in folder.iterdir()
        }
        assert made == expected
        assert sum(len(chunks) for _, chunks in made.values()) > 6
    finally:
        shared.end()
        alone.end()


async def _ingested(settings: Settings, files: list[Path], gate: Gate) -> None:
    """Submit all and wait for their ends. Both workers get something: each has one slot, and holds a document."""
    with opened_ports(settings) as ports:
        dataset = ensure_dataset(settings, ports.catalog, "default")
        wanted = ingest_settings(settings, dataset)
        async with open_services(settings, ports) as services, services.broker.notices() as notices:
            runs = [
                (await services.service.submit(dataset, FileSubmit(path, path.name), wanted)).run.id for path in files
            ]
            for _ in range(2):
                assert await anyio.to_thread.run_sync(lambda: gate.asked.acquire(timeout=PATIENCE))
            gate.open.set()
            while not all(run.state.final for run in await services.service.runs(runs)):
                with anyio.move_on_after(LOOK):
                    await anext(notices)


def _made(settings: Settings) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """What came of each document, by its name; the installation itself is sound."""
    with opened_ports(settings) as ports:
        assert examine(ports) == []
        dataset = ports.catalog.dataset(TENANT, "default")
        space, view = Space(TENANT, dataset.id, dataset.dim), ports.catalog.view(dataset.id)
        return {
            one.name: (str(one.state), [_told(chunk) for chunk in ports.docstore.chunks(space, view, one.id)])
            for one in ports.catalog.documents(TENANT)
        }


def _told(chunk: Record) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(chunk).items() if name not in OWN}
