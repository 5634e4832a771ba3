"""The contract of parsers: subclass it in a test module, give it a ``parser`` and a valid ``sample``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from gristmill.base.errors import DocumentError, DocumentTooLarge, EmptyDocument
from gristmill.ports.document import ParsedDocument, Range, decode_parsed, encode_parsed
from gristmill.ports.parser import PageParser, ParseLimits, Parser, RowParser, Source, together

LIMITS = ParseLimits()
_CUTS = 24
_MUTATIONS = 40
_INK = 128  # a darker pixel is part of a letter


class FakeOcr:
    """Stands in for the engine of ``gristmill.parsers.ocr``: finds one line, ``words``, around whatever ink a picture has."""

    def __init__(self, words: str = "words in a picture") -> None:
        self.words = words
        self.seen: list[tuple[int, ...]] = []  # the shapes of the pictures

    def __call__(self, picture: Any) -> FakeOcrResult:
        self.seen.append(picture.shape)
        rows, columns = (picture.min(axis=2) < _INK).nonzero()
        if not len(rows):
            return FakeOcrResult(None, None, None)
        x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return FakeOcrResult([[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]], (self.words,), (0.9,))


@dataclass(frozen=True)
class FakeOcrResult:
    """What the engine answers: corners, texts and confidence of each line, or nothing at all."""

    boxes: list[list[tuple[int, int]]] | None
    txts: tuple[str, ...] | None
    scores: tuple[float, ...] | None
    flipped: bool = False  # whether most lines stand on their head


class ParserContract:
    """What every parser guarantees. A sample has text, and three pages or more where the parser counts any."""

    @pytest.fixture
    def parser(self) -> Parser:
        raise NotImplementedError("override this fixture: it gives the parser under test")

    @pytest.fixture
    def sample(self) -> Source:
        raise NotImplementedError("override this fixture: it gives a valid document")

    def test_it_says_who_it_is(self, parser: Parser) -> None:
        assert parser.name
        assert parser.version > 0
        assert parser.unit in ("", "page", "row")

    def test_a_valid_document_has_text_and_says_who_read_it(self, parser: Parser, sample: Source) -> None:
        document = parser.parse(sample, LIMITS)
        assert has_text(document)
        assert document.name == sample.name
        assert document.parser == f"{parser.name}/{parser.version}"

    def test_the_same_bytes_give_the_same_document(self, parser: Parser, sample: Source) -> None:
        assert encode_parsed(parser.parse(sample, LIMITS)) == encode_parsed(parser.parse(sample, LIMITS))

    def test_what_it_makes_can_be_stored(self, parser: Parser, sample: Source) -> None:
        document = parser.parse(sample, LIMITS)
        assert encode_parsed(decode_parsed(encode_parsed(document))) == encode_parsed(document)

    def test_cells_lie_inside_of_their_tables_and_pages_inside_of_the_document(
        self, parser: Parser, sample: Source
    ) -> None:
        document = parser.parse(sample, LIMITS)
        numbers = [page.number for page in document.pages]
        assert numbers == sorted(set(numbers))
        for block in document.blocks:
            assert not block.page or block.page in numbers
            assert {box.page for box in block.boxes} <= set(numbers)
            for cell in block.table.cells if block.table else ():
                assert 0 <= cell.row <= cell.row + cell.rowspan - 1 < block.table.rows  # type: ignore[union-attr]
                assert 0 <= cell.col <= cell.col + cell.colspan - 1 < block.table.cols  # type: ignore[union-attr]

    def test_headings_are_single_lines(self, parser: Parser, sample: Source) -> None:
        headings = [block for block in parser.parse(sample, LIMITS).blocks if block.kind in ("title", "heading")]
        assert all(block.text and "\n" not in block.text for block in headings)

    @pytest.mark.parametrize("size", [1, 2, 1000])
    def test_the_document_is_the_same_however_its_pages_were_parted(
        self, parser: Parser, sample: Source, size: int
    ) -> None:
        if isinstance(parser, PageParser):
            count = parser.count(sample, LIMITS)
            assert count >= 3
            parts = [Range(first, min(first + size, count)) for first in range(0, count, size)]
            joined = parser.join(sample.name, LIMITS, [parser.read(sample, LIMITS, part) for part in parts])
            assert encode_parsed(joined) == encode_parsed(parser.parse(sample, LIMITS))

    def test_its_windows_together_are_the_document(self, parser: Parser, sample: Source) -> None:
        if isinstance(parser, RowParser):
            windows = together(parser.windows(sample, LIMITS))
            assert encode_parsed(windows) == encode_parsed(parser.parse(sample, LIMITS))

    @pytest.mark.parametrize(
        "data", [b"", b" ", b"\n\t \r\n", b"\xef\xbb\xbf"], ids=["none", "blank", "blanks", "mark"]
    )
    def test_nothing_is_no_document(self, parser: Parser, sample: Source, data: bytes) -> None:
        source = Source(sample.name, data)
        with pytest.raises(DocumentError) as caught:
            parser.parse(source, LIMITS)
        assert sample.name in str(caught.value)
        if not data:
            assert isinstance(caught.value, EmptyDocument)

    def test_cut_off_anywhere_it_is_read_or_named_as_damaged(self, parser: Parser, sample: Source) -> None:
        size = len(sample.data)
        for cut in {1, 2, 8, size - 1, *(size * n // _CUTS for n in range(1, _CUTS))}:
            check(parser, Source(sample.name, sample.data[:cut]))

    @pytest.mark.parametrize("seed", range(2))
    def test_damaged_anywhere_it_is_read_or_named_as_damaged(self, parser: Parser, sample: Source, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - not a secret
        for _ in range(_MUTATIONS):
            data = bytearray(sample.data)
            for _ in range(dice.randint(1, 12)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            check(parser, Source(sample.name, bytes(data)))

    def test_random_bytes_are_read_or_named_as_damaged(self, parser: Parser, sample: Source) -> None:
        for seed in range(_MUTATIONS // 2):
            check(parser, Source(sample.name, random.Random(seed).randbytes(2_000)))  # noqa: S311
            check(parser, Source(sample.name, sample.data[:64] + random.Random(seed).randbytes(2_000)))  # noqa: S311

    @pytest.mark.parametrize("limit", ["max_bytes", "max_text", "max_blocks"])
    def test_over_a_limit_it_says_which(self, parser: Parser, sample: Source, limit: str) -> None:
        if limit == "max_text" and not any(lines_of(parser.parse(sample, LIMITS))):
            return  # a recording
        with pytest.raises(DocumentTooLarge) as caught:
            parser.parse(sample, msgspec.structs.replace(LIMITS, **{limit: 0}))
        assert sample.name in str(caught.value)
        assert limit in str(caught.value)


def check(parser: Parser, source: Source) -> ParsedDocument | DocumentError:
    """Whatever the bytes are: a document with text, or an error that names the document."""
    outcome = _outcome(parser, source)
    if isinstance(outcome, DocumentError):
        assert source.name in str(outcome), f"the error does not name the document: {outcome}"
    else:
        assert has_text(outcome), "a document without text is no success"
    return outcome


def _outcome(parser: Parser, source: Source) -> ParsedDocument | DocumentError:
    try:
        return parser.parse(source, LIMITS)
    except DocumentError as exc:
        return exc


def has_text(document: ParsedDocument) -> bool:
    """Whether there is anything to search for in it, or to be heard or seen by a model."""
    read = document.format in ("audio", "image") and any(block.asset for block in document.blocks)
    return read or any(True for _ in lines_of(document)) or any(map(has_text, document.children))


def lines_of(document: ParsedDocument) -> Iterator[str]:
    """The texts and the rows of a document."""
    for block in document.blocks:
        if block.table is None:
            if block.text.strip():
                yield block.text
            continue
        rows: list[list[str]] = [[] for _ in range(block.table.rows)]
        for cell in block.table.cells:
            rows[cell.row].append(cell.text)
        yield from (" | ".join(row) for row in rows if any(row))
