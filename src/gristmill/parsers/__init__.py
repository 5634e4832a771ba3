"""Bytes to blocks, by format. Importing this package imports no library: each adapter brings its own."""

from __future__ import annotations

from functools import cache

from gristmill.base.registry import Registry
from gristmill.ports.parser import Parser

PARSERS: Registry[Parser] = Registry(
    "gristmill.parsers",
    {
        "archive": "gristmill.parsers.archive:ArchiveParser",
        "audio": "gristmill.parsers.audio:AudioParser",
        "csv": "gristmill.parsers.csv:CsvParser",
        "doc": "gristmill.parsers.doc:DocParser",
        "docx": "gristmill.parsers.docx:DocxParser",
        "email": "gristmill.parsers.email:EmailParser",
        "epub": "gristmill.parsers.epub:EpubParser",
        "html": "gristmill.parsers.html:HtmlParser",
        "image": "gristmill.parsers.image:ImageParser",
        "json": "gristmill.parsers.json:JsonParser",
        "markdown": "gristmill.parsers.markdown:MarkdownParser",
        "mbox": "gristmill.parsers.mbox:MboxParser",
        "msg": "gristmill.parsers.msg:MsgParser",
        "notebook": "gristmill.parsers.notebook:NotebookParser",
        "odf": "gristmill.parsers.odf:OdfParser",
        "pdf": "gristmill.parsers.pdf:PdfParser",
        "ppt": "gristmill.parsers.ppt:PptParser",
        "pptx": "gristmill.parsers.pptx:PptxParser",
        "rtf": "gristmill.parsers.rtf:RtfParser",
        "text": "gristmill.parsers.text:TextParser",
        "xlsx": "gristmill.parsers.xlsx:XlsxParser",
    },
    needs={
        **dict.fromkeys(("doc", "docx", "epub", "msg", "odf", "ppt", "pptx", "xlsx"), "office"),
        "image": "ocr",
        "pdf": "pdf",
    },
)

PAGED = frozenset(("pdf",))  # the built-in ones that read a document page by page; a test keeps this true


def splits(name: str) -> bool:
    """Whether this parser reads a document page by page. The built-in ones need not be imported to know it."""
    return name in PAGED if name in PARSERS.builtin else PARSERS.load(name).unit == "page"


@cache
def claimed() -> dict[str, str]:
    """The endings that parsers of other packages claim, with the parser's name."""
    return {ending.lower(): name for name in PARSERS.installed() for ending in PARSERS.load(name).endings}
