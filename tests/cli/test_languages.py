"""Documents of many languages and scripts, and pictures of them, each found by a word of it: from file to answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Cli, age
from gristmill.cli.main import run
from samples import scans

TEXTS = {
    "deutsch.txt": "Der Müller aus Köln verkauft das Mehl in der Mühlenstraße.\n",
    "日本語.md": "# 図書館\n\n東京都の図書館で水車の本を借りた。コーヒーも飲んだ。\n",
    "عربي.txt": "ذَهَبَ الطَّحَّانُ إِلى المَدِينَةِ والمكتبة سنة ١٩٨٤.\n",
    "한국어.txt": "물레방아는 강가에서 곡식을 빻는다.\n",
    "ไทย.txt": "โรงสีข้าวอยู่ริมแม่น้ำ\n",
    "русский.txt": "Мельник ещё не вернулся с реки.\n",
    "繁體.txt": "臺灣的磨坊把小麥磨成麵粉。\n",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them ingested once."""
    base = tmp_path_factory.mktemp("languages")
    files = base / "files"
    files.mkdir()
    for name, text in TEXTS.items():
        (files / name).write_text(text, encoding="utf-8")
    english, chinese = scans.page(scans.ENGLISH), scans.page(scans.CHINESE)
    (files / "english.png").write_bytes(scans.encoded(english))
    (files / "chinese.png").write_bytes(scans.encoded(chinese))
    (files / "english-scan.pdf").write_bytes(
        scans.scanned_pdf(scans.page(["A heron stood below the weir", "and watched it"]))
    )
    (files / "chinese-scan.pdf").write_bytes(
        scans.scanned_pdf(scans.page(["第一条 出租人", "应当按照约定交付租赁物。"]))
    )
    for path in files.iterdir():
        age(path)
    assert run(["--home", str(base / "home"), "ingest", str(files), "--dataset", "d", "--embedder", "lexical"]) == 0
    return base / "home"


@pytest.mark.parametrize(
    ("word", "document"),
    [
        ("Mühlenstraße", "deutsch.txt"),
        ("MUEHLENSTRASSE", "deutsch.txt"),
        ("Koln", "deutsch.txt"),
        ("図書館", "日本語.md"),
        ("東京", "日本語.md"),
        ("コーヒー", "日本語.md"),
        ("مدينة", "عربي.txt"),
        ("المكتبة", "عربي.txt"),
        ("1984", "عربي.txt"),
        ("물레방아", "한국어.txt"),
        ("แม่น้ำ", "ไทย.txt"),
        ("еще", "русский.txt"),
        ("臺灣", "繁體.txt"),
        ("flour", "english.png"),
        ("水车", "chinese.png"),
        ("heron", "english-scan.pdf"),
        ("租赁物", "chinese-scan.pdf"),
    ],
)
def test_a_document_is_found_by_a_word_of_it(
    capsys: pytest.CaptureFixture[str], home: Path, word: str, document: str
) -> None:
    found = Cli(home, capsys)("search", word, "--dataset", "d", "--legs", "terms", "--json").json
    assert found[0]["document"] == document
    assert "<mark>" in found[0]["highlight"]
