"""Small valid documents of every format, made by the libraries that write them. ``SAMPLES`` is parser -> file -> bytes."""

from __future__ import annotations

from collections.abc import Callable

from samples import office, ole, packed, pdf, plain, sound

SAMPLES: dict[str, dict[str, Callable[[], bytes]]] = {
    "archive": {"folder.zip": packed.folder_zip, "folder.tar": packed.folder_tar},
    "audio": {"tone.wav": sound.tone_wav},
    "csv": {"orders.csv": plain.orders_csv, "semicolons.csv": plain.semicolon_csv, "tabs.tsv": plain.tabs_tsv},
    "doc": {"report.doc": ole.report_doc},
    "docx": {"report.docx": office.report_docx},
    "email": {"thread.eml": plain.thread_eml},
    "epub": {"book.epub": packed.book_epub},
    "html": {"page.html": plain.page_html},
    "image": {"words.png": packed.words_png},
    "json": {"record.json": plain.record_json, "lines.jsonl": plain.lines_jsonl},
    "markdown": {"guide.md": plain.guide_md},
    "mbox": {"letters.mbox": packed.letters_mbox},
    "msg": {"letter.msg": ole.letter_msg},
    "notebook": {"study.ipynb": plain.study_ipynb},
    "odf": {"report.odt": packed.report_odt, "book.ods": packed.book_ods, "talk.odp": packed.talk_odp},
    "pdf": {"report.pdf": pdf.report_pdf},
    "ppt": {"talk.ppt": ole.talk_ppt},
    "pptx": {"talk.pptx": office.talk_pptx},
    "rtf": {"letter.rtf": packed.letter_rtf},
    "text": {"notes.txt": plain.notes_txt, "law_gbk.txt": plain.law_gbk, "code.py": plain.code_py},
    "xlsx": {"book.xlsx": office.book_xlsx},
}
