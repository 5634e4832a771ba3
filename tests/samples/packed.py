"""Documents that hold others, or are archives themselves; RTF; and pictures."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from samples import plain

OFFICE = "urn:oasis:names:tc:opendocument:xmlns:"
SPACES = " ".join(
    f'xmlns:{short}="{OFFICE}{name}:1.0"'
    for short, name in (
        ("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"), ("presentation", "presentation"),
    )
)  # fmt: skip
CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="{}" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def zipped(members: Mapping[str, bytes | str]) -> bytes:
    """An archive that is the same whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred(members: Mapping[str, bytes], *others: tarfile.TarInfo) -> bytes:
    """A tar archive of files, and of things that are none."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for other in others:
            archive.addfile(other)
    return buffer.getvalue()


def folder_tar() -> bytes:
    return tarred({"notes/notes.txt": plain.notes_txt(), "orders.csv": plain.orders_csv()})


def folder_zip() -> bytes:
    return zipped(
        {
            "notes/": b"",
            "notes/notes.txt": plain.notes_txt(),
            "章程.txt": plain.law_gbk(),
            "orders.csv": plain.orders_csv(),
        }
    )


def book_epub(package: str = "OEBPS/book.opf", **more: str) -> bytes:
    opf = """<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
    <dc:title>The mill</dc:title><dc:creator>A. Miller</dc:creator></metadata><manifest>
    <item id="b" href="text/two%20.xhtml" media-type="application/xhtml+xml"/>
    <item id="a" href="text/one.xhtml" media-type="application/xhtml+xml"/>
    <item id="c" href="cover.png" media-type="image/png"/></manifest>
    <spine><itemref idref="a"/><itemref idref="b"/><itemref idref="c"/><itemref idref="a"/></spine></package>"""
    head = '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><body>'
    return zipped(
        {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER.format(package), "OEBPS/book.opf": opf,
         "OEBPS/text/two .xhtml": f"{head}<h1>Two</h1><p>The second chapter. 第二章</p></body></html>",
         "OEBPS/text/one.xhtml": f"{head}<h1>One</h1><p>The first chapter.</p></body></html>", **more}
    )  # fmt: skip


def illustrated_epub(*, nav: bool) -> bytes:
    """A book with a table of contents of the newer or the older form, pictures, and a chapter without a heading."""
    item = '<item id="toc" href="{}" media-type="{}" properties="{}"/>'
    toc = (
        item.format("nav.xhtml", "application/xhtml+xml", "nav")
        if nav
        else item.format("toc.ncx", "application/x-dtbncx", "")
    )
    opf = f"""<package xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest>{toc}
    <item id="a" href="text/one.xhtml" media-type="application/xhtml+xml"/>
    <item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/></manifest>
    <spine toc="toc"><itemref idref="toc"/><itemref idref="a"/><itemref idref="b"/></spine></package>"""
    newer = """<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body>
    <nav epub:type="toc"><ol>
    <li><a href="text/one.xhtml">The <i>first</i></a><ol><li><a href="text/one.xhtml#part">Part</a></li></ol></li>
    <li><a href="text/two.xhtml">Two</a></li></ol></nav><nav epub:type="landmarks"><a href="x">never</a></nav></body></html>"""
    point = '<navPoint><navLabel><text>{}</text></navLabel><content src="text/{}"/>{}</navPoint>'
    points = point.format("The first", "one.xhtml", point.format("Part", "one.xhtml#part", "")) + point.format(
        "Two", "two.xhtml", ""
    )
    older = f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{points}</navMap></ncx>'
    head = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>Made by X</title></head><body>'
    return zipped(
        {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER.format("O/book.opf"), "O/book.opf": opf,
         "O/nav.xhtml": newer, "O/toc.ncx": older, "O/img/a b.png": words_png(), "O/img/c.svg": "<svg/>",
         "O/text/one.xhtml": f"{head}<p>Words of one.</p><img alt='The mill' src=\"../img/a%20b.png\"/><p>More.</p>"
         "</body></html>",
         "O/text/two.xhtml": f"{head}<h2>Two</h2><p>Again: <img src='../img/a b.png'/><img alt='drawn' src='../img/c.svg'/>"
         "<img src='../../../etc/passwd'/></p></body></html>"}
    )  # fmt: skip


def opendocument(kind: str, body: str, **more: str | bytes) -> bytes:
    content = f'<?xml version="1.0"?><office:document-content {SPACES}><office:body>{body}</office:body>'
    content += "</office:document-content>"
    return zipped({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content, **more})


def report_odt() -> bytes:
    return opendocument(
        "text",
        '<office:text><text:h text:outline-level="1">Annual<text:s text:c="2"/>report</text:h>'
        "<text:p>A lease is the <text:span>right</text:span>.<text:note><text:note-body><text:p>The note.</text:p>"
        "</text:note-body></text:note></text:p><text:list><text:list-item><text:p>outer</text:p><text:list><text:list-item>"
        "<text:p>inner</text:p></text:list-item></text:list></text:list-item></text:list>"
        '<table:table><table:table-row><table:table-cell table:number-columns-spanned="2"><text:p>Figures</text:p>'
        "</table:table-cell><table:covered-table-cell/></table:table-row><table:table-row><table:table-cell><text:p>North"
        "</text:p></table:table-cell><table:table-cell><text:p>1,200.50</text:p></table:table-cell></table:table-row>"
        "</table:table><text:p>中文段落。</text:p></office:text>",
    )


def book_ods() -> bytes:
    empty = (
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/>'
        "</table:table-row>"
    )
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    return opendocument(
        "spreadsheet",
        f'<office:spreadsheet><table:table table:name="Orders"><table:table-row>{cell.format("order")}{cell.format("amount")}'
        f'</table:table-row>{empty}<table:table-row table:number-rows-repeated="2">{cell.format("SO-1")}{cell.format("1.50")}'
        f'</table:table-row></table:table><table:table table:name="合并"><table:table-row><table:table-cell '
        f'table:number-columns-repeated="2"/>{cell.format("third column")}</table:table-row></table:table>'
        "</office:spreadsheet>",
    )


def talk_odp() -> bytes:
    frame = "<draw:frame{}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    title = ' presentation:class="title"'
    return opendocument(
        "presentation",
        f'<office:presentation><draw:page draw:name="one">{frame.format(title, "Leases")}'
        f"{frame.format('', 'Reserve in batches')}"
        f"<presentation:notes>{frame.format('', 'Say why.')}</presentation:notes></draw:page>"
        f'<draw:page draw:name="two">{frame.format(title, "数字")}</draw:page></office:presentation>',
    )


def letter_rtf() -> bytes:
    return (
        rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Arial;}{\f1\fcharset134 \'cb\'ce\'cc\'e5;}}"
        rb"{\stylesheet{\s0 Normal;}{\s1 heading 1;}{\s2\sbasedon0 Heading 2;}}{\*\generator Made;}{\header Running head}"
        rb"\pard\s1 Annual report\par\pard\plain A lease is the {\b right}\~to run, caf\'e9 \u20013?{\footnote The note.}. "
        rb"{\field{\*\fldinst HYPERLINK x}{\fldrslt link}}{\v hidden}{\pict\pngblip 89504e47}\par\pard\s2 Tokens\par"
        rb"\trowd\pard\intbl Region\cell Sales\cell\row\intbl North\cell 1,200.50\cell\row"
        rb"\pard{\pntext 1.\tab}\ls1\ilvl0 first\par\pard\f1 \'d6\'d0\'ce\'c4\par}"
    )


def letters_mbox() -> bytes:
    second = b"Subject: Second\nFrom: b@example.org\nTo: a@example.org\n\n>From here on it is quoted.\n"
    return b"From a@example.org Mon Jan  5 10:00:00 2026\n%s\nFrom b@example.org Mon Jan  5 11:00:00 2026\n%s\n" % (
        plain.thread_eml(), second,
    )  # fmt: skip


def picture(words: str, *, size: tuple[int, int] = (420, 90), format_: str = "PNG") -> bytes:
    """Black words on white."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 20), words, "black", ImageFont.load_default(size=32))
    buffer = io.BytesIO()
    image.save(buffer, format_, dpi=(96, 96))
    return buffer.getvalue()


def words_png() -> bytes:
    return picture("The mill grinds slowly")


def words_tif() -> bytes:
    pages = [Image.open(io.BytesIO(picture(words))) for words in ("First page", "Second page")]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def locked(archive: bytes) -> bytes:
    """A ZIP container that says of each member that it has a password."""
    data = bytearray(archive)
    place = data.index(b"PK\x01\x02")
    while place >= 0:
        data[place + 8] |= 1
        place = data.find(b"PK\x01\x02", place + 1)
    return bytes(data)
