"""Every code block of the readme and of the docs does what its page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs.blocks import ROOT, blocks, script, setting_up
from gristmill.testing.fakes import FakeOpenAI
from gristmill.testing.servers.process import free_port

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [page for page in PAGES if any(block.language in ("bash", "python") for block in blocks(page))]
SOME = "corpus/handbook.pdf corpus/leases.pdf corpus/parsing.md corpus/history.txt corpus/代.pdf sources/history.txt".split()
LANGUAGES = {"bash", "python", "text", "json", "yaml", "toml", "ini"}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def install(place: Path, page: Path) -> None:
    """Have a package that a page describes count as installed."""
    for block in blocks(page):
        if block.title == "pyproject.toml":
            project = tomllib.loads(block.text)["project"]
            info = place / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
            lines = [
                f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
                for group, points in project["entry-points"].items()
            ]
            (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with some of the examples, as in a clone, and nothing else."""
    place = tmp_path / "clone"
    (place / "examples" / "corpus").mkdir(parents=True)
    (place / "examples" / "sources").mkdir()
    for name in SOME:
        shutil.copy(ROOT / "examples" / name, place / "examples" / name)
    return place


@pytest.mark.parametrize("page", RUN, ids=named)
def test_a_page_does_what_it_says(page: Path, place: Path, tmp_path: Path) -> None:
    install(place, page)
    with FakeOpenAI().running() as model:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
            "HOME": str(tmp_path),
            "GRISTMILL_HOME": str(tmp_path / "home"),
            "GRISTMILL_PIPELINE__EMBEDDER": "lexical",  # as good for this, and fast
            "GRISTMILL_RAGFLOW__HTTP_PORT": str(free_port()),  # others may use the usual ones
            "GRISTMILL_SUPERVISOR__HEALTH": f"127.0.0.1:{free_port()}",
            "EMBEDDING_URL": model.base_url,
            "PYTHONPATH": str(place),  # what the page calls installed is here
        }
        done = subprocess.run(
            ["bash", "-c", script(page)],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, f"{done.stderr[-4000:]}\n{done.stdout[-2000:]}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_blocks_say_what_language_they_are_in(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_targets_and_extras_that_a_page_names_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for found in setting_up(page):
        if found["target"]:
            assert f"\n{found['target']}:" in makefile
        if found["wanted"]:
            extras = found["wanted"].partition("[")[2].partition("]")[0].split(",")
            assert set(extras) <= set(project["optional-dependencies"])


def test_the_first_lines_of_code_of_the_readme_are_the_two_commands() -> None:
    assert blocks(ROOT / "README.md")[0].text == "make demo\nmake test\n"


def test_the_readme_lists_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{extra}` |" in readme for extra in project["optional-dependencies"])
