"""``gristmill search``: the shape of its answers, and its refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Cli, write
from gristmill.base.settings import load_settings
from gristmill.cli.search import marked
from gristmill.wiring import TENANT, open_catalog

KEYS = ["chunk_id", "document_id", "document", "content", "score", "term_score", "vector_score", "pages"]


def test_answers_come_in_the_shape_of_the_design_best_first(filled: Cli) -> None:
    said = filled("search", "fencing token", "--json")
    assert said.code == 0
    hits = said.json
    assert hits[0]["document"] == "leases.md"
    assert "fencing token" in hits[0]["content"]
    assert all(set(KEYS) <= set(hit) for hit in hits)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_people_see_document_score_and_text(filled: Cli) -> None:
    out = filled("search", "排空", "任务").out
    assert out.startswith("1. deep/drain.txt   ")
    assert "排空不会丢失任务" in out


@pytest.mark.parametrize("legs", ["hybrid", "terms", "vector"])
def test_each_leg_can_be_asked_alone(filled: Cli, legs: str) -> None:
    assert filled("search", "lease", "--legs", legs, "--json").json[0]["document"] == "leases.md"


def test_no_more_hits_than_asked_for(filled: Cli) -> None:
    assert len(filled("search", "a worker task lease slot", "--top-k", "1", "--json").json) == 1


def test_only_in_a_document_only_above_a_score_only_of_a_kind(filled: Cli) -> None:
    only = filled("search", "task", "--document", "deep/drain.txt", "--json").json
    assert {hit["document"] for hit in only} == {"deep/drain.txt"}
    everything = filled("search", "task lease", "--json").json
    best = filled("search", "task lease", "--threshold", "1", "--json").json
    assert 0 < len(best) < len(everything)
    assert {hit["kind"] for hit in filled("search", "task", "--kind", "table", "--json").json} <= {"table"}
    assert filled("search", "task", "--kind", "code", "--json").json == []
    words = filled("search", "task lease", "--vector-weight", "0", "--json").json
    assert [hit["score"] for hit in words] == [hit["term_score"] for hit in words]


def test_rows_are_asked_for_by_their_values_and_parents_by_their_children(cli: Cli, tmp_path: Path) -> None:
    rows = "mill,price,opened\nWater,10,1850-04-01\nWind,9.5,1901-01-01\nHorse,free,\n"
    files = write(tmp_path / "files", {"mills.csv": rows, "text.md": "One mill grinds.\nTwo mills grind more.\n"})
    assert cli.ingest(files / "mills.csv", "--method", "table").code == 0
    assert cli.ingest(files / "text.md", "--set", r"children_delimiter=\n").code == 0

    def found(*words: str) -> list[str]:
        return [hit["content"].split("\n")[0] for hit in cli("search", "mill", *words, "--json").json]

    assert found("--where", "price > 9.5") == ["- mill: Water"]
    assert found("--where", "price >= 9 and opened >= 1900") == ["- mill: Wind"]
    assert found("--where", "price >= 9", "--where", "mill != Wind") == ["- mill: Water"]
    assert found("--where", "price = free") == ["- mill: Horse"]
    assert found("--where", "mill = x; DROP TABLE chunk") == []
    [hit] = cli("search", "wind", "--where", "mill = Wind", "--json").json
    assert hit["fields"] == {"mill_raw": "Wind", "price_flt": 9.5, "opened_dt": "1901-01-01 00:00:00"}
    assert (hit["price_flt"], hit["mill_tks"]) == (9.5, "wind")
    [parent] = cli("search", "mills grind", "--document", "text.md", "--json").json
    children = cli("search", "mills grind", "--document", "text.md", "--children", "--json").json
    assert parent["content"] == "One mill grinds.\nTwo mills grind more."
    assert parent["children"] == [child["chunk_id"] for child in children]
    assert {child["mom_id"] for child in children} == {child["parent"] for child in children} == {parent["id"]}


def test_words_that_match_stand_out_where_the_output_is_a_terminal() -> None:
    bold, plain = "\x1b[33m\x1b[1m", "\x1b[0m"
    assert marked("Two leases: a LEASE ends", ["lease", "end"]) == f"Two leases: a {bold}LEASE{plain} ends"
    assert marked("著作权法", ["著作权"]) == f"{bold}著作权{plain}法"
    assert marked("nothing", ["lease"]) == "nothing"


def test_nothing_found_is_an_answer(filled: Cli) -> None:
    assert filled("search", "xylophone", "--legs", "terms", "--json").json == []
    said = filled("search", "xylophone", "--legs", "terms")
    assert (said.code, said.out) == (0, "Nothing found.\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "empty"),
        (["  \n "], "empty"),
        (["word", "--dataset", "nowhere"], "no dataset 'nowhere'; known: d"),
        (["word", "--top-k", "0"], "--top-k"),
        (["word", "--threshold", "2"], "--threshold"),
        (["word", "--document", "nowhere.md"], "no document 'nowhere.md' in d"),
        (["word", "--page", "5-3"], "range of pages"),
        (["word", "--page", "0"], "range of pages"),
        (["word", "--where", "price"], "COLUMN OP VALUE"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_answered_is_refused(filled: Cli, words: list[str], said: str) -> None:
    result = filled("search", *words)
    assert result.code == 2
    assert said in result.err


def test_an_empty_home_says_what_to_do_first(cli: Cli) -> None:
    said = cli("search", "anything")
    assert said.code == 2
    assert "gristmill ingest PATH" in said.err


def test_datasets_of_different_embedders_are_not_mixed(filled: Cli) -> None:
    catalog = open_catalog(load_settings(home=filled.home))
    other = catalog.create_dataset(TENANT, "other", embedder="openai:some", dim=3, settings={})
    catalog.close()
    said = filled("search", "lease", "--dataset", "d", "--dataset", other.name)
    assert said.code == 2
    assert "embedder" in said.err
