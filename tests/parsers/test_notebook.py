"""Notebooks: what a person reads in one."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from typing import Any

import pytest

from gristmill.base.errors import DamagedDocument, EmptyDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples import packed


def parse(value: Any) -> ParsedDocument:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return PARSERS.load("notebook")().parse(Source("a.ipynb", data), ParseLimits())


def cell(kind: str, source: Any, **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "source": source, **more}


def test_cells_are_read_in_their_order_with_what_they_printed() -> None:
    picture = packed.words_png()
    notebook = {
        "metadata": {"language_info": {"name": "Python"}},
        "cells": [
            cell("markdown", ["# Title\n", "\n", "Some *words*."]),
            cell("code", "x = 1\nx", outputs=[
                {"output_type": "stream", "text": ["printed\n", "lines"]},
                {"output_type": "execute_result", "data": {"text/plain": "1", "text/html": "<b>1</b>"}},
                {"output_type": "display_data", "data": {"image/png": b64encode(picture).decode(), "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "E"}, "nonsense",
            ]),
            cell("raw", "raw words"), cell("markdown", " "), "nonsense",
        ],
    }  # fmt: skip
    assert detect("a.ipynb", io.BytesIO(json.dumps(notebook).encode())) == "notebook"
    document = parse(notebook)
    assert [(block.kind, block.text, block.attrs) for block in document.blocks] == [
        ("heading", "Title", {}), ("text", "Some words.", {}), ("code", "x = 1\nx", {"language": "python"}),
        ("code", "printed\nlines", {"part": "output"}), ("code", "1", {"part": "output"}), ("figure", "", {}),
        ("text", "raw words", {}),
    ]  # fmt: skip
    assert [asset.data for asset in document.assets.values()] == [picture]
    assert document.meta == {"language": "python"}


def test_notebooks_of_the_older_form_are_read() -> None:
    cells = [
        {"cell_type": "heading", "source": "Old", "level": 2},
        {"cell_type": "code", "input": "y = 2", "outputs": []},
    ]
    assert [(block.kind, block.level, block.text) for block in parse({"worksheets": [{"cells": cells}]}).blocks] == [
        ("heading", 2, "Old"), ("code", 0, "y = 2"),
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"{", b"words", b"[" * 100_000])
def test_what_is_not_json_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedDocument, match=r"a\.ipynb"):
        parse(data)


@pytest.mark.parametrize("value", [{}, [], 7, None, {"cells": 7}, {"cells": [7]}, {"cells": [{}]}, {"worksheets": [7]}])
def test_a_notebook_without_words_is_empty(value: object) -> None:
    with pytest.raises(EmptyDocument):
        parse(value)
