"""Documents that hold others: archives, mailboxes, books, and OpenDocument files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial

import pytest

from gristmill.base.errors import DamagedDocument, DocumentError, DocumentTooLarge, EmptyDocument, EncryptedDocument
from gristmill.parsers import PARSERS
from gristmill.parsers.detect import detect
from gristmill.ports.document import ParsedDocument
from gristmill.ports.parser import ParseLimits, Source
from samples import office, ole, packed, plain
from samples.packed import zipped


def parse(name: str, data: bytes, **limits: int) -> ParsedDocument:
    return PARSERS.load(name)().parse(Source(f"file.{name}", data), ParseLimits(**limits))


def words(document: ParsedDocument) -> str:
    return " ".join([*(block.text for block in document.blocks), *map(words, document.children)])


def test_files_in_an_archive_are_documents_in_their_order_under_their_names() -> None:
    document = parse("archive", packed.folder_zip())
    assert [(child.name, child.format) for child in document.children] == [
        ("notes/notes.txt", "text"), ("章程.txt", "text"), ("orders.csv", "csv"),
    ]  # fmt: skip
    assert "遵循合法原则" in words(document)
    assert not document.warnings


def test_archives_in_archives_are_read_as_deep_as_is_allowed() -> None:
    data = zipped({"deep.txt": b"deep words"})
    for _ in range(3):
        data = zipped({"inner.zip": data, "note.txt": b"a note"})
    for depth in range(1, 5):
        document = parse("archive", data, attachment_depth=depth)
        assert words(document).count("a note") == min(depth, 3)
        assert ("deep words" in words(document)) == (depth == 4)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/notes.txt", "etc/notes.txt"),
        ("/abs/notes.txt", "abs/notes.txt"),
        ("..\\..\\notes.txt", "notes.txt"),
        ("a/./b/notes.txt", "a/b/notes.txt"),
    ],
)
def test_a_name_that_leads_out_of_the_archive_leads_nowhere(name: str, shown: str) -> None:
    document = parse("archive", zipped({name: b"the words"}))
    assert [child.name for child in document.children] == [shown]


def test_names_of_old_programs_are_decoded() -> None:
    data = zipped({"XXXXXXXX/XXXX.txt": b"the words"})
    data = data.replace(b"XXXXXXXX", "个人信息".encode("gbk")).replace(b"XXXX", "保护".encode("gbk"))
    assert [child.name for child in parse("archive", data).children] == ["个人信息/保护.txt"]


def test_links_and_leavings_of_systems_are_no_documents() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("__MACOSX/._note.txt", b"nothing")
        archive.writestr(".DS_Store", b"nothing")
        archive.writestr("note.txt", b"the words")
    document = parse("archive", buffer.getvalue())
    assert [child.name for child in document.children] == ["note.txt"]
    assert document.warnings == ["link.txt is a link, and not followed"]


def test_what_cannot_be_read_costs_itself_only_and_is_named() -> None:
    members = {"a.bin": bytes(range(256)) * 9, "b.docx": b"PK\x03\x04 broken", "c.txt": b"", "d.txt": b"the words"}
    document = parse("archive", zipped(members))
    assert [child.name for child in document.children] == ["d.txt"]
    assert [warning.split()[0] for warning in document.warnings] == ["a.bin", "b.docx", "c.txt"]


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": partial(gzip.compress, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("pack", ["", *PACK])
def test_the_files_of_a_tar_are_documents_links_and_devices_are_not(pack: str) -> None:
    link, device, sparse = tarfile.TarInfo("link.txt"), tarfile.TarInfo("null"), tarfile.TarInfo("sparse.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type, sparse.type = tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE
    data = packed.tarred({"../../notes.txt": b"the words", "章程.txt": plain.law_gbk()}, link, device, sparse)
    name = f"file.tar.{pack}" if pack else "file.tar"
    data = PACK[pack](data) if pack else data
    assert detect(name, io.BytesIO(data)) == "archive"
    document = PARSERS.load("archive")().parse(Source(name, data), ParseLimits())
    assert [(child.name, child.format) for child in document.children] == [("notes.txt", "text"), ("章程.txt", "text")]
    assert [warning.split()[0] for warning in document.warnings] == ["link.txt", "null", "sparse.txt"]


@pytest.mark.parametrize("pack", PACK)
def test_one_packed_file_is_a_document_under_its_own_name_however_many_pieces_it_has(pack: str) -> None:
    data = PACK[pack](plain.orders_csv()[:100]) + PACK[pack](plain.orders_csv()[100:])
    document = PARSERS.load("archive")().parse(Source(f"orders.csv.{pack}", data), ParseLimits())
    assert [(child.name, child.format) for child in document.children] == [("orders.csv", "csv")]
    assert "SO-8" in str(document.children[0].blocks)


@pytest.mark.parametrize(
    ("data", "limits", "error", "said"),
    [
        *((pack(bytes(20 << 20)), {}, DocumentTooLarge, "zip_ratio") for pack in PACK.values()),
        *((pack(b"words " * 99), {"zip_bytes": 200}, DocumentTooLarge, "zip_bytes") for pack in PACK.values()),
        *((pack(b"words " * 9999)[:40], {}, DamagedDocument, "breaks off|damaged") for pack in PACK.values()),
        *((pack(b""), {}, EmptyDocument, "no file") for pack in PACK.values()),
        (PACK["gz"](b"") * 99, {"zip_members": 90}, DocumentTooLarge, "zip_members"),
        (packed.tarred({f"{n}.txt": b"x" for n in range(11)}), {"zip_members": 10}, DocumentTooLarge, "zip_members"),
        (packed.tarred({"a.txt": b"words " * 99})[:600], {}, DamagedDocument, "damaged"),
        (PACK["gz"](packed.tarred({"a.txt.gz": PACK["gz"](b"x" * 9_000)})), {"zip_bytes": 15_000}, DocumentTooLarge,
         "zip_bytes"),
    ],
)  # fmt: skip
def test_the_limits_hold_for_what_is_packed_too(
    data: bytes, limits: dict[str, int], error: type[DocumentError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        parse("archive", data, **limits)
    assert "file.archive" in str(caught.value)


@pytest.mark.parametrize(
    ("members", "limits", "error", "said"),
    [
        ({"a.bin": bytes(256)}, {}, EmptyDocument, "a.bin"),
        ({}, {}, EmptyDocument, "no file"),
        ({"zeros.txt": bytes(20 << 20)}, {}, DocumentTooLarge, "zip_ratio"),
        ({f"{n}.txt": b"x" for n in range(11)}, {"zip_members": 10}, DocumentTooLarge, "zip_members"),
        ({"a.txt": b"words " * 10, "b.txt": b"words " * 10}, {"max_text": 100}, DocumentTooLarge, "max_text"),
        ({"a.txt": b"a\n\nb\n\nc", "b.txt": b"a\n\nb\n\nc"}, {"max_blocks": 5}, DocumentTooLarge, "max_blocks"),
        ({"a.txt": b"words " * 10, "b.zip": zipped({"c.txt": b"x" * 80})}, {"zip_bytes": 200}, DocumentTooLarge, "zip_bytes"),
        ({f"{n}.zip": zipped({"c.txt": b"x" * 900}) for n in range(4)}, {"zip_bytes": 3_000}, DocumentTooLarge, "zip_bytes"),
        ({"a.txt": b"words", "b.zip": zipped({"zeros.txt": bytes(20 << 20)})}, {}, DocumentTooLarge, "zip_ratio"),
    ],
)  # fmt: skip
def test_the_limits_hold_for_all_that_an_archive_holds_at_all_depths(
    members: dict[str, bytes], limits: dict[str, int], error: type[DocumentError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        parse("archive", zipped(members), **limits)
    assert "file.archive" in str(caught.value)


def test_a_mailbox_is_its_messages_with_their_attachments() -> None:
    document = parse("mbox", packed.letters_mbox())
    assert [child.name for child in document.children] == ["message 1", "message 2"]
    assert [child.name for child in document.children[0].children] == ["orders.csv", "An older message"]
    assert document.children[1].blocks[-1].text == "From here on it is quoted."


def test_messages_of_a_mailbox_share_its_limits_and_a_broken_one_leaves_a_warning() -> None:
    with pytest.raises(DocumentTooLarge, match=r"file\.mbox.*max_text"):
        parse("mbox", packed.letters_mbox(), max_text=250)
    empty = b"From a@b Mon Jan  5 10:00:00 2026\nX-Nothing: here\n\n\n"
    document = parse("mbox", empty + packed.letters_mbox())
    assert len(document.children) == 2
    assert document.warnings == ["message 1 holds no text"]


def test_a_book_is_its_chapters_in_the_order_of_the_spine_each_once() -> None:
    document = parse("epub", packed.book_epub())
    assert [(block.kind, block.text) for block in document.blocks] == [
        ("heading", "One"), ("text", "The first chapter."), ("heading", "Two"), ("text", "The second chapter. 第二章"),
    ]  # fmt: skip
    assert document.meta == {"title": "The mill", "creator": "A. Miller"}


@pytest.mark.parametrize("nav", [True, False])
def test_a_book_has_its_table_of_contents_as_outline_and_pictures_where_they_are_shown_first(nav: bool) -> None:
    document = parse("epub", packed.illustrated_epub(nav=nav))
    assert [(entry.title, entry.level) for entry in document.outline] == [("The first", 1), ("Part", 2), ("Two", 1)]
    assert [(block.kind, block.text, bool(block.asset)) for block in document.blocks] == [
        ("heading", "The first", False), ("text", "Words of one.", False), ("figure", "The mill", True),
        ("text", "More.", False), ("heading", "Two", False), ("text", "Again: drawn", False),
    ]  # fmt: skip
    assert [asset.data for asset in document.assets.values()] == [packed.words_png()]


def test_pictures_of_opendocument_files_are_read_and_those_elsewhere_are_not() -> None:
    frame = (
        '<text:p>words<draw:frame><draw:image xlink:href="{}"/><svg:title>The mill</svg:title></draw:frame></text:p>'
    )
    body = "".join(map(frame.format, ("Pictures/a.png", "../../etc/passwd", "http://a.example/x.png", "content.xml")))
    spaces = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:svg="urn:x"'
    data = packed.opendocument(
        "text", f"<office:text {spaces}>{body}</office:text>", **{"Pictures/a.png": packed.words_png()}
    )
    document = parse("odf", data)
    assert [(block.kind, block.text) for block in document.blocks] == [
        ("text", "words"), ("figure", "The mill"), *[("text", "words")] * 3,
    ]  # fmt: skip
    assert [asset.data for asset in document.assets.values()] == [packed.words_png()]


RIGHTS = (
    '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><EncryptedData '
    'xmlns="http://www.w3.org/2001/04/xmlenc#"><EncryptionMethod Algorithm="{}"/></EncryptedData></encryption>'
)


@pytest.mark.parametrize(
    ("package", "more", "error", "said"),
    [
        ("../../../etc/passwd", {}, DamagedDocument, "not in it"),
        ("/etc/passwd", {}, DamagedDocument, "not in it"),
        ("", {}, DamagedDocument, "not in it"),
        ("OEBPS/book.opf", {"META-INF/encryption.xml": RIGHTS.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")},
         EncryptedDocument, "rights"),
        ("OEBPS/book.opf", {"META-INF/encryption.xml": "<broken"}, DamagedDocument, "damaged EPUB"),
        ("OEBPS/book.opf", {"META-INF/other.xml": "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"}, DamagedDocument, "entities"),
        ("OEBPS/book.opf", {"OEBPS/book.opf": "<package/>"}, EmptyDocument, "no text"),
    ],
)  # fmt: skip
def test_a_book_that_cannot_be_read_says_why(
    package: str, more: dict[str, str], error: type[DocumentError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        parse("epub", packed.book_epub(package, **more))
    assert "file.epub" in str(caught.value)


def test_scrambled_fonts_lock_no_book() -> None:
    data = packed.book_epub(**{"META-INF/encryption.xml": RIGHTS.format("http://www.idpf.org/2008/embedding")})
    assert "The first chapter." in words(parse("epub", data))


def test_an_entity_in_the_package_is_not_put_in() -> None:
    opf = (
        '<!DOCTYPE package [<!ENTITY x SYSTEM "file:///etc/passwd"><!ENTITY t "inserted">]>'
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        '<dc:title>a&x;&t;</dc:title></metadata><manifest><item id="a" href="text/one.xhtml" '
        'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>'
    )
    assert parse("epub", packed.book_epub(**{"OEBPS/book.opf": opf})).meta == {"title": "a"}


def test_an_opendocument_text_has_headings_lists_notes_and_tables_with_spans() -> None:
    document = parse("odf", packed.report_odt())
    assert [(block.kind, block.level, block.text) for block in document.blocks] == [
        ("heading", 1, "Annual report"), ("text", 0, "A lease is the right."), ("footnote", 0, "The note."),
        ("list_item", 1, "outer"), ("list_item", 2, "inner"), ("table", 0, ""), ("text", 0, "中文段落。"),
    ]  # fmt: skip
    [table] = [block.table for block in document.blocks if block.table]
    assert table.grid() == [["Figures", ""], ["North", "1,200.50"]]
    assert table.cells[0].colspan == 2


def test_sheets_and_slides_are_pages_and_repeated_rows_are_rows() -> None:
    document = parse("odf", packed.book_ods())
    assert [page.label for page in document.pages] == ["Orders", "合并"]
    grids = [block.table.grid() for block in document.blocks if block.table]
    assert grids == [[["order", "amount"], ["SO-1", "1.50"], ["SO-1", "1.50"]], [["", "", "third column"]]]
    assert [(block.kind, block.text, block.page) for block in parse("odf", packed.talk_odp()).blocks] == [
        ("heading", "Leases", 1), ("text", "Reserve in batches", 1), ("text", "Say why.", 1), ("heading", "数字", 2),
    ]  # fmt: skip


CELL = "<table:table-cell {}><text:p>x</text:p></table:table-cell>"


@pytest.mark.parametrize(
    ("row", "cell", "limits", "said"),
    [
        ('table:number-rows-repeated="1000000"', "", {"max_rows": 100_000}, "max_rows"),
        ("", 'table:number-columns-repeated="900000000"', {"max_cells": 1_000}, "max_cells"),
        (
            'table:number-rows-repeated="1000"',
            'table:number-columns-repeated="1000"',
            {"max_cells": 10_000},
            "max_cells",
        ),
    ],
)
def test_a_few_bytes_that_stand_for_a_million_cells_are_counted(
    row: str, cell: str, limits: dict[str, int], said: str
) -> None:
    table = f"<table:table><table:table-row {row}>{CELL.format(cell)}</table:table-row></table:table>"
    data = packed.opendocument("spreadsheet", f"<office:spreadsheet>{table}</office:spreadsheet>")
    with pytest.raises(DocumentTooLarge, match=said):
        parse("odf", data, **limits)


@pytest.mark.parametrize(
    ("body", "more", "error", "said"),
    [
        (
            "<office:text/>",
            {"META-INF/manifest.xml": "<m><e><encryption-data/></e></m>"},
            EncryptedDocument,
            "password",
        ),
        ("<office:text><text:p>x", {}, DamagedDocument, "OpenDocument"),
        ("<office:text>" + "<text:section>" * 5_000, {}, DamagedDocument, "OpenDocument"),
        ("<office:text/>", {}, EmptyDocument, "no text"),
    ],
)
def test_an_opendocument_file_that_cannot_be_read_says_why(
    body: str, more: dict[str, str], error: type[DocumentError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        parse("odf", packed.opendocument("text", body, **more))
    assert "file.odf" in str(caught.value)


@pytest.mark.parametrize("name", ["archive", "epub", "odf"])
def test_a_member_with_a_password_is_an_encrypted_document(name: str) -> None:
    data = {"archive": packed.folder_zip, "epub": packed.book_epub, "odf": packed.report_odt}[name]()
    with pytest.raises(EncryptedDocument, match="password"):
        parse(name, packed.locked(data))


def test_attachments_of_every_new_format_are_read_from_mail() -> None:
    attached = {
        "a.doc": ole.report_doc(),
        "b.rtf": packed.letter_rtf(),
        "c.odt": packed.report_odt(),
        "d.zip": packed.folder_zip(),
    }
    data = zipped({"letter.eml": plain.mail_with(attached), "report.docx": office.report_docx()})
    letter, report = parse("archive", data, attachment_depth=4).children
    assert [child.format for child in letter.children] == ["doc", "rtf", "odf", "archive"]
    assert report.format == "docx"
