"""A chunk under the source's names, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from gristmill.ports.docstore import Record
from gristmill.ports.document import Box
from gristmill.search.ragflow import ragflow_record


def record(**fields: Any) -> Record:
    base: dict[str, Any] = {
        "gen": 3, "part": 0, "ord": 4, "chunk_id": "ab" * 16, "document_id": "d1", "document": "Sea charts.v2.pdf",
        "content": "Text", "vector": b"",
    }  # fmt: skip
    return Record(**{**base, **fields})


@pytest.mark.parametrize(
    ("field", "fields", "expected"),
    [
        ("id", {}, "ab" * 16),
        ("doc_id", {}, "d1"),
        ("kb_id", {}, "kb1"),
        ("docnm_kwd", {}, "Sea charts.v2.pdf"),
        ("content_with_weight", {}, "Text"),
        ("title_tks", {}, "sea charts v2"),
        ("title_tks", {"document": "中华人民共和国著作权法.docx"}, "中华人民共和国 著作权法"),
        ("title_tks", {"document": "no ending"}, "no ending"),
        ("title_tks", {"title": "On Leases"}, "on leases"),
        ("title_sm_tks", {}, "sea charts v2"),
        ("title_sm_tks", {"document": "著作权法.docx"}, "著作 著作权 著作权法"),
        ("title_sm_tks", {"title": "On Leases"}, "on leases"),
        ("important_kwd", {"keywords": ["a", "b c"]}, ["a", "b c"]),
        ("question_kwd", {"questions": ["Why?"]}, ["Why?"]),
        ("tag_kwd", {"tags": ["x"]}, ["x"]),
        ("doc_type_kwd", {}, "text"),
        ("doc_type_kwd", {"kind": "heading"}, "text"),
        ("doc_type_kwd", {"kind": "table"}, "table"),
        ("doc_type_kwd", {"kind": "figure"}, "image"),
        ("img_id", {}, ""),
        ("img_id", {"asset": "p"}, "kb1-" + "ab" * 16),
        ("img_id", {"asset": "sound", "kind": "speech"}, ""),
        ("img_id", {"boxes": [Box(1, 0, 0, 1, 1)]}, "kb1-" + "ab" * 16),
        ("position_int", {"boxes": [Box(2, 1.4, 2.6, 30, 40), Box(3, 0, 0, 9, 9)]}, [[2, 1, 30, 3, 40], [3, 0, 9, 0, 9]]),
        ("page_num_int", {"boxes": [Box(2, 1, 2, 3, 4), Box(2, 0, 0, 9, 9), Box(3, 0, 0, 9, 9)]}, [2, 3]),
        ("top_int", {"boxes": [Box(2, 1, 2.6, 3, 4), Box(3, 0, 0, 9, 9)]}, [3, 0]),
        ("position_int", {"pages": [7]}, [[7, 4, 4, 4, 4]]),
        ("page_num_int", {"pages": [7, 8]}, [7, 8]),
        ("position_int", {}, [[5, 4, 4, 4, 4]]),
        ("page_num_int", {}, [5]),
        ("top_int", {}, [4]),
        ("chunk_order_int", {}, 4),
        ("chunk_order_int", {"part": 3000}, 3004),
        ("available_int", {}, 1),
        ("available_int", {"available": False}, 0),
        ("mom_id", {}, ""),
        ("mom_id", {"parent": 1, "parent_id": "cd"}, "cd"),
        ("create_time", {"created": 86_399.5}, "1970-01-01 23:59:59"),
        ("create_timestamp_flt", {"created": 86_399.5}, 86_399.5),
        ("price_flt", {"fields": {"price_flt": 1.5}}, 1.5),
        ("n_long", {"fields": {"n_long": 2}}, 2),
        ("day_dt", {"fields": {"day_dt": "2024-01-01 00:00:00"}}, "2024-01-01 00:00:00"),
        ("new_kwd", {"fields": {"new_kwd": "yes"}}, "yes"),
        ("name_raw", {"fields": {"name_raw": "Big Ship"}}, "Big Ship"),
        ("name_tks", {"fields": {"name_raw": "Big Ship"}}, "big ship"),
    ],
)  # fmt: skip
def test_each_field_has_the_sources_name_and_meaning(field: str, fields: dict[str, Any], expected: Any) -> None:
    assert ragflow_record(record(**fields), "kb1")[field] == expected


def test_a_place_that_is_known_better_counts() -> None:
    shaped = ragflow_record(record(part=3000), "kb1", place=7)
    assert (shaped["chunk_order_int"], shaped["position_int"]) == (7, [[8, 7, 7, 7, 7]])


def test_a_column_never_takes_the_place_of_a_field_of_the_chunk() -> None:
    fields: dict[str, int | float | str] = {"page_num_int": 1, "tag_kwd": "yes", "available_long": 0}
    shaped = ragflow_record(record(fields=fields, tags=["t"]), "kb1")
    assert (shaped["page_num_int"], shaped["tag_kwd"], shaped["available_long"]) == ([5], ["t"], 0)
