"""Back-off: pure, bounded, random enough that not all come back at once."""

from __future__ import annotations

from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.engine.retry import delay
from gristmill.engine.task import Policy

POLICY = Policy("t", retry_backoff=2.0, retry_backoff_max=60.0)


@given(st.integers(1, 10_000), st.integers())
def test_the_wait_is_within_its_bounds_whatever_the_attempt(attempt: int, seed: int) -> None:
    assert 0.0 <= delay(POLICY, attempt, None, Random(seed)) <= min(60.0, 2.0 * 2.0 ** min(attempt - 1, 40))


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 2.0), (2, 4.0), (3, 8.0), (6, 60.0), (99, 60.0)])
def test_the_wait_doubles_up_to_the_most_and_uses_all_of_its_room(attempt: int, ceiling: float) -> None:
    rng = Random(7)
    waits = [delay(POLICY, attempt, None, rng) for _ in range(2_000)]
    assert min(waits) < 0.01 * ceiling
    assert max(waits) > 0.99 * ceiling
    assert mean(waits) == pytest.approx(ceiling / 2, rel=0.05)


@given(st.floats(0, 1e6), st.integers(1, 99), st.integers())
def test_what_the_failure_asked_for_is_honoured_and_spread_by_a_tenth(after: float, attempt: int, seed: int) -> None:
    assert after <= delay(POLICY, attempt, after, Random(seed)) <= after * 1.1 + 1e-9


def test_a_failure_that_asks_for_the_past_is_tried_at_once() -> None:
    assert delay(POLICY, 1, -5.0, Random(1)) == 0.0


def test_the_same_seed_waits_the_same() -> None:
    assert [delay(POLICY, n, None, Random(3)) for n in range(1, 9)] == [
        delay(POLICY, n, None, Random(3)) for n in range(1, 9)
    ]
