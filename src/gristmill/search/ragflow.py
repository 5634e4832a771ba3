"""A record under the source's names, for those who read its chunks today. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import rjieba

from gristmill.ports.docstore import Record
from gristmill.search.tokens import LONGEST, normalise, tokenize, words

_TYPES = {"table": "table", "figure": "image"}
_RAW = "_raw"


def ragflow_record(record: Record, dataset_id: str, *, place: int | None = None) -> dict[str, Any]:
    """The fields of a chunk as the source's index holds them, but for vectors and the tokens of the text.

    Boxes are whole points, as the source has them. A chunk without any has its place among the document's chunks in their
    stead, and in the page's where it has no page either; ``place`` is that, where the caller knows better than the record
    (``chunk_order_int``: exact for a document that is one part, else the part's first unit and the place within it).
    """
    order = record.part + record.ord if place is None else place
    positions = _positions(record, order)
    title = record.title or _stem(record.document)
    created = datetime.fromtimestamp(record.created, UTC)
    shaped = {
        "id": record.chunk_id,
        "doc_id": record.document_id,
        "kb_id": dataset_id,
        "docnm_kwd": record.document,
        "title_tks": " ".join(_coarse(title)),
        "title_sm_tks": " ".join(tokenize(title)),
        "content_with_weight": record.content,
        "important_kwd": record.keywords,
        "question_kwd": record.questions,
        "tag_kwd": record.tags,
        "doc_type_kwd": _TYPES.get(record.kind, "text"),
        "img_id": f"{dataset_id}-{record.chunk_id}" if _has_picture(record) else "",
        "page_num_int": list(dict.fromkeys(position[0] for position in positions)),
        "top_int": [position[3] for position in positions],
        "position_int": positions,
        "chunk_order_int": order,
        "available_int": int(record.available),
        "mom_id": record.parent_id,
        "create_time": f"{created:%Y-%m-%d %H:%M:%S}",
        "create_timestamp_flt": record.created,
    }
    return shaped | {key: value for key, value in _fields(record.fields).items() if key not in shaped}


def _has_picture(record: Record) -> bool:
    """Whether it is one, or can be drawn: the asset of speech is its recording."""
    return bool(record.boxes or (record.asset and record.kind != "speech"))


def _positions(record: Record, order: int) -> list[list[int]]:
    """Page, left, right, top, bottom."""
    if record.boxes:
        return [[box.page, *(round(side) for side in (box.x0, box.x1, box.y0, box.y1))] for box in record.boxes]
    return [[page, order, order, order, order] for page in record.pages or [order + 1]]


def _stem(name: str) -> str:
    """The name without its ending."""
    return name.rsplit(".", 1)[0]


def _coarse(text: str) -> Iterator[str]:
    """The words of a text, Chinese ones without those inside of them, runs of other scripts without blanks as they are."""
    for kind, _, run in words(normalise(text)):
        yield from rjieba.cut(run) if kind == "han" else [run[:LONGEST]]


def _fields(fields: dict[str, int | float | str]) -> dict[str, Any]:
    """A row's values; of a text its words, too."""
    texts = {key.removesuffix(_RAW): value for key, value in fields.items() if key.endswith(_RAW)}
    return {**fields, **{f"{column}_tks": " ".join(tokenize(str(text))) for column, text in texts.items()}}
