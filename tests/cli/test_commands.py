"""Looking and upkeep: status, tasks, documents, datasets, doctor, config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Cli, write
from gristmill.base import sqlite
from gristmill.base.settings import load_settings
from gristmill.cli.main import COMMANDS, run
from gristmill.wiring import TENANT, open_catalog

SECRET = "sk-0123456789abcdef"


def test_help_names_every_command_and_option(cli: Cli) -> None:
    out = cli("--help").out
    assert all(f"  {name} " in out for name in COMMANDS)
    for name in COMMANDS:
        said = cli(name, "--help")
        assert said.code == 0
        assert said.out.startswith(f"Usage: gristmill {name} ")


def test_no_command_is_a_question_for_help(cli: Cli) -> None:
    assert cli().code == 2
    assert cli("nonsense").code == 2


@pytest.mark.parametrize("home", ["file", "file/below", "/proc/nowhere"])
def test_a_home_that_cannot_be_is_named(tmp_path: Path, home: str, cli: Cli) -> None:
    (tmp_path / "file").write_text("no folder")
    cli.home = tmp_path / home
    said = cli("status")
    assert said.code == 2
    assert str(cli.home) in said.err
    assert "--home" in said.err


def test_errors_are_json_where_json_was_asked_for(cli: Cli) -> None:
    said = cli("datasets", "show", "no\x1bwhere", "--json")
    assert said.code == 2
    assert said.json["error"]["type"] == "NotFound"
    assert "\x1b" not in said.out + said.err


# -- status


def test_status_counts(filled: Cli) -> None:
    told = filled("status", "--json").json
    assert [(one["name"], one["documents"], one["chunks"]) for one in told["datasets"]] == [("d", 4, 3)]
    assert told["documents"] == {"done": 3, "failed": 1}
    out = filled("status").out
    assert f"home: {filled.home}" in out
    assert "documents: 3 done, 1 failed" in out


# -- tasks


def test_tasks_are_listed_shown_and_forgotten(filled: Cli) -> None:
    every = filled("tasks", "list", "--json").json
    assert {"pipeline.plan", "pipeline.part"} <= {one["task"] for one in every}
    failed = filled("tasks", "list", "--state", "failed", "--json").json
    assert [one["task"] for one in failed] == ["pipeline.plan"]
    assert failed[0]["error"]["type"] == "DamagedDocument"
    assert failed[0]["id"] in filled("tasks", "list").out
    shown = filled("tasks", "show", failed[0]["id"], "--json").json
    assert shown == failed[0]
    assert "DamagedDocument" in filled("tasks", "show", failed[0]["id"]).out
    assert filled("tasks", "dead", "--json").json == []
    assert filled("tasks", "purge", "--state", "failed", "--json").json == {"forgotten": 1}
    assert filled("tasks", "list", "--state", "failed", "--json").json == []
    assert filled("tasks", "purge").out.endswith(" tasks forgotten\n")
    assert filled("tasks", "list", "--json").json == []


def test_an_id_may_be_shortened_but_not_beyond_doubt(filled: Cli) -> None:
    ids = [one["id"] for one in filled("tasks", "list", "--json").json]
    assert filled("tasks", "show", ids[0][:-1], "--json").json["id"] in ids
    many = filled("tasks", "show", ids[0][:2])
    assert (many.code, "several tasks" in many.err) == (2, True)
    none = filled("tasks", "show", "zzz")
    assert (none.code, "no task" in none.err) == (2, True)


def test_a_task_is_repeated_and_cancelled(filled: Cli) -> None:
    [failed] = filled("tasks", "list", "--state", "failed", "--json").json
    [again] = filled("tasks", "retry", failed["id"], "--json").json
    assert filled("tasks", "show", again, "--json").json["state"] == "queued"
    assert filled("tasks", "cancel", again, "--json").json == [again]
    assert filled("tasks", "show", again, "--json").json["state"] == "cancelled"


# -- documents


def test_documents_are_listed_with_what_became_of_them(filled: Cli) -> None:
    listed = filled("documents", "list", "--json").json
    assert all(set(one) >= {"document_id", "name", "dataset", "status", "chunks"} for one in listed)
    told = {one["name"]: (one["status"], one["chunks"]) for one in listed}
    assert told == {
        "leases.md": ("done", 1),
        "deep/drain.txt": ("done", 1),
        "table.csv": ("done", 1),
        "broken.pdf": ("failed", 0),
    }
    assert filled("documents", "list", "--dataset", "d", "--json").json == listed
    assert filled("documents", "list", "--dataset", "nowhere").code == 2
    assert "leases.md" in filled("documents", "list").out


def test_chunks_come_in_order_with_their_places(filled: Cli) -> None:
    [chunk] = filled("documents", "chunks", "leases.md", "--json").json
    assert set(chunk) >= {"chunk_id", "content", "pages", "positions", "kind"}
    assert "fencing token" in chunk["content"]
    assert "fencing token" in filled("documents", "chunks", "leases.md").out


def test_chunks_and_hits_have_the_sources_names_beside_ours(filled: Cli) -> None:
    [chunk] = filled("documents", "chunks", "table.csv", "--json").json
    hit = filled("search", "slot", "--document", "table.csv", "--json").json[0]
    exported = filled("documents", "export", "table.csv").rows[0]
    for one in (chunk, hit, exported):
        assert one["content_with_weight"] == one["content"]
        assert one["id"] == one["chunk_id"] == chunk["chunk_id"]
        assert one["kb_id"] == hit["dataset_id"]
        assert one["doc_id"] == hit["document_id"] == exported["document_id"]
        assert (one["docnm_kwd"], one["title_tks"]) == ("table.csv", "table")
        assert (one["position_int"], one["chunk_order_int"]) == ([[1, 0, 0, 0, 0]], 0)


def test_a_document_is_found_by_id_its_beginning_name_or_path(filled: Cli, folder: Path) -> None:
    [wanted] = [one for one in filled("documents", "list", "--json").json if one["name"] == "leases.md"]
    for name in (wanted["document_id"], wanted["document_id"][:8], "leases.md", str(folder / "leases.md")):
        assert filled("documents", "show", name, "--json").json["document_id"] == wanted["document_id"]
    assert filled("documents", "show", "").code == 2
    said = filled("documents", "show", "broken.pdf")
    assert said.code == 0
    assert "DamagedDocument" in said.out


def test_export_writes_a_line_for_each_chunk(filled: Cli, tmp_path: Path) -> None:
    rows = filled("documents", "export").rows
    assert {row["document"] for row in rows} == {"leases.md", "deep/drain.txt", "table.csv"}
    file = tmp_path / "out.jsonl"
    assert filled("documents", "export", "leases.md", "--output", file).out == ""
    assert [json.loads(line)["document"] for line in file.read_text().splitlines()] == ["leases.md"]
    assert filled("documents", "export", "--output", tmp_path / "nowhere" / "out.jsonl").code == 1


def test_a_deleted_document_is_gone_and_comes_back_when_it_is_ingested(filled: Cli, folder: Path) -> None:
    assert filled("search", "fencing", "--legs", "terms", "--json").json != []
    [told] = filled("documents", "delete", "leases.md", "--yes", "--json").json
    assert (told["name"], told["status"]) == ("leases.md", "deleted")
    assert filled("search", "fencing", "--legs", "terms", "--json").json == []
    said = filled.ingest(folder)
    assert {Path(one["path"]).name for one in said.rows[:-1] if one["status"] == "done"} == {"leases.md"}
    assert filled("search", "fencing", "--legs", "terms", "--json").json != []


def test_deleting_asks_first(filled: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.confirm", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    for words in (["documents", "delete", "leases.md"], ["datasets", "delete", "d"]):
        assert filled(*words).code == 130
    assert len(filled("documents", "list", "--json").json) == 4


def test_a_document_is_queued_anew_and_cancelled(filled: Cli) -> None:
    [told] = filled("documents", "retry", "leases.md", "--json").json
    assert told["status"] == "queued"
    assert filled("documents", "show", "leases.md", "--json").json["status"] == "queued"
    assert filled("search", "fencing", "--legs", "terms", "--json").json != [], "the old chunks answer meanwhile"
    filled("documents", "cancel", "leases.md")
    shown = filled("documents", "show", "leases.md", "--json").json
    assert (shown["status"], shown["chunks"]) == ("cancelled", 1)


def test_a_retry_keeps_method_and_parameters_but_for_what_is_given(filled: Cli, folder: Path) -> None:
    def latest() -> tuple[str, int, str]:
        catalog = open_catalog(load_settings(home=filled.home))
        [found] = [one for one in catalog.documents(TENANT) if one.name == "leases.md"]
        settings = catalog.run(found.run_id).settings
        catalog.close()
        return settings["method"], settings["chunk"].get("chunk_token_num", 512), settings["chunk"].get("delimiter", "")

    filled("documents", "retry", "leases.md", "--method", "book", "--set", "chunk_token_num=99", "--set", "delimiter=;")
    assert latest() == ("book", 99, ";")
    filled("documents", "retry", "leases.md")
    assert latest() == ("book", 99, ";")
    filled("documents", "retry", "leases.md", "--set", "chunk_token_num=88")
    assert latest() == ("book", 88, ";")
    for words, said in (
        (["--method", "x"], "no chunk method"),
        (["--set", "x=1"], "no parameter"),
        (["--set", "x"], "KEY=VALUE"),
    ):
        refused = filled("documents", "retry", "leases.md", *words)
        assert refused.code == 2
        assert said in refused.err
    assert latest() == ("book", 88, ";")


# -- datasets


def test_datasets_are_made_looked_at_and_deleted(filled: Cli) -> None:
    made = filled("datasets", "create", "new", "--embedder", "lexical", "--json").json
    assert (made["name"], made["documents"]) == ("new", 0)
    assert made == filled("datasets", "create", "new", "--json").json, "one that is there stays"
    assert {one["name"] for one in filled("datasets", "list", "--json").json} == {"d", "new"}
    assert filled("datasets", "show", "d", "--json").json["chunks"] == 3
    assert filled("datasets", "delete", "d", "--yes", "--json").json["status"] == "deleted"
    assert filled("documents", "list", "--json").json == []
    assert "new" in filled("datasets", "list").out
    assert filled("datasets", "show", "d").code == 2


# -- doctor


def test_a_healthy_home_has_no_damage(filled: Cli) -> None:
    said = filled("doctor", "--deep", "--json")
    assert (said.code, said.json["damages"]) == (0, [])
    assert filled("doctor").out.endswith("no damage found\n")


def test_the_models_that_read_are_named_and_half_an_endpoint_is_damage(
    filled: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = filled("doctor", "--json").json["facts"]
    assert [facts[f"{what} read by"] for what in ("speech", "pictures", "resumes and chunks")] == [
        "none",
        "none",
        "rules",
    ]
    monkeypatch.setenv("GRISTMILL_MODELS__TRANSCRIPTION__BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("GRISTMILL_MODELS__TRANSCRIPTION__MODEL", "whisper")
    monkeypatch.setenv("GRISTMILL_MODELS__VISION__PROVIDER", "openai")
    said = filled("doctor", "--json")
    assert said.json["facts"]["speech read by"] == "whisper at http://127.0.0.1:9/v1"
    assert [(one["kind"], one["where"]) for one in said.json["damages"]] == [("model", "vision")]
    assert said.code == 1


def test_planted_damage_is_named_with_its_document(filled: Cli) -> None:
    [wanted] = [one for one in filled("documents", "list", "--json").json if one["name"] == "leases.md"]
    [store] = filled.home.glob("kb/*/*.db")
    connection = sqlite.connect(store)
    connection.execute(
        "DELETE FROM vec WHERE rid = (SELECT rid FROM chunk WHERE document_id = ?)", (wanted["document_id"],)
    )
    connection.close()
    next(path for path in filled.home.glob("blobs/**/*") if path.name == wanted["digest"]).unlink()
    said = filled("doctor", "--deep", "--json")
    assert said.code == 1
    told = [one["message"] for one in said.json["damages"]]
    assert any("leases.md" in message and "bytes" in message for message in told), told
    assert any("vector" in message for message in told), told
    out = filled("doctor", "--deep").out
    assert out.count("DAMAGE") == len(told)
    assert filled("doctor").code == 0, "only the deep look reads everything"


# -- config


def test_settings_are_shown_with_their_origin_and_without_secrets(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path.cwd(), {"conf/service_conf.yaml": f"models:\n  embedding:\n    api_key: {SECRET}\n    model: small\n"})
    monkeypatch.setenv("GRISTMILL_PIPELINE__METHOD", "auto")
    shown = cli("config", "show", "--json").json
    assert shown["models.embedding.model"] == {"value": "small", "origin": "conf/service_conf.yaml:4"}
    assert shown["pipeline.method"] == {"value": "auto", "origin": "environment GRISTMILL_PIPELINE__METHOD"}
    assert shown["home"]["origin"] == "--home"
    for words in (["--json"], [], ["--all"]):
        said = cli("config", "show", *words)
        assert SECRET not in said.out + said.err
    assert "pipeline.dataset" not in cli("config", "show").out
    assert "pipeline.dataset" in cli("config", "show", "--all").out


def test_a_wrong_setting_is_named_with_its_line(cli: Cli) -> None:
    write(Path.cwd(), {"conf/service_conf.yaml": "pipeline:\n  chunk_token_num: many\n"})
    said = cli("status")
    assert said.code == 2
    assert "conf/service_conf.yaml:2: pipeline.chunk_token_num" in said.err


def test_the_home_comes_from_the_environment(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRISTMILL_HOME", str(tmp_path / "other"))
    assert run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["home"] == str(tmp_path / "other")
    assert cli("status", "--json").json["home"] == str(cli.home)
