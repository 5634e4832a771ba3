"""The reference is what the code is: generated pages are up to date, and JSON has the fields that its page names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from docs.blocks import ROOT
from gristmill.cli.main import run

JSON_PAGE = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
Output = Callable[..., list[Any]]


def test_generated_pages_are_up_to_date() -> None:
    """If this fails: python docs/generate.py"""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, text in generate.due().items():
        assert path.read_text(encoding="utf-8").splitlines() == text.splitlines()


def fields(section: str, table: int = 0) -> set[str]:
    """The names in the first column of a section's table."""
    text = JSON_PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    tables = re.findall(r"((?:^\|.*\n)+)", text, re.M)
    return set(re.findall(r"^\| `(\w+)` \|", tables[table], re.M))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a document was ingested and another one refused."""
    home = tmp_path_factory.mktemp("home")
    (home / "broken.zip").write_bytes(b"PK\3\4 no archive")
    return home


@pytest.fixture
def output(home: Path, capsys: pytest.CaptureFixture[str]) -> Output:
    """The JSON lines that a command prints."""

    def output(*arguments: str, code: int = 0) -> list[Any]:
        assert run(["--home", str(home), *arguments]) == code
        return [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]

    return output


@pytest.fixture
def ingested(home: Path, output: Output) -> list[Any]:
    files = [str(ROOT / "examples/corpus/parsing.md"), str(home / "broken.zip")]
    return output("ingest", *files, "--dataset", "d", "--embedder", "lexical", "--json", code=1)


def test_json_has_the_fields_that_its_page_names(ingested: list[Any], output: Output) -> None:
    *documents, summary = ingested
    assert [set(one) for one in documents] == [fields("ingest")] * 2
    assert set(summary["summary"]) == fields("ingest", 1)
    [hits] = output("search", "table", "--json")
    source = fields("Chunks under RAGFlow's names")
    assert set(hits[0]) == fields("search") | source
    [listed] = output("documents", "list", "--json")
    assert [set(one) for one in listed] == [fields("documents list")] * 2
    [shown] = output("documents", "show", "parsing.md", "--json")
    assert set(shown) == fields("documents list") | {"log"}
    assert set(shown["log"][0]) == {"at", "stage", "message", "part"}
    [chunks] = output("documents", "chunks", "parsing.md", "--json")
    assert set(chunks[0]) == fields("documents chunks") | source
    exported = output("documents", "export", "parsing.md")
    assert set(exported[0]) == fields("documents chunks") | source | {"document_id", "document", "dataset"}
    [cancelled] = output("documents", "cancel", "parsing.md", "--json")
    assert set(cancelled[0]) == fields("documents delete, retry, cancel")
    [datasets] = output("datasets", "list", "--json")
    assert set(datasets[0]) == fields("datasets list")
    [tasks] = output("tasks", "list", "--json")
    request = {"args", "key", "queue", "lane", "priority", "max_attempts"}
    assert all(fields("tasks list") - request <= set(one) <= fields("tasks list") | request for one in tasks)
    [status] = output("status", "--json")
    assert set(status) == fields("status")
    [doctor] = output("doctor", "--deep", "--json")
    assert set(doctor) == fields("doctor")
    [config] = output("config", "show", "--json")
    assert set(config["worker.slots"]) == {"value", "origin"}
    [error] = output("documents", "show", "nothing", "--json", code=2)
    assert set(error["error"]) == {"type", "message"}
