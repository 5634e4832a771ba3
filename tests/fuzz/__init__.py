"""Fuzzing of the parsers: ``make fuzz``, or ``python -m fuzz`` in tests/. Not part of the tests; bounded by FUZZ_SECONDS."""

from __future__ import annotations

BEFORE = ("detect", "charset")  # what runs before a parser does
ENDINGS = {
    "archive": ".zip", "audio": ".wav", "csv": ".csv", "doc": ".doc", "docx": ".docx", "email": ".eml", "epub": ".epub",
    "html": ".html", "image": ".png", "json": ".json", "markdown": ".md", "mbox": ".mbox", "msg": ".msg", "notebook": ".ipynb",
    "odf": ".odt", "pdf": ".pdf", "ppt": ".ppt", "pptx": ".pptx", "rtf": ".rtf", "text": ".txt", "xlsx": ".xlsx",
}  # fmt: skip
