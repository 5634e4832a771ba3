"""The method ``resume``: who somebody is, and a chunk for each station."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import msgspec

from gristmill.chunkers.columns import LONGEST, Value, moment, number
from gristmill.chunkers.rows import blocks_of_lines
from gristmill.chunkers.sections import Section, SectionChunker
from gristmill.chunkers.signs import EMAIL, PHONE, resume_part
from gristmill.ports.chunker import ChunkSettings, TokenCount
from gristmill.ports.document import Block, ParsedDocument

_NAME = re.compile(r"(?:^|\n|\|)\s*(?:姓\s*名|name)\s*[:：]\s*([^\n|，,；;]{2,40})", re.I)
_GENDER = re.compile(r"(?:性\s*别|gender|sex)\s*[:：]\s*(男|女|male|female)|(?<![\w])(男|女)(?=\s*[，,|/\s])", re.I)
_AGE = re.compile(r"(?:年\s*龄|age)\s*[:：]\s*(\d{2})|(\d{2})\s*岁", re.I)
_BIRTH = re.compile(
    r"(?:出\s*生(?:日期|年月)?|born|(?:date of )?birth(?:day)?)\s*[:：]?\s*"
    r"(\d{4}\s*年(?:\s*\d{1,2}\s*月)?(?:\s*\d{1,2}\s*日)?|[\w .,/-]{3,20}\d)",
    re.I,
)
_YEARS = re.compile(
    r"(\d{1,2})\+?\s*(?:years?(?:'|’)?\s+(?:of\s+)?(?:\w+\s+){0,3}experience|年(?:以上)?(?:工作)?经[验历])", re.I
)
_SCHOOL = re.compile(
    r"((?:[A-Z][\w&.'-]+\s+){1,5}(?:University|College|Institute)(?:\s+of(?:\s+[A-Z]\w+){1,4})?"
    r"|University of(?:\s+[A-Z]\w+){1,3}|[\u4e00-\u9fff]{2,12}(?:大学|学院|学堂|专门学校))"
)
_OF = r"['’]?s?(?:\s+(?:of|in|degree)\b|\s*(?=[,，|;；]|$))"  # a degree, and nobody who masters something
_DEGREES = (
    ("PhD", re.compile(rf"(?-i:\bPh\.?\s?D\b)|\bDoctor(?:ate{_OF}|\s+of\b)|博士", re.I | re.M)),
    ("Master", re.compile(rf"\bMaster{_OF}|(?-i:\bM\.?Sc\b|\bMBA\b|\bM\.A\.|\bMA\s+in\b)|硕士|研究生", re.I | re.M)),
    (
        "Bachelor",
        re.compile(rf"\bBachelor{_OF}|(?-i:\bB\.?Sc\b|\bB\.?Eng\b|\bB\.A\.|\bBA\s+in\b)|本科|学士", re.I | re.M),
    ),
    ("College", re.compile(r"\bAssociate(?:['’]?s)? degree\b|大专|专科", re.I)),
)
_DATE = r"(?:(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z.]*\s+)?\d{4}(?:\s*[./年-]\s*\d{1,2}(?!\d))?\s*月?"
_PERIOD = re.compile(rf"{_DATE}\s*(?:-|–|—|~|至|到|to)+\s*(?:{_DATE}|present|now|today|current|至今|今)", re.I)
_SEVERAL = 2
_NUMBERS = ("Age", "Experience", "Graduation")
_LEADING = re.compile(r"\d{1,4}(?:\.\d{1,2})?")
_OF_MODEL = "resume:"  # before the labels of such fields in a document's meta
_STATIONS = ("Work", "Projects", "Education")
_MOST_NAME = 4  # words
_HEADED = re.compile(
    r"个人简历|簡歷|简历|履歴書|\b(?:resum[eé]|résumé|curriculum vitae|cv|lebenslauf)\b(?:\s+of\b)?", re.I
)


class ResumeChunker(SectionChunker):
    """What rules can tell of a person as a chunk of fields, then a chunk for each part, and for each station in it.

    Name, phone, email, gender, age, birth, school, highest degree and years of experience are taken from where they are
    written; nothing is computed or guessed from other facts. Fields that a model found (``meta``) go before those. Every
    chunk ends with who it is about, and has what is known of the person as its fields, too. Stations begin at a line with a
    period ("2019 - 2023").
    """

    name: ClassVar[str] = "resume"
    version: ClassVar[int] = 3
    whole: ClassVar[bool] = True

    def sections(self, document: ParsedDocument, settings: ChunkSettings, count: TokenCount) -> Iterator[Section]:
        lines = list(blocks_of_lines(document.blocks))
        parts = list(_parts(lines))
        fields = _fields(lines, [line for label, blocks in parts if label == "Education" for line in blocks])
        fields |= _of_model(document)
        about = _about(fields)
        for section in _sections(parts, fields, about):
            yield replace(section, fields=_values(fields))


def _sections(parts: Sequence[tuple[str, list[Block]]], fields: dict[str, str], about: str) -> Iterator[Section]:
    for label, blocks in parts:
        if not label:
            yield _basic(fields, blocks)
        elif label in _STATIONS:
            yield from (Section(one, [label], below=about) for one in _stations(blocks))
        else:
            yield Section(blocks, [label], below=about)


def _parts(lines: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """The parts of the resume in their order, each with its heading; the first, without a label, is the person's."""
    label, taken = "", list[Block]()
    for line in lines:
        found = resume_part(line.text)
        if found and found != "Basic Info":
            yield label, taken
            label, taken = found, []
        taken.append(line)
    yield label, taken


def _stations(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """A part's heading goes with its first station."""
    taken: list[Block] = []
    dated = False
    for block in (part for one in blocks for part in _by_period(one)):
        begins = block.table is None and bool(_PERIOD.search(block.text))
        if begins and dated:
            yield taken
            taken = []
        dated = dated or begins
        taken.append(block)
    yield taken


def _by_period(block: Block) -> Iterator[Block]:
    """A line that begins with a period, parted before each further one: stations that a parser took for one paragraph."""
    starts = [match.start() for match in _PERIOD.finditer(block.text)]
    if block.table is not None or len(starts) < _SEVERAL or block.text[: starts[0]].strip():
        yield block
        return
    for first, last in pairwise([0, *starts[1:], len(block.text)]):
        marker = block.marker if first == 0 else ""
        yield msgspec.structs.replace(block, text=block.text[first:last].strip(), marker=marker)


def _basic(fields: dict[str, str], blocks: Sequence[Block]) -> Section:
    if not fields or not blocks:
        return Section(blocks)
    text = "\n".join(["Basic Info", *(f"{label}: {value}" for label, value in fields.items())])
    record = msgspec.structs.replace(blocks[0], kind="record", text=text, table=None, asset="", marker="")
    return Section([record, *blocks], ["Basic Info"], together=True, kind="record")


def _fields(lines: Sequence[Block], learnt: Sequence[Block]) -> dict[str, str]:
    """What is written about the person, by label. Where a person has learnt is written in the part on that, if there is one."""
    text = "\n".join(_texts(lines))
    schools = "\n".join(_texts(learnt or lines))
    found = {
        "Name": _name(lines, text),
        "Phone": _first(PHONE.finditer(_PERIOD.sub(" ", text))),
        "Email": _first(EMAIL.finditer(text)),
        "Gender": _first(_GENDER.finditer(text)),
        "Age": _first(_AGE.finditer(text)),
        "Birth": _first(_BIRTH.finditer(text)),
        "School": _first(_SCHOOL.finditer(schools)),
        "Degree": next((degree for degree, words in _DEGREES if words.search(text)), ""),
        "Experience": _years(text),
    }
    return {label: value for label, value in found.items() if value}


def _of_model(document: ParsedDocument) -> dict[str, str]:
    """The fields that a language model found, by label, where one was asked."""
    found = document.meta.items()
    return {key.removeprefix(_OF_MODEL): value for key, value in found if key.startswith(_OF_MODEL) and value}


def _values(fields: dict[str, str]) -> dict[str, Value]:
    """The fields by label and type, see ``fields`` of ``Record``. Phone numbers and the like are texts."""
    found: dict[str, Value] = {}
    for label, value in fields.items():
        leading = _LEADING.match(value) if label in _NUMBERS else None
        date = moment(value) if label == "Birth" else None
        if leading:
            found[f"{label}_flt"] = number(leading[0]) or 0.0
        elif date:
            found[f"{label}_dt"] = date
        elif len(value) <= LONGEST:
            found[f"{label}_raw"] = value
    return found


def _texts(lines: Sequence[Block]) -> Iterator[str]:
    for line in lines:
        yield "\n".join(filter(str.strip, line.text.splitlines()))  # patterns go over blanks
        if line.table is not None:
            yield from (" ".join(row) for row in line.table.grid())


def _first(matches: Iterator[re.Match[str]]) -> str:
    match = next(matches, None)
    if match is None:
        return ""
    return next((group.strip() for group in match.groups() if group), match[0].strip())


def _years(text: str) -> str:
    match = _YEARS.search(text)
    return f"{match[1]} years" if match else ""


def _name(lines: Sequence[Block], text: str) -> str:
    """The name where it is labelled, else the first line if it can be one."""
    match = _NAME.search(text)
    if match:
        return match[1].strip()
    first = next((line.text.strip() for line in lines if line.text.strip()), "")
    first = _HEADED.sub("", first).strip(" -–—|:：,")
    words = first.split()
    plain = all(char.isalpha() or char in " .'-·" for char in first)
    return first if 0 < len(words) <= _MOST_NAME and plain and not resume_part(first) else ""


def _about(fields: dict[str, str]) -> str:
    labels = ("Name", "Phone", "Email", "Company", "Degree", "Experience")
    found = [f"{label}: {fields[label]}" for label in labels if label in fields]
    return f"[{' | '.join(found)}]" if found else ""
