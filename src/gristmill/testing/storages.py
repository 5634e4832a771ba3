"""The contract of object stores: subclass it in a test module, give it a ``store`` fixture."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from gristmill.base.errors import BlobMissing
from gristmill.ports.storage import ObjectStore

BAD_KEYS = (
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "..",
    "../a",
    "a/../b",
    "a/..",
    ".",
    "./a",
    "a/.hidden",
    "a\\b",
    "a\0b",
    "a\nb",
    "C:a",
    "a b",
    "名",
    "%2e%2e/a",
    "x" * 201,
)


class StorageContract:
    """What every object store guarantees."""

    large: ClassVar[int] = 3 * 1024 * 1024 + 7  # bytes of the larger objects

    @pytest.fixture
    def store(self) -> ObjectStore:
        raise NotImplementedError("override this fixture: it gives the store under test")

    @pytest.mark.parametrize("data", [b"", b"\0\xff words", b"x" * large], ids=["empty", "binary", "large"])
    def test_an_object_comes_back_as_it_was_put(self, store: ObjectStore, data: bytes) -> None:
        store.put("blobs/t/ab/abc.d-e_F", data)
        assert store.get("blobs/t/ab/abc.d-e_F") == data
        assert store.exists("blobs/t/ab/abc.d-e_F")

    def test_a_put_replaces(self, store: ObjectStore) -> None:
        store.put("a", b"first, and longer")
        store.put("a", b"second")
        assert store.get("a") == b"second"
        assert list(store.keys()) == ["a"]

    def test_a_file_is_stored_with_its_content(self, store: ObjectStore, tmp_path: Path) -> None:
        path = tmp_path / "source"
        path.write_bytes(b"0123456789" * (self.large // 10))
        store.put_file("a/b", path)
        assert store.get("a/b") == path.read_bytes()

    def test_a_file_that_is_not_there_leaves_no_object(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="nothing"):
            store.put_file("a", tmp_path / "nothing")
        assert not store.exists("a")
        assert list(store.keys()) == []

    def test_what_is_absent_is_missing(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"x")
        for key in ("nothing", "a/nothing", "a/b", "a/b/c/d"):
            assert not store.exists(key)
            with pytest.raises(BlobMissing, match=key):
                store.get(key)
            store.delete(key)
        assert store.get("a/b/c") == b"x"

    def test_a_deleted_object_is_gone(self, store: ObjectStore) -> None:
        store.put("a/b", b"x")
        store.put("a/c", b"y")
        store.delete("a/b")
        store.delete("a/b")
        assert not store.exists("a/b")
        assert list(store.keys()) == ["a/c"]
        store.put("a/b", b"again")
        assert store.get("a/b") == b"again"

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_key_that_climbs_or_is_odd_is_refused(self, store: ObjectStore, tmp_path: Path, key: str) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x")
        for use in (
            lambda: store.put(key, b"x"),
            lambda: store.put_file(key, source),
            lambda: store.get(key),
            lambda: store.exists(key),
            lambda: store.delete(key),
        ):
            with pytest.raises(ValueError, match="is not a storage key"):
                use()
        assert list(store.keys()) == []

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", {"blobs/t/ab/abc", "blobs/t/ac/acd", "blobs/u/ab/abc", "assets/t/x"}),
            ("blobs/", {"blobs/t/ab/abc", "blobs/t/ac/acd", "blobs/u/ab/abc"}),
            ("blobs/t/", {"blobs/t/ab/abc", "blobs/t/ac/acd"}),
            ("blobs/t/a", {"blobs/t/ab/abc", "blobs/t/ac/acd"}),
            ("blobs/t/ab/abc", {"blobs/t/ab/abc"}),
            ("bl", {"blobs/t/ab/abc", "blobs/t/ac/acd", "blobs/u/ab/abc"}),
            ("nothing/", set()),
            ("../", set()),
            ("/", set()),
            ("blobs/../assets/", set()),
            ("*", set()),
        ],
    )
    def test_keys_are_those_that_start_with_the_prefix(
        self, store: ObjectStore, prefix: str, expected: set[str]
    ) -> None:
        for key in ("blobs/t/ab/abc", "blobs/t/ac/acd", "blobs/u/ab/abc", "assets/t/x"):
            store.put(key, b"x")
        found = list(store.keys(prefix))
        assert sorted(found) == sorted(expected)

    def test_objects_may_go_while_keys_are_listed(self, store: ObjectStore) -> None:
        for number in range(20):
            store.put(f"a/{number}", b"x")
        for key in store.keys("a/"):
            store.delete(key)
        assert list(store.keys()) == []

    def test_readers_see_whole_objects_while_others_put(self, store: ObjectStore) -> None:
        values = [bytes([65 + n]) * 200_000 for n in range(4)]
        store.put("a/b", values[0])

        def put(value: bytes) -> None:
            for _ in range(15):
                store.put("a/b", value)

        def read() -> int:
            looks = 0
            while not done:
                assert store.get("a/b") in values
                looks += 1
            return looks

        done: list[bool] = []
        with ThreadPoolExecutor(4) as pool:
            reading = [pool.submit(read) for _ in range(2)]
            for writing in [pool.submit(put, value) for value in values[1:3]]:
                writing.result()
            done.append(True)
            assert all(one.result() for one in reading)
        assert list(store.keys()) == ["a/b"]

    def test_closing_twice_is_closing(self, store: ObjectStore) -> None:
        store.close()
        store.close()
