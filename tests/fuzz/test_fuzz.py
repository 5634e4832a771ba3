"""What fuzzing stands on: changes that can be made again, and finds that are told."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fuzz import BEFORE, ENDINGS
from fuzz.mutate import MOST, mutant
from fuzz.target import Target, Watch
from gristmill.base.errors import DamagedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.markdown import MarkdownParser
from samples import SAMPLES
from samples.office import report_docx


def test_a_change_is_the_same_for_the_same_seed_and_bounded() -> None:
    data = report_docx()
    assert mutant(data, 7) == mutant(data, 7)
    found = [mutant(data, seed) for seed in range(60)]
    assert len(set(found)) > 40
    assert all(len(one) <= MOST for one in found)


def test_most_changes_of_an_archive_are_inside_of_it() -> None:
    """Bytes that are flipped in packed data only ever show that the checksum is looked at."""
    data = report_docx()
    whole = sum(zipfile.is_zipfile(io.BytesIO(mutant(data, seed))) for seed in range(60))
    assert whole > 40


@pytest.mark.parametrize("name", sorted({*PARSERS.builtin, *BEFORE}))
def test_every_parser_has_documents_to_begin_with(name: str) -> None:
    assert name in (*BEFORE, *ENDINGS.keys() & SAMPLES.keys())


def raises(*_: object) -> None:
    raise ZeroDivisionError


def refuses_without_a_name(*_: object) -> None:
    raise DamagedDocument("no")


def connects(*_: object) -> None:
    socket.getaddrinfo("localhost", 80)
    raise DamagedDocument("fuzz.md is damaged")


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """One for all: an audit hook stays for the life of a process."""
    made = Watch()
    yield made
    made.on = False


@pytest.mark.parametrize(
    ("fault", "signature"),
    [
        (raises, "ZeroDivisionError at test_fuzz.py:raises"),
        (refuses_without_a_name, "Find: the error does not"),
        (connects, "Find: reached socket.getaddrinfo"),
    ],
)
def test_a_find_is_told_once_with_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch, fault: Callable[..., None], signature: str
) -> None:
    target = Target("markdown", tmp_path, watch, None)
    target(b"# Fine\n\nwords")
    assert not (tmp_path / "finds.jsonl").exists()
    monkeypatch.setattr(MarkdownParser, "parse", fault)
    target(b"# One\n")
    target(b"# Another\n")
    [find] = map(json.loads, (tmp_path / "finds.jsonl").read_text(encoding="utf-8").splitlines())
    assert find["signature"].startswith(signature)
    assert Path(find["input"]).read_bytes() == b"# One\n"
