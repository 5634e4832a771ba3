"""Bytes to blocks, by format. Importing this package imports no library: each adapter brings its own."""

from __future__ import annotations

from functools import cache

from gristmill.base.registry import Registry
from gristmill.ports.parser import Parser

PARSERS: Registry[Parser] = Registry(
    "gristmill.parsers",
    {
        "csv": "gristmill.parsers.csv:CsvParser",
        "docx": "gristmill.parsers.docx:DocxParser",
        "email": "gristmill.parsers.email:EmailParser",
        "html": "gristmill.parsers.html:HtmlParser",
        "json": "gristmill.parsers.json:JsonParser",
        "markdown": "gristmill.parsers.markdown:MarkdownParser",
        "pdf": "gristmill.parsers.pdf:PdfParser",
        "pptx": "gristmill.parsers.pptx:PptxParser",
        "text": "gristmill.parsers.text:TextParser",
        "xlsx": "gristmill.parsers.xlsx:XlsxParser",
    },
    needs={"pdf": "pdf", "docx": "office", "pptx": "office", "xlsx": "office"},
)

SPLIT = frozenset(("csv", "pdf", "xlsx"))  # the built-in ones that parse a document in parts; a test keeps this true


def splits(name: str) -> bool:
    """Whether this parser reads a document in parts. The built-in ones need not be imported to know it."""
    return name in SPLIT if name in PARSERS.builtin else bool(PARSERS.load(name).unit)


@cache
def claimed() -> dict[str, str]:
    """The endings that parsers of other packages claim, with the parser's name."""
    return {ending.lower(): name for name in PARSERS.installed() for ending in PARSERS.load(name).endings}
