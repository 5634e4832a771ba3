"""The example documents: every format that is read, the same bytes each time, and answers to the demo's questions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from docs.blocks import ROOT
from gristmill.cli.main import run
from gristmill.parsers.detect import detect

CORPUS = ROOT / "examples" / "corpus"
QUESTIONS = re.findall(r'search "(.+?)"', (ROOT / "Makefile").read_text(encoding="utf-8"))
ANSWERS = {"en": ("leases.pdf", 1, "The lease simply runs out"), "zh": ("代.pdf", 1, "旧的一代回答")}


def test_every_format_is_there() -> None:
    formats = set()
    for path in CORPUS.iterdir():
        with path.open("rb") as stream:
            formats.add(detect(path.name, stream))
    assert formats == {"text", "markdown", "html", "csv", "json", "pdf", "docx", "pptx", "xlsx", "email"}


def test_making_them_again_gives_the_same_bytes(tmp_path: Path) -> None:
    made = [tmp_path / "one", tmp_path / "two"]
    for folder in made:
        subprocess.run([sys.executable, ROOT / "examples" / "make_corpus.py", folder], check=True)
    names = {path.name for path in CORPUS.iterdir()}
    assert [{path.name for path in folder.iterdir()} for folder in made] == [names, names]
    for name in names:
        assert (made[0] / name).read_bytes() == (made[1] / name).read_bytes(), name
        if name.endswith((".txt", ".md", ".csv", ".json", ".eml", ".html")):  # others depend on their library's release
            assert (made[0] / name).read_bytes() == (CORPUS / name).read_bytes(), name


def test_the_demos_questions_are_answered_with_file_and_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "home")]
    assert run([*home, "ingest", str(CORPUS), "--dataset", "demo", "--embedder", "lexical"]) == 0
    capsys.readouterr()
    assert len(QUESTIONS) == 2
    for question in QUESTIONS:
        assert run([*home, "search", question, "--dataset", "demo", "--top-k", "1", "--json"]) == 0
        [best] = msgspec.json.decode(capsys.readouterr().out)
        document, page, text = ANSWERS["en" if question.isascii() else "zh"]
        assert best["document"] == document
        assert best["pages"][0] == page
        assert text in best["content"]
