"""Ids are new, sortable and valid; digests tell different content apart, and nothing else."""

from __future__ import annotations

import hashlib
import time
import uuid
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gristmill.base.ids import content_digest, digest, file_digest, new_id

PARTS = st.lists(st.text() | st.binary(), max_size=5)


def as_bytes(parts: list[str | bytes]) -> list[bytes]:
    return [one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in parts]


def test_ids_are_never_the_same_and_are_uuids_of_version_7() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    for one in ids:
        parsed = uuid.UUID(hex=one)
        assert (parsed.version, parsed.variant, parsed.hex) == (7, uuid.RFC_4122, one)


def test_ids_sort_by_the_time_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    one = new_id()
    after = time.time_ns() // 1_000_000
    assert f"{before:012x}" <= one[:12] <= f"{after:012x}"


@given(PARTS, PARTS)
def test_digests_are_equal_exactly_for_equal_parts(one: list[str | bytes], other: list[str | bytes]) -> None:
    assert (digest(*one) == digest(*other)) == (as_bytes(one) == as_bytes(other))


@given(st.text(), st.text(min_size=1))
def test_where_one_part_ends_and_the_next_begins_matters(one: str, other: str) -> None:
    assert digest(one + other) != digest(one, other)
    assert digest(one, other, "") != digest(one, other)


def test_digests_stay_what_they_are() -> None:
    """They are keys of caches and identities of chunks: a change would make every home ingest anew."""
    assert digest() == "99aa06d3014798d86001c324468d497f"
    assert digest("ab", "c") == digest(b"ab", "c") == "f2eda2708bcfd51cc05c0ee4c9f60440"
    assert digest("\ud800") == digest("\ud800")  # half a surrogate pair is text, too


@given(st.binary(max_size=200))
def test_the_digest_of_content_is_sha256(data: bytes) -> None:
    assert content_digest(data) == hashlib.sha256(data).hexdigest()


def test_a_file_has_the_digest_of_its_content(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    assert file_digest(tmp_path / "f") == content_digest(data)
