"""Which parser reads a document: by what is in it, whatever it is called."""

from __future__ import annotations

import io

import pytest

from gristmill.base.errors import DocumentError, EmptyDocument, EncryptedDocument, UnsupportedDocument
from gristmill.parsers.detect import detect
from samples import SAMPLES, ole, packed, plain

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
BINARY = ("archive", "doc", "docx", "epub", "image", "msg", "pdf", "ppt", "pptx", "rtf", "xlsx")


def of(name: str, data: bytes) -> str:
    return detect(name, io.BytesIO(data))


@pytest.mark.parametrize("name", ["file", "file.txt", "file.pdf", "file.docx", "file.csv", "FILE.XLSX", "file.weird"])
@pytest.mark.parametrize("format_", BINARY)
def test_a_binary_format_is_known_under_any_name(format_: str, name: str) -> None:
    make = next(iter(SAMPLES[format_].values()))
    assert of(name, make()) == format_


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("mail", plain.thread_eml(), "email"),
        ("mail.weird", plain.thread_eml(), "email"),
        ("page", plain.page_html(), "html"),
        ("page.txt", plain.page_html(), "html"),
        ("export.xls", plain.page_html(), "html"),
        ("export.xls", b"<table><tr><td>1</td></tr></table>", "html"),
        ("export.xls", b"a\tb\n1\t2\n", "csv"),
        ("data", b'{"a": 1}', "json"),
        ("data", b" [1, 2]\n[3]", "json"),
        ("data", b'{"a": "' + b"x" * 100_000 + b'"}', "json"),
        ("notes", b"[1] Smith, On leases, 2020.", "text"),
        ("notes", b"{curly} beginnings", "text"),
        ("notes", b"To: nobody in particular\n\nText.", "text"),
        ("notes", b"plain words", "text"),
        ("notes.log", b"2026-01-01 started", "text"),
        ("Makefile", b"all:\n\techo\n", "text"),
        ("README.MD", b"# Title", "markdown"),
        ("page.mht", plain.thread_eml(), "email"),
        ("nul.txt", b"before\0\0after\0\n" * 9, "text"),
        ("nul.csv", b"a,b\n1\0,2\n", "csv"),
        ("mail", packed.letters_mbox(), "mbox"),
        ("mail.mbox", packed.letters_mbox(), "mbox"),
        ("letter.doc", packed.letter_rtf(), "rtf"),
        ("scan.pdf", b"\xff\xd8\xff\xe0" + bytes(99), "image"),
        ("scan", packed.words_tif(), "image"),
        ("scan.bmp", packed.picture("x", format_="BMP"), "image"),
        ("scan.png", packed.picture("x", format_="WEBP"), "image"),
        ("scan.png", packed.picture("x", format_="GIF"), "image"),
        ("BMI.txt", b"BMI is weight by height squared, and says little.", "text"),
        ("a.bin", packed.report_odt(), "odf"),
        ("a.bin", packed.book_ods(), "odf"),
        ("a.zip", packed.talk_odp(), "odf"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "archive"),
        ("a.epub", SAMPLES["docx"]["report.docx"](), "docx"),
        ("a.odt", packed.report_odt()[:300], "odf"),
        ("a.epub", packed.book_epub()[:300], "epub"),
        ("a.zip", packed.folder_zip()[:300], "archive"),
        ("a.xls", OLE + bytes(512) + "Workbook\0".encode("utf-16-le"), "xlsx"),
        ("wide.txt", "Größe und 中文".encode("utf-16"), "text"),
        ("wide.txt", "plain words in two bytes each".encode("utf-16-le"), "text"),
        ("cut.txt", ("x" * (64 * 1024 - 1) + "中").encode(), "text"),
    ],
)
def test_text_formats_are_told_by_content_first_and_name_second(name: str, data: bytes, expected: str) -> None:
    assert of(name, data) == expected


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("a.txt", b"", EmptyDocument, "empty"),
        ("a.txt", b" \r\n\t" * 99, EmptyDocument, "empty"),
        ("a.txt", b"MZ" + bytes(range(256)), UnsupportedDocument, "a program"),
        ("a.bin", bytes(range(256)) * 9, UnsupportedDocument, "neither text"),
        ("a", b"before\0\0after\0" * 9, UnsupportedDocument, "neither text"),
        ("a.docx", ole.compound({"\tDRMContent": b"x" * 5_000}), EncryptedDocument, "password"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(18), UnsupportedDocument, "7z archive (unpack it"),
        ("a.rar", b"Rar!\x1a\x07" + bytes(18), UnsupportedDocument, "rar archive (unpack it"),
        ("a.docx", OLE + bytes(512) + "EncryptedPackage\0".encode("utf-16-le"), EncryptedDocument, "password"),
        ("a.docx", OLE + bytes(512) + "ENCRYPTEDPACKAGE\0".encode("utf-16-le"), EncryptedDocument, "password"),
        ("a.msg", OLE + bytes(512), UnsupportedDocument, "OLE"),
        ("a.jpg", b"\0\0\0\x18ftypheic" + bytes(99), UnsupportedDocument, "heic"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_kind(
    name: str, data: bytes, error: type[DocumentError], words: str
) -> None:
    with pytest.raises(error) as caught:
        of(name, data)
    assert name in str(caught.value)
    assert words in str(caught.value)


def test_a_damaged_archive_called_docx_goes_to_the_parser_that_says_how() -> None:
    assert of("a.docx", SAMPLES["docx"]["report.docx"]()[:2_000]) == "docx"
