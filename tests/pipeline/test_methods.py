"""Methods in the pipeline: whole documents, sizes of parts, one choice for all parts, children, refused parameters."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gristmill.base.errors import SettingsError
from gristmill.pipeline.index import embedded_text
from gristmill.pipeline.parser_config import KNOWN, REFUSED, chunk_settings, read_settings
from gristmill.pipeline.settings import IngestSettings
from gristmill.ports.chunker import ChunkSettings
from gristmill.ports.document import Chunk
from gristmill.ports.parser import ReadSettings
from pipeline.home import Home, csv, paragraphs, pdf

pytestmark = pytest.mark.anyio


def wanting(method: str, **chunk: Any) -> IngestSettings:
    return IngestSettings(method=method, embedder="lexical", chunk=ChunkSettings(**chunk))


@pytest.mark.parametrize(("method", "parts"), [("naive", 4), ("paper", 3), ("one", 4), ("knowledge_graph", 4)])
async def test_a_method_says_how_many_pages_are_read_at_a_time(home: Home, method: str, parts: int) -> None:
    document = await home.ingest(pdf(home.files / "long.pdf", 25), wanting(method))
    assert home.ports.catalog.run(document.run_id).parts == parts
    text = " ".join(chunk.content for chunk in home.chunks(document))
    assert all(f"Page {n} tells" in text for n in range(1, 26))


async def test_the_pages_that_a_user_sets_go_before_those_of_the_method(home: Home) -> None:
    settings = IngestSettings(method="paper", embedder="lexical", pages_per_part=5)
    document = await home.ingest(pdf(home.files / "long.pdf", 25), settings)
    assert home.ports.catalog.run(document.run_id).parts == 6


async def test_only_the_pages_that_are_wanted_are_read(home: Home) -> None:
    path = pdf(home.files / "long.pdf", 25)
    for wanted, pages in ((((2, 3), (20, 99)), [2, 3, *range(20, 26)]), (((25, 25),), [25]), ((), list(range(1, 26)))):
        document = await home.ingest(path, msgspec.structs.replace(wanting("naive"), read=ReadSettings(pages=wanted)))
        assert sorted({page for chunk in home.chunks(document) for page in chunk.pages}) == pages
        text = " ".join(chunk.content for chunk in home.chunks(document))
        assert [n for n in range(1, 26) if f"Page {n} tells" in text] == pages
        assert document.pages == len(pages)
    none = await home.ingest(path, msgspec.structs.replace(wanting("naive"), read=ReadSettings(pages=((26, 30),))))
    assert none.failure is not None
    assert none.failure.type == "EmptyDocument"


async def test_all_parts_take_the_method_that_the_first_calls_for_and_the_log_says_why(home: Home) -> None:
    rows = "question,answer\n" + "".join(f"Who is {n}?,number {n}\n" for n in range(25))
    document = await home.ingest(home.write("faq.csv", rows), wanting("auto"))
    assert all(chunk.content.startswith("Question: Who is") for chunk in home.chunks(document))
    assert len(home.chunks(document)) == 25
    said = [line.message for line in home.ports.catalog.logs(document.run_id) if line.stage == "chunk"]
    assert said == ["method qa: its columns are questions and answers"]


async def test_a_choice_is_looked_up_when_the_document_comes_again(home: Home) -> None:
    path = home.write("table.csv", csv(30))
    first = await home.ingest(path, wanting("auto"))
    parsed = len(home.parsed)
    again = await home.ingest(path, wanting("auto"), again=True)
    assert len(home.parsed) == parsed
    assert [chunk.content for chunk in home.chunks(again)] == [chunk.content for chunk in home.chunks(first)]


async def test_children_are_found_and_their_parent_is_not(home: Home) -> None:
    document = await home.ingest(home.write("a.txt", paragraphs(2)), wanting("naive", children_delimiter="\n"))
    assert [chunk.content for chunk in home.chunks(document)] == paragraphs(2).split("\n\n")
    assert sum(home.stored().values()) == 3, "the parent is stored, too"
    assert len(home.embedder.texts) == 2, "a parent costs no vector"
    assert home.parents(document) == [paragraphs(2).replace("\n\n", "\n")] * 2


async def test_children_know_their_parent_whoever_embeds_them(home: Home) -> None:
    text = "\n\n".join(f"{paragraphs(5)} In chapter {n}." for n in range(4))
    cut = wanting("naive", children_delimiter="\n", chunk_token_num=90)
    expected = home.parents(await home.ingest(home.write("a.txt", text), cut))
    assert len(set(expected)) > 1
    sliced = msgspec.structs.replace(cut, chunks_per_part=2)
    document = await home.ingest(home.write("a.txt", text), sliced, again=True)
    assert home.ports.catalog.run(document.run_id).parts > 2
    assert home.parents(document) == expected
    assert home.ports.docstore.check(home.space) == []


def test_a_vector_is_of_the_questions_that_a_text_answers_but_does_not_ask() -> None:
    assert embedded_text(Chunk("It ends.", 2)) == "It ends."
    assert embedded_text(Chunk("It ends.", 2, questions=["When?", "How?"])) == "When?\nHow?"
    assert embedded_text(Chunk("Question: When?\tAnswer: Now.", 4, questions=["When?"])).endswith("Now.")


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({"chunk_token_num": 128}, "chunk_token_num", 128),
        ({"children_delimiter": r"\n"}, "children_delimiter", "\n"),
        ({"parent_child": {"use_parent_child": True, "children_delimiter": r"\n"}}, "children_delimiter", "\n"),
        ({"parent_child": {"use_parent_child": False, "children_delimiter": "x"}}, "children_delimiter", ""),
        ({"html4excel": True, "raptor": {"use_raptor": False}, "auto_keywords": 0, "topn_tags": 3}, "html4excel", True),
        ({"table_column_roles": {"a": "vectorize"}}, "table_column_roles", {"a": "indexing"}),
        ({"table_column_mode": "manual", "table_column_roles": {"a": "both"}}, "table_column_roles", {"a": "both"}),
        ({"table_column_mode": "auto", "table_column_roles": {"a": "metadata"}}, "table_column_roles", {}),
        ({"layout_recognize": "DeepDOC", "pages": [[1, 2]], "llm_id": ""}, "chunk_token_num", 512),
    ],
    ids=str,
)
def test_the_sources_parameters_are_understood(config: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(chunk_settings(config, ChunkSettings()), field) == value


@pytest.mark.parametrize(
    ("config", "pages"),
    [
        ({}, ((7, 7),)),
        ({"pages": [[3, 4], [1, 1]]}, ((1, 1), (3, 4))),
        ({"pages": []}, ()),
        ({"pages": [[1, 100_000]]}, ()),
        ({"pages": [[1, 1_000_000]]}, ()),
    ],
    ids=str,
)
def test_pages_are_ranges_and_none_are_all(config: dict[str, Any], pages: tuple[tuple[int, int], ...]) -> None:
    assert read_settings(config, ReadSettings(pages=((7, 7),))).pages == pages


@pytest.mark.parametrize(
    "pages", [[[0, 3]], [[3, 2]], [[1]], "1-3", 3, [["1", "2"]], [[1, 2]] * 101, {"a": 1}], ids=str
)
def test_what_is_no_range_of_pages_is_refused(pages: Any) -> None:
    with pytest.raises(SettingsError, match="pages="):
        read_settings({"pages": pages}, ReadSettings())


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_a_parameter_that_cannot_be_honoured_is_refused_with_its_reason(key: str) -> None:
    with pytest.raises(SettingsError, match=f"{key}=.*cannot be honoured: .{{20}}"):
        chunk_settings({key: ["x"]}, ChunkSettings())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"chunk_tokens": 3}, "no parameter 'chunk_tokens'; known: " + ", ".join(KNOWN)),
        ({"chunk_token_num": 0}, "chunk_token_num=0: "),
        ({"overlapped_percent": "much"}, "overlapped_percent='much': "),
        ({"table_column_roles": {"a": "hidden"}}, "table_column_roles.a='hidden': "),
        ({"table_column_roles": "a"}, "table_column_roles='a': "),
    ],
    ids=str,
)
def test_what_is_unknown_or_out_of_bounds_is_named(config: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        chunk_settings(config, ChunkSettings())
    assert says in str(caught.value)
