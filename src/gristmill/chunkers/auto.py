"""The method ``auto``: the method that a document's content calls for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from gristmill.chunkers import CHUNKERS
from gristmill.chunkers.families import DECIMAL, ENGLISH, LAW, bullet
from gristmill.chunkers.signs import (
    ABSTRACT,
    ANSWER,
    ANSWERS,
    EMAIL,
    PHONE,
    QUESTION,
    QUESTIONS,
    REFERENCES,
    TAGS,
    is_contents,
    resume_part,
)
from gristmill.ports.chunker import Choice, Chunker, ChunkSettings, TokenCount
from gristmill.ports.document import Block, Chunk, ParsedDocument

_SECTION, _ARTICLE = 3, 4  # the depths of sections in English laws, of articles in Chinese ones
_PAIR = 2  # columns
_COMMA = re.compile("[,，、;；]")
_ABSTRACT = re.compile(r"\s*(?:abstract|摘\s*要)\s*(?:[.:：—–-]\s*|$)", re.I)
_FEWEST = {"articles": 5, "dense": 3, "questions": 3, "chapters": 3, "numbered": 6, "pages": 3, "parts": 2, "rows": 3}
_EARLY, _FIRST = 64, 16  # lines among which an abstract is, and among which it needs no references
_SHORT = 4  # pages of a resume, at most
_FEW_WORDS = 120  # on a page that is a slide
_PAPER_FORMATS = frozenset(("pdf", "docx", "doc", "odf", "rtf", "text"))
_LONG_LINE = 200  # characters
_MANY_WORDS = 500  # of a chapter that is alone
_TAG_WORDS = 4  # of a tag, at most
_TEXT_WORDS = 6  # of a text that has tags, on average
_NUMBERED = re.compile(r"(?:(?<=\s)|^)[0-9]{1,3}[.、)]\s?[^?？\n]{3,200}[?？]")
_PERSON = re.compile(r"(?:姓\s*名|name|born|date of birth|出\s*生(?:日期|年月)?)\s*[:：]", re.I)
_LEARNT_OR_DONE = frozenset(("Education", "Work"))
_ARTICLES = re.compile(
    r"\s*(?:(?:article\.?|amendment|artikel|art\.|sec\.)\s|§\s*[0-9])", re.I
)  # no "Section 3" of a manual


@dataclass
class _Look:
    """A document as the rules see it."""

    document: ParsedDocument

    @property
    def blocks(self) -> Sequence[Block]:
        return self.document.blocks

    @cached_property
    def lines(self) -> list[str]:
        """Every line of text, markers included."""
        said = (f"{block.marker} {block.text}" if block.marker else block.text for block in self.blocks)
        return [line for text in said for line in text.split("\n") if line.strip()]

    @cached_property
    def headings(self) -> list[str]:
        return [block.text for block in self.blocks if block.kind == "heading"]

    @cached_property
    def tables(self) -> list[list[str]]:
        """The first row of each table, in small letters."""
        grids = (block.table.grid() for block in self.blocks if block.table is not None)
        return [[value.strip().lower() for value in grid[0]] for grid in grids if grid]

    def depths(self, family: int) -> list[int]:
        return [depth for line in self.lines if (depth := bullet(line, family))]


def _by_format(look: _Look) -> tuple[str, str] | None:
    kinds = {block.kind for block in look.blocks}
    if look.document.format == "email" or "mail_header" in kinds:
        return "email", "it is a mail message"
    if look.document.format in ("pptx", "ppt") or look.document.name.lower().endswith(".odp"):
        return "presentation", "it is a presentation"
    if look.document.format == "epub":
        return "book", "it is an e-book"
    if "speech" in kinds:
        return "audio", "it is speech"
    if look.blocks and all(block.source == "ocr" or block.kind == "figure" for block in look.blocks):
        pages = {block.page for block in look.blocks}
        return ("picture", "it is a picture") if len(pages) == 1 and look.document.format != "pdf" else None
    return None


def _by_table(look: _Look) -> tuple[str, str] | None:
    if not look.tables or look.document.format not in ("csv", "xlsx", "xls"):
        return None
    header = set(look.tables[0])
    if header & QUESTIONS and header & ANSWERS:
        return "qa", "its columns are questions and answers"
    if len(header) == 2 and header & TAGS:
        return "tag", "its columns are texts and their tags"
    grid = next(block.table.grid() for block in look.blocks if block.table is not None)
    asked = sum(1 for row in grid if row and row[0].rstrip().endswith(("?", "？")))
    if len(grid[0] if grid else []) == 2 and asked * 2 >= len(grid) and asked >= _FEWEST["questions"]:
        return "qa", f"{asked} of its {len(grid)} rows begin with a question"
    if _is_tagged(grid):
        return "tag", "its rows are texts, each with a few words"
    return "table", "it is a table"


def _is_tagged(grid: Sequence[Sequence[str]]) -> bool:
    """Whether each row is a text and its tags: of no more than four words each, parted by commas in some of the rows."""
    if len(grid) < _FEWEST["rows"] or any(len(row) != _PAIR for row in grid):
        return False
    tags = [[tag.strip() for tag in _COMMA.split(row[1])] for row in grid]
    short = all(tag and len(tag.split()) <= _TAG_WORDS and not tag.isdecimal() for found in tags for tag in found)
    words = sum(len(row[0].split()) + sum(char > "\u2e7f" for char in row[0]) for row in grid)
    return short and any(len(found) > 1 for found in tags) and words >= _TEXT_WORDS * len(grid)


def _laws(look: _Look) -> tuple[str, str] | None:
    chinese = sum(1 for depth in look.depths(LAW) if depth == _ARTICLE)
    english = sum(1 for line in look.lines if _ARTICLES.match(line) and bullet(line, ENGLISH))
    if english:  # beside articles, what is called a section is one of a law
        english += sum(1 for line in look.lines if not _ARTICLES.match(line) and bullet(line, ENGLISH) == _SECTION)
    found = max(chinese, english)
    dense = found >= _FEWEST["dense"] and found * 5 >= len(look.lines)
    if dense or (found >= _FEWEST["articles"] and found * 10 >= len(look.lines)):
        return "laws", f"{found} of its {len(look.lines)} lines begin an article"
    return None


def _qa(look: _Look) -> tuple[str, str] | None:
    asked = sum(1 for text in look.headings if text.rstrip().endswith(("?", "？")))
    if asked >= _FEWEST["questions"] and asked * 2 >= len(look.headings):
        return "qa", f"{asked} of its {len(look.headings)} headings are questions"
    labelled = sum(1 for line in look.lines if QUESTION.match(line))
    if labelled >= _FEWEST["questions"] and sum(1 for line in look.lines if ANSWER.match(line)) * 2 >= labelled:
        return "qa", f"{labelled} of its lines are labelled as questions"
    numbered = sum(len(_NUMBERED.findall(line)) for line in look.lines)
    if numbered >= _FEWEST["questions"] and numbered * 2 >= len(look.lines):
        return "qa", f"{numbered} of its questions are numbered"
    return None


def _pairs(look: _Look) -> tuple[str, str] | None:
    """Lines that a tab parts in two."""
    rows = [line.split("\t") for line in look.lines]
    if look.document.format != "text" or not _is_tagged(rows):
        return None
    return "tag", "its lines are texts, each with a few words behind a tab"


def _resume(look: _Look) -> tuple[str, str] | None:
    parts = {part for line in look.lines if (part := resume_part(line))}
    text = "\n".join(look.lines[:_EARLY])
    if len(parts) < _FEWEST["parts"] or len(look.document.pages) > _SHORT:
        return None
    if EMAIL.search(text) or PHONE.search(text):
        return "resume", f"it has an address and the parts {', '.join(sorted(parts))}"
    if _PERSON.search(text) and parts >= _LEARNT_OR_DONE:
        return "resume", f"it tells who somebody is, and has the parts {', '.join(sorted(parts))}"
    return None


def _paper(look: _Look) -> tuple[str, str] | None:
    abstract = look.document.format in ("pdf", "docx") and any(ABSTRACT.match(line) for line in look.lines[:_EARLY])
    if abstract and any(REFERENCES.fullmatch(line) for line in look.lines if len(line) <= _LONG_LINE):
        return "paper", "it has an abstract and references"
    if any(_ABSTRACT.fullmatch(line) or _is_abstract(line) for line in look.lines[:_FIRST]):
        return "paper", "it begins with an abstract"
    return None


def _is_abstract(line: str) -> bool:
    """Whether a paragraph is an abstract and says so."""
    return bool(_ABSTRACT.match(line)) and len(line) > _LONG_LINE and line[:1].isupper()


def _slides(look: _Look) -> tuple[str, str] | None:
    pages = look.document.pages
    wide = all(page.width > page.height > 0 for page in pages)
    if len(pages) >= _FEWEST["pages"] and wide and sum(map(len, map(str.split, look.lines))) < _FEW_WORDS * len(pages):
        return "presentation", f"its {len(pages)} pages are wide and have few words"
    return None


def _book(look: _Look) -> tuple[str, str] | None:
    chapters = sum(1 for text in look.headings if bullet(text, ENGLISH) == 2 or bullet(text, LAW) == 2)
    if chapters >= _FEWEST["chapters"]:
        return "book", f"it has {chapters} chapters"
    words = sum(len(line.split()) for line in look.lines)
    if chapters and chapters == len(look.headings) and words >= _MANY_WORDS:
        return "book", f"its headings are those of {chapters} chapters"
    return None


def _contents(look: _Look) -> tuple[str, str] | None:
    if look.document.format not in _PAPER_FORMATS:  # web pages have lists of contents for other reasons
        return None
    if len(look.headings) >= _FEWEST["chapters"] and any(is_contents(line) for line in look.lines[:_EARLY]):
        return "book", "it has a table of contents"
    return None


def _manual(look: _Look) -> tuple[str, str] | None:
    numbered = [depth for text in look.headings if (depth := bullet(text, DECIMAL))]
    if len(numbered) >= _FEWEST["numbered"] and len(set(numbered)) > 1:
        return "manual", f"{len(numbered)} of its headings are numbered, at {len(set(numbered))} depths"
    return None


_RULES: tuple[Callable[[_Look], tuple[str, str] | None], ...] = (
    _by_format, _by_table, _laws, _resume, _qa, _pairs, _paper, _slides, _book, _manual, _contents,
)  # fmt: skip


class AutoChunker(Chunker):
    """The first method that a rule finds reason for, else ``naive``. The reason is in the run's log.

    In this order: the format (mail, presentation, e-book, speech, picture), the columns of a table, articles, the parts of a
    resume, questions, an abstract, wide pages with few words, chapters, numbered headings, a table of contents. Of a
    document that comes in windows the first is judged.
    """

    name: ClassVar[str] = "auto"
    version: ClassVar[int] = 2
    chooses: ClassVar[bool] = True

    def choose(self, document: ParsedDocument) -> Choice:
        look = _Look(document)
        for rule in _RULES:
            found = rule(look)
            if found is not None:
                return Choice(*found)
        return Choice("naive", "it has the structure of no other method")

    def chunk(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> list[Chunk]:
        return CHUNKERS.load(self.choose(document).method)().chunk(document, settings, count)
