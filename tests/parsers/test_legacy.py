"""Word 97, PowerPoint 97, Outlook messages and RTF: what a reader of these would expect, and what they are refused for."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.base.errors import DamagedDocument, DocumentTooLarge, EncryptedDocument, UnsupportedDocument
from gristmill.parsers import PARSERS, soffice
from gristmill.parsers.msg import unpacked
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples import office, ole, packed
from samples.ole import Paragraph

Shape = tuple[str, int, str]


def parse(name: str, data: bytes, **limits: int) -> ParsedDocument:
    return PARSERS.load(name)().parse(Source(f"file.{name}", data), ParseLimits(**limits))


def shapes(name: str, data: bytes) -> list[Shape]:
    return [(block.kind, block.level, block.text) for block in parse(name, data).blocks]


def grids(name: str, data: bytes) -> list[list[list[str]]]:
    return [block.table.grid() for block in parse(name, data).blocks if block.table]


def test_a_word_97_document_has_headings_lists_tables_and_notes_and_no_codes_of_fields() -> None:
    assert shapes("doc", ole.report_doc()) == [
        ("header", 0, "Running head"), ("heading", 1, "Annual report"), ("text", 0, "A lease is the right to run a task now."),
        ("list_item", 1, "first"), ("table", 0, ""), ("heading", 2, "Tokens"), ("text", 0, "A token grows. 中文段落。"),
        ("footnote", 0, "The note."),
    ]  # fmt: skip
    assert grids("doc", ole.report_doc()) == [[["Region", "Sales"], ["North", "1,200.50"], ["South", "98"]]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a \x13 PAGE \x141\x15 b", "a 1 b"),
        ("a \x13 SEQ x \x15b", "a b"),
        ("a \x13 IF \x13 PAGE \x142\x15 = 2 \x14yes\x15 b", "a yes b"),
        ("a\x0bb\x1ec\x1fd\x01", "a\nb-cd"),
        ("Größe “quoted” 20 €", "Größe “quoted” 20 €"),
    ],
)
def test_of_fields_and_special_characters_is_shown_what_a_reader_sees(text: str, shown: str) -> None:
    assert shapes("doc", ole.word_97([Paragraph("first"), Paragraph(text)])) == [
        ("text", 0, "first"),
        ("text", 0, shown),
    ]


def test_a_field_over_several_paragraphs_keeps_its_result() -> None:
    body = [Paragraph("\x13 TOC \\o"), Paragraph(" more code \x14Contents"), Paragraph("One 1\x15"), Paragraph("after")]
    assert [text for _, _, text in shapes("doc", ole.word_97(body))] == ["Contents", "One 1", "after"]


def test_a_table_of_one_cell_is_a_frame_and_tables_are_kept_apart_by_text() -> None:
    body = [*ole.row("framed"), Paragraph("between"), *ole.row("a", "b"), *ole.row("c"), Paragraph("end")]
    assert shapes("doc", ole.word_97(body))[:2] == [("text", 0, "framed"), ("text", 0, "between")]
    assert grids("doc", ole.word_97(body)) == [[["a", "b"], ["c", ""]]]


@pytest.mark.parametrize("text", ["kept deleted secret end", "保留 deleted secret 完"])  # both widths of characters
def test_text_that_was_deleted_or_is_hidden_is_left_out_and_ends_of_paragraphs_stay(text: str) -> None:
    first, second = text.index("deleted"), text.index("secret")
    marks = [(first, first + 8, ole.DELETED), (second, second + 7, ole.HIDDEN)]
    body = [
        Paragraph("first"),
        Paragraph(text, marks=marks),
        Paragraph("gone", marks=[(0, 5, ole.DELETED)]),
        Paragraph("last"),
    ]
    shown = text.replace("deleted secret ", "")
    assert [words for _, _, words in shapes("doc", ole.word_97(body))] == ["first", shown, "last"]


def test_pictures_of_a_word_97_document_stand_where_they_are_shown_and_floating_ones_at_its_end() -> None:
    pictures = [packed.picture(words) for words in ("one", "two", "three")]
    data = b"some" + ole.inline(ole.bitmap(pictures[0])) + ole.inline(ole.bitmap(pictures[1], digests=2))
    at = [struct.pack("<HI", 0x6A03, place) for place in (4, 4 + len(ole.inline(ole.bitmap(pictures[0]))), 999_999)]
    body = [
        Paragraph("before"),
        Paragraph("\x01 and \x01", marks=[(0, 1, at[0]), (6, 7, at[1])]),
        Paragraph("after \x01", marks=[(6, 7, at[2])]),
    ]
    document = parse("doc", ole.word_97(body, data=data, drawings=[ole.bitmap(pictures[2])]))
    assert [block.kind for block in document.blocks] == ["text", "text", "figure", "figure", "text", "figure"]
    assert [document.assets[block.asset].data for block in document.blocks if block.asset] == pictures
    assert {asset.mime for asset in document.assets.values()} == {"image/png"}


@pytest.mark.parametrize(
    ("sprms", "shape"),
    [
        (struct.pack("<HB", 0x2640, 1), ("heading", 2)),
        (struct.pack("<HB", 0x2640, 9), ("text", 0)),
        (struct.pack("<HHHB", 0x460B, 3, 0x260A, 2), ("list_item", 3)),
        (struct.pack("<HH", 0x460B, 0), ("text", 0)),
        (struct.pack("<HB3sHB", 0xC615, 3, b"abc", 0x2640, 0), ("heading", 1)),  # an operand of any length before it
    ],
)
def test_outline_levels_and_list_levels_are_read_from_a_paragraphs_own_properties(
    sprms: bytes, shape: tuple[str, int]
) -> None:
    [block] = parse("doc", ole.word_97([Paragraph("words", 0, sprms)])).blocks
    assert (block.kind, block.level) == shape


def test_only_the_last_save_of_a_presentation_is_read_with_titles_first_and_notes_last() -> None:
    document = parse("ppt", ole.talk_ppt())
    assert [(block.kind, block.text, block.page) for block in document.blocks] == [
        ("heading", "Leases", 1), ("text", "Reserve in batches", 1), ("text", "Extend together", 1),
        ("text", "Say why leases are short.", 1), ("heading", "Figures 数字", 2), ("text", "North 1,200.50", 2),
    ]  # fmt: skip
    assert [(page.width, page.height) for page in document.pages] == [(720.0, 540.0)] * 2
    box = document.blocks[0].boxes[0]
    assert (box.x0, box.y0, box.x1, box.y1) == (20.0, 10.0, 100.0, 50.0)
    assert document.blocks[3].attrs == {"part": "notes"}


def test_tables_of_slides_are_tables_with_spans() -> None:
    cells = {
        (0, 0, 40, 10): "Figures", (0, 10, 20, 20): "North", (20, 10, 40, 20): "1,200.50", (20, 20, 40, 30): "98\rand more",
    }  # fmt: skip
    document = parse("ppt", ole.powerpoint_97([([ole.table(cells), ole.shape(0, "Title")], "")]))
    assert [block.kind for block in document.blocks] == ["heading", "table"]
    (grid,) = (block.table for block in document.blocks if block.table)
    assert grid.grid() == [["Figures", ""], ["North", "1,200.50"], ["", "98\nand more"]]
    assert [(cell.rowspan, cell.colspan) for cell in grid.cells] == [(1, 2), (1, 1), (1, 1), (1, 1)]
    assert document.blocks[1].boxes[0].x0 == 20.0


def test_pictures_of_slides_are_found_by_their_number_and_nonsense_numbers_are_none() -> None:
    pictures = [packed.picture(words) for words in ("one", "two")]
    slides = [([ole.shape(0, "Title"), ole.figure(2), ole.figure(7), ole.figure(0)], ""), ([ole.figure(1)], "")]
    document = parse("ppt", ole.powerpoint_97(slides, pictures=pictures))
    found = [(block.page, document.assets[block.asset].data) for block in document.blocks if block.kind == "figure"]
    assert found == [(1, pictures[1]), (2, pictures[0])]


def test_an_outlook_message_has_headers_body_attachments_and_attached_messages() -> None:
    document = parse("msg", ole.letter_msg())
    assert [block.text for block in document.blocks] == [
        "Subject: 季度报告: leases", "From: Änne Meyer <anne@example.org>", "To: Bob", "Date: 2026-01-05T09:00:00+00:00",
        "Hello Bob,", "the figures are attached.",
    ]  # fmt: skip
    assert [(child.name, child.format) for child in document.children] == [
        ("orders.csv", "csv"), ("An older message", "msg"),
    ]  # fmt: skip
    assert not document.warnings


def test_attachments_below_the_allowed_depth_and_unreadable_ones_leave_a_warning() -> None:
    document = parse("msg", ole.letter_msg(), attachment_depth=0)
    assert not document.children
    assert len(document.warnings) == 2
    assert all("too deep" in warning for warning in document.warnings)
    broken = ole.compound(ole.message({0x1000: "words"}, attached=[("a.docx", b"PK\x03\x04 broken")]))
    assert [("a.docx" in warning, "damaged" in warning) for warning in parse("msg", broken).warnings] == [(True, True)]


@pytest.mark.parametrize(
    ("binary", "text"),
    [
        ({0x1013: "<p>Größe 中文</p>".encode("gbk", "replace")}, "Gr"),
        ({0x1013: "<h1>标题</h1>".encode("gbk")}, "标题"),
        ({0x1009: bytes(8) + b"MELA" + bytes(4) + rb"{\rtf1 plain words\par}"}, "plain words"),
    ],
)
def test_without_a_plain_body_the_html_or_rtf_one_is_read(binary: dict[int, bytes], text: str) -> None:
    assert text in parse("msg", ole.compound(ole.message({}, binary=binary))).blocks[-1].text


def test_a_compressed_rtf_body_is_unpacked_no_further_than_is_allowed() -> None:
    # eight letters as they are, then a reference to the first of them that copies what it is writing itself
    literal = bytes((0b00000000,)) + b"abcdefgh" + bytes((0b00000001,)) + struct.pack(">H", 207 << 4 | 15)
    data = bytes(8) + b"LZFu" + bytes(4) + literal
    assert unpacked(data, 1 << 20) == b"abcdefgh" * 3 + b"a"
    assert len(unpacked(bytes(8) + b"LZFu" + bytes(4) + literal * 1_000, 100)) < 200


def test_rtf_has_headings_tables_lists_notes_and_each_fonts_code_page() -> None:
    assert shapes("rtf", packed.letter_rtf()) == [
        ("heading", 1, "Annual report"), ("text", 0, "A lease is the right to run, café 中. link"), ("figure", 0, ""),
        ("heading", 2, "Tokens"), ("table", 0, ""), ("list_item", 1, "first"), ("text", 0, "中文"),
        ("header", 0, "Running head"), ("footnote", 0, "The note."),
    ]  # fmt: skip
    assert grids("rtf", packed.letter_rtf()) == [[["Region", "Sales"], ["North", "1,200.50"]]]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb"\u-10179?\u-8704?", "😀"),
        (rb"\uc2\u20013??\uc0\u25991", "中文"),
        (rb"a\'e9\'", "aé"),
        (rb"\bin4 \}}{words", "words"),
        (rb"{\*\unknown never}words", "words"),
        (rb"{\pict 00ff}{\object{\*\objdata 00}}words", "words"),
        (rb"\{brace\} back\\slash\tab tab\line new", "{brace} back\\slash\ttab\nnew"),
        (rb"wor\-ds}}}}}", "words"),
        (rb"\ansicpg99999 words \'e9", "words é"),
        (rb"\f77 words", "words"),
    ],
)
def test_rtfs_characters_and_destinations(body: bytes, text: str) -> None:
    assert [block.text for block in parse("rtf", rb"{\rtf1\ansi " + body + rb"\par}").blocks] == [text]


PICTURE = packed.words_png()


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (rb"{\pict\pngblip\picw10 " + PICTURE.hex().encode() + b"}", [PICTURE]),
        (rb"{\*\shppict{\pict\pngblip " + PICTURE.hex(" ", 64).encode() + rb"}}{\nonshppict{\pict\wmetafile8 0}}", [PICTURE]),
        (rb"{\pict{\*\picprop words}\jpegblip\bin" + str(len(PICTURE)).encode() + b" " + PICTURE + b"}", [PICTURE]),
        (rb"{\pict\wmetafile8 0102}{\pict\pngblip}{\pict\pngblip 0z}", []),
    ],
)  # fmt: skip
def test_pictures_of_rtf_stand_behind_their_paragraph(picture: bytes, found: list[bytes]) -> None:
    document = parse("rtf", rb"{\rtf1\ansi before " + picture + rb"words\par after\par}")
    assert [block.text for block in document.blocks] == ["before words", *[""] * len(found), "after"]
    assert [asset.data for asset in document.assets.values()] == found


def locked_xls() -> bytes:
    """A workbook whose second record says how it is encrypted."""
    head = struct.pack("<HH16s", 0x0809, 16, b"\0\6\5") + struct.pack("<HH6s", 0x2F, 6, b"\0\0ab")
    return ole.compound({"Workbook": head + b"\xaa" * 6_000})


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("xlsx", locked_xls(), EncryptedDocument, "password"),
        ("xlsx", ole.compound({"Workbook": b"\x09\x08"}), DamagedDocument, "damaged"),
        ("doc", ole.word_97([Paragraph("x")], flags=0x0100), EncryptedDocument, "password"),
        ("doc", ole.word_97([Paragraph("x")], flags=0x8000), EncryptedDocument, "password"),
        ("ppt", ole.powerpoint_97([([ole.shape(0, "x")], "")], token=0xF3D1C4DF), EncryptedDocument, "password"),
        ("doc", ole.compound({"WordDocument": b"\xec\xa5" + bytes(30)}), UnsupportedDocument, "LibreOffice"),
        ("doc", ole.compound({"Other": b"x"}), DamagedDocument, "damaged"),
        ("ppt", ole.compound({"PP40": b"x"}), UnsupportedDocument, "LibreOffice"),
        ("msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 504 + bytes(512), DamagedDocument, "Outlook message"),
        ("rtf", b"words", DamagedDocument, "RTF"),
        ("rtf", rb"{\rtf1 " + b"{" * 3_000 + b"x", DocumentTooLarge, "max_depth"),
    ],
)
def test_what_cannot_be_read_is_refused_for_its_reason(
    name: str, data: bytes, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(error, match=words) as caught:
        parse(name, data)
    assert f"file.{name}" in str(caught.value)


OLD_WORD = ole.word_97([Paragraph("x")], version=0x65)
OFFICE = """#!{python}
import pathlib, sys
arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
assert "--headless" in sys.argv and any("UserInstallation=file:" in one for one in sys.argv)
import os
assert "SECRET" not in os.environ and os.environ["http_proxy"] == "http://127.0.0.1:9"
folder = pathlib.Path(arguments["--outdir"])
folder.mkdir()
(folder / "document.{to}").write_bytes(pathlib.Path({data!r}).read_bytes())
"""


def install(folder: Path, to: str, script: str = OFFICE) -> None:
    """A program called soffice that makes a known document of anything."""
    data = folder / "made"
    data.write_bytes(office.report_docx() if to == "docx" else office.talk_pptx())
    program = folder / "soffice"
    program.write_text(script.format(python=sys.executable, to=to, data=str(data)))
    program.chmod(0o755)


@pytest.mark.parametrize(("name", "to", "text"), [("doc", "docx", "Annual report"), ("ppt", "pptx", "Leases")])
def test_older_documents_are_converted_where_libreoffice_is_installed(
    name: str, to: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, to)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SECRET", "is not for others")
    document = parse(name, OLD_WORD if name == "doc" else ole.compound({"PP40": b"x"}))
    assert text in [block.text for block in document.blocks]
    assert (document.format, document.parser, document.name) == (
        name,
        f"{name}/{PARSERS.load(name).version}",
        f"file.{name}",
    )


@pytest.mark.parametrize(
    ("script", "words", "seconds"),
    [("#!/bin/sh\nexit 1\n", "could not convert", 60), ("#!/bin/sh\nexec sleep 600\n", "within", 0.2)],
)
def test_a_conversion_that_fails_or_never_ends_is_named(
    script: str, words: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "docx", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(DamagedDocument, match=words) as caught:
        soffice.converted(Source("old.doc", OLD_WORD), "docx", "an old document", seconds=seconds)
    assert "old.doc" in str(caught.value)
    assert isinstance(caught.value.__cause__, subprocess.SubprocessError)
