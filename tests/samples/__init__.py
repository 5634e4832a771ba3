"""Small valid documents of every format, made by the libraries that write them. ``SAMPLES`` is parser -> file -> bytes."""

from __future__ import annotations

from collections.abc import Callable

from samples import office, pdf, plain

SAMPLES: dict[str, dict[str, Callable[[], bytes]]] = {
    "csv": {"orders.csv": plain.orders_csv, "semicolons.csv": plain.semicolon_csv, "tabs.tsv": plain.tabs_tsv},
    "docx": {"report.docx": office.report_docx},
    "email": {"thread.eml": plain.thread_eml},
    "html": {"page.html": plain.page_html},
    "json": {"record.json": plain.record_json, "lines.jsonl": plain.lines_jsonl},
    "markdown": {"guide.md": plain.guide_md},
    "pdf": {"report.pdf": pdf.report_pdf},
    "pptx": {"talk.pptx": office.talk_pptx},
    "text": {"notes.txt": plain.notes_txt, "law_gbk.txt": plain.law_gbk, "code.py": plain.code_py},
    "xlsx": {"book.xlsx": office.book_xlsx},
}
