"""The contract of stage caches: subclass it in a test module, give it a ``cache`` fixture."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from gristmill.ports.cache import StageCache


class CacheContract:
    """What every stage cache guarantees."""

    @pytest.fixture
    def cache(self) -> StageCache:
        raise NotImplementedError("override this fixture: it gives the cache under test")

    def test_what_was_put_is_known_and_nothing_else(self, cache: StageCache) -> None:
        values = {"a": b"", "b": b"\0\xff", "'; DROP TABLE result; --": b"x" * 3_000_000}
        assert cache.get_many("vector", list(values)) == {}
        cache.put_many("vector", values)
        cache.put_many("vector", {})
        assert cache.get_many("vector", [*values, "unknown"]) == values
        assert cache.get_many("vector", []) == {}

    def test_kinds_are_apart(self, cache: StageCache) -> None:
        cache.put_many("parsed", {"a": b"parsed"})
        cache.put_many("chunks", {"a": b"chunks"})
        assert cache.get_many("parsed", ["a"]) == {"a": b"parsed"}
        assert cache.get_many("vector", ["a"]) == {}

    def test_a_known_key_is_left_alone(self, cache: StageCache) -> None:
        cache.put_many("vector", {"a": b"first"})
        cache.put_many("vector", {"a": b"second", "b": b"new"})
        assert cache.get_many("vector", ["a", "b"]) == {"a": b"first", "b": b"new"}

    def test_thousands_of_keys_are_one_question(self, cache: StageCache) -> None:
        values = {f"k{n}": str(n).encode() for n in range(3000)}
        cache.put_many("vector", values)
        assert cache.get_many("vector", [*values, *values, *(f"u{n}" for n in range(3000))]) == values

    def test_the_least_recently_written_goes_first_and_no_more_than_must(self, cache: StageCache) -> None:
        for number in range(10):
            cache.put_many("parsed", {f"k{number}": b"x" * 1000})
        cache.put_many("parsed", {"k0": b"y" * 1000})  # known, so not written
        assert cache.evict(max_bytes=10_000) == 0
        assert cache.evict(max_bytes=6_999) == 4
        assert sorted(cache.get_many("parsed", [f"k{n}" for n in range(10)])) == [f"k{n}" for n in range(4, 10)]
        assert cache.evict(max_bytes=6_999) == 0
        assert cache.evict(max_bytes=0) == 6
        assert cache.evict(max_bytes=0) == 0
        cache.put_many("parsed", {"k0": b"again"})
        assert cache.get_many("parsed", ["k0"]) == {"k0": b"again"}

    def test_thousands_of_entries_are_evicted_as_well(self, cache: StageCache) -> None:
        cache.put_many("vector", {f"k{n}": b"0123456789" for n in range(2500)})
        assert cache.evict(max_bytes=1_005) == 2400
        assert len(cache.get_many("vector", [f"k{n}" for n in range(2500)])) == 100

    def test_several_threads_may_use_it_at_once(self, cache: StageCache) -> None:
        def work(worker: int) -> None:
            for number in range(30):
                cache.put_many("vector", {f"{worker}:{number}": b"x", "same": b"y"})
                assert cache.get_many("vector", [f"{worker}:{number}", "same"]).keys() == {f"{worker}:{number}", "same"}

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert len(cache.get_many("vector", [f"{w}:{n}" for w in range(4) for n in range(30)])) == 120

    def test_closing_gives_up_connections_and_nothing_else(self, cache: StageCache) -> None:
        cache.put_many("vector", {"a": b"x"})
        cache.close()
        cache.close()
        assert cache.get_many("vector", ["a"]) == {"a": b"x"}
