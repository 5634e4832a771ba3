"""The image at work, by its own build steps, as Kubernetes would run it: no root, nothing writable but home and /tmp."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest
from anyio import to_thread

from deploy.container import USER, Container, build
from deploy.reading import PATIENCE, ROOT, Step, dockerfile
from gristmill.testing.processes import settles
from gristmill.testing.servers.process import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.fault,  # it installs everything: a minute
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
anyio_backend = pytest.fixture(lambda: "asyncio")

HOME = "/var/lib/gristmill"
PUBLISH = f"""
import anyio
from gristmill.brokers import open_broker
from gristmill.testing import bodies

async def main():
    async with open_broker("sqlite:///{HOME}/broker.db") as broker:
        await broker.publish([bodies.passes_gate.message("{HOME}/ledger", "{HOME}/gate")])

anyio.run(main)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    build(folder, "all")
    return folder


@pytest.fixture
def port() -> int:
    return free_port()


async def saying(container: Container, what: str, times: int = 1) -> None:
    """Returns when its log says so. What ends before that is told with its log."""

    def said() -> bool:
        log = container.log.read_text(encoding="utf-8")
        found = log.count(f'"{what}"') >= times
        assert found or container.process.poll() is None, log
        return found

    await settles(said)


async def ended(container: Container) -> int:
    return await to_thread.run_sync(container.process.wait, PATIENCE)


def well(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_it_serves_drains_and_writes_to_its_home_alone(image: Path, port: int) -> None:
    with Container(
        image, ["up", "--workers", "2", "--slots", "1"], port=port, documents=ROOT / "examples"
    ) as container:
        await saying(container, "a worker is ready", 2)
        status = container.status()
        assert (status["NSpid"][-1], set(status["Uid"])) == ("1", {str(USER)})
        assert (status["NoNewPrivs"], status["CapEff"]) == (["1"], ["0" * 16])
        for place in ("/x", "/opt/gristmill/x", "/var/lib/x", "/etc/x"):
            refused = container.run("python", "-c", f"open({place!r}, 'w')")
            assert "Read-only file system" in refused.stderr or "Permission denied" in refused.stderr
        documents = ["/srv/corpus/history.txt", "/srv/corpus/handbook.pdf"]
        said = json.loads(well(container.run("gristmill", "ingest", *documents, "--json")).splitlines()[-1])
        assert (said["summary"]["done"], said["summary"]["failed"]) == (2, 0)
        assert json.loads(well(container.run("gristmill", "search", "mill", "--json")))
        check = Step(
            "CMD", next(s.rest for s in dockerfile()[-1] if s.word == "HEALTHCHECK").partition(" CMD ")[2]
        ).words
        well(container.run(*(word.replace("9381", str(port)) for word in check)))
        os.kill(container.pid, signal.SIGTERM)
        assert await ended(container) == 0
    assert "Traceback" not in container.log.read_text(encoding="utf-8")
    assert {path.stat().st_uid for path in (image / "home").rglob("*")} == {USER}


async def test_workers_of_own_tasks_end_what_runs_before_they_go(image: Path, port: int) -> None:
    words = ["worker", "--workers", "2", "--slots", "1", "--app", "gristmill.testing.bodies:app"]
    with Container(image, words, port=port, documents=ROOT / "examples") as container:
        await saying(container, "a worker is ready", 2)
        well(container.run("python", "-c", PUBLISH))
        ledger = image / "home" / "ledger"
        await settles(ledger.exists)
        os.kill(container.pid, signal.SIGTERM)
        await saying(container, "stopping")
        await anyio.Path(image / "home" / "gate").touch()
        assert await ended(container) == 0
    assert [line.split()[0] for line in ledger.read_text(encoding="utf-8").splitlines()] == ["start", "end"]


async def test_a_wrong_setting_ends_it_with_the_reason(image: Path, port: int) -> None:
    with Container(image, ["up", "--workers", "0"], port=port, documents=ROOT / "examples") as container:
        assert await ended(container) == 2
    assert "--workers" in container.log.read_text(encoding="utf-8")


async def test_no_tool_of_the_build_is_in_it(image: Path) -> None:
    there = {path.name for path in (image / "opt" / "gristmill" / "bin").iterdir()}
    assert "gristmill" in there
    assert not {name for name in there if name.startswith(("pip", "easy_install", "wheel"))}
