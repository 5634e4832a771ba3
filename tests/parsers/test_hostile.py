"""Hostile documents: each gives right chunks or one clear error, inside bounds, and the process lives on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gristmill.parsers.bounds import Blocks
from gristmill.ports.document import Block, Cell, Table
from gristmill.ports.parser import ParseLimits
from parsers import hostile

READ = {  # what must be found in the chunks of those that can be read
    "climbing.docx": "climbing words", "doctype.zip": "other words", "nameless.zip": "words of a member", "core.docx": "words",
    "cells.xlsx": "last", "spans.html": "spanned", "tables.html": "nested",
    "unclosed.html": "x", "wide.json": "key 49999: 49999", "number.json": "999", "quotes.csv": "a | b", "columns.csv": "| 16 |",
    "brackets.md": "words", "emphasis.md": "*a **b", "quotes.md": "words", "front.md": "words",
    "line.txt": "word word", "word.txt": "xxx", "nul.txt": "before", "numbers.txt": "chapter", "header.eml": "words",
    "climbing.zip": "climbing words", "words.rtf": "é中", "bin.rtf": "words", "pieces.doc": "words", "shapes.ppt": "words",
    "letters.mbox": "words",
}  # fmt: skip
REFUSED = {  # the error of those that cannot, and a word of its message
    "bomb.docx": ("DocumentTooLarge", "zip_"),
    "entities.docx": ("DamagedDocument", "entities"),
    "named_otherwise.docx": ("DamagedDocument", "entities"),
    "utf16_entities.docx": ("DamagedDocument", "entities"),
    "deep.docx": ("DamagedDocument", ""),
    "members.docx": ("DocumentTooLarge", "zip_members"),
    "tables.md": ("DocumentTooLarge", "max_depth"),
    "deep.html": ("DocumentTooLarge", "max_depth"),
    "deep.json": ("DamagedDocument", "nested"),
    "blank.txt": ("EmptyDocument", "empty"),
    "parts.eml": ("DocumentTooLarge", "parts"),
    "inside_itself.msg": ("DamagedDocument", "RecursionError"),
    "misnamed.docx": ("DamagedDocument", "File name in directory"),
    "untargeted.docx": ("DamagedDocument", "Word"),
    "nested.zip": ("EmptyDocument", "too deep"),
    "directory.zip": ("DocumentTooLarge", "zip_members"),
    "directory.docx": ("DocumentTooLarge", "zip_members"),
    "bomb.zip": ("DocumentTooLarge", "zip_ratio"),
    "members.zip": ("DocumentTooLarge", "zip_members"),
    "bomb.epub": ("DocumentTooLarge", "zip_ratio"),
    "entities.odt": ("DamagedDocument", "entities"),
    "deep.odt": ("DamagedDocument", "OpenDocument"),
    "rows.ods": ("DocumentTooLarge", "max_cells"),
    "deep.rtf": ("DocumentTooLarge", "max_depth"),
    "pixels.gif": ("DamagedDocument", "damaged picture"),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What one child made of all of them."""
    child = subprocess.run(
        [sys.executable, "-m", "parsers.hostile"],
        cwd=Path(hostile.__file__).parents[1], capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2_000:]
    return {one["name"]: one for one in map(json.loads, child.stdout.splitlines())}


@pytest.mark.parametrize("name", hostile.CASES)
def test_a_hostile_document_is_read_or_refused_by_its_name(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    found = outcomes[name]
    if "error" in found:
        assert name not in READ, found
        assert name in found["message"]
        assert len(found["message"]) <= 1000
        error, word = REFUSED.get(name, (found["error"], ""))
        assert found["error"] == error
        assert word in found["message"]
    else:
        assert name not in REFUSED, found
        assert found["chunks"] > 0
        assert READ.get(name, "") in found["start"] + found["end"]
        assert not found["nul"]


def test_nothing_was_written_beside(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes
    assert not list(Path(hostile.__file__).parent.glob("*evil*"))


def test_what_stands_beside_a_text_is_clean_and_a_table_holds_all_its_cells() -> None:
    """Found by fuzzing: a sheet called NUL, and a row with more cells than its table has columns."""
    blocks = Blocks("a", ParseLimits())
    table = Table(1, 1, [Cell("a\0", 0, 0), Cell("b", 1, 2)], caption="\0sheet")
    blocks.add(Block("table", "", table=table, attrs={"sheet": "\0sheet"}))
    assert (table.caption, blocks[0].attrs) == (" sheet", {"sheet": " sheet"})
    assert table.grid() == [["a", "", ""], ["", "", "b"]]
