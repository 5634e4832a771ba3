"""A parser that reaches for more than the bytes of its document is stopped, and the document says so."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.parsers.csv import CsvParser
from gristmill.parsers.markdown import MarkdownParser
from gristmill.parsers.pdf import PdfParser
from gristmill.ports.catalog import RunState
from pipeline.home import Home, csv, paragraphs
from samples.pdf import report_pdf

pytestmark = pytest.mark.anyio


def phones_home(*_: Any, **__: Any) -> Any:
    socket.create_connection(("127.0.0.1", 9), timeout=5)


def writes(*_: Any, **__: Any) -> Any:
    Path("evil.txt").write_text("x", encoding="utf-8")


STEPS: dict[str, tuple[type, str, Callable[[], str | bytes]]] = {
    "a.md": (MarkdownParser, "parse", lambda: paragraphs(3)),
    "count.pdf": (PdfParser, "count", report_pdf),
    "read.pdf": (PdfParser, "read", report_pdf),
    "join.pdf": (PdfParser, "join", report_pdf),
    "a.csv": (CsvParser, "windows", lambda: csv(3)),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("deed", "word"), [(phones_home, "network"), (writes, "evil.txt")])
async def test_it_is_stopped_at_every_step(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str, deed: Callable[..., Any], word: str
) -> None:
    parser, step, make = STEPS[name]

    def evil(*args: Any, **more: Any) -> Any:
        yield deed()  # of windows, only the first step does anything

    monkeypatch.setattr(parser, step, evil if step == "windows" else deed)
    document = await home.ingest(home.write(name, make()))
    assert document.state is RunState.FAILED
    assert document.failure is not None
    assert document.failure.type == "PluginError"
    assert all(
        part in document.failure.message for part in (name, parser.__name__.removesuffix("Parser").lower(), word)
    )
    assert "evil.txt" not in os.listdir(".")
