"""The one table of legal steps."""

from __future__ import annotations

import pytest

from gristmill.engine.state import FINAL, LEGAL, TaskState, may

Q, R, S, F, C, D = TaskState


@pytest.mark.parametrize("old", list(TaskState))
@pytest.mark.parametrize("new", list(TaskState))
def test_the_legal_steps_are_these(old: TaskState, new: TaskState) -> None:
    assert may(old, new) is ((old, new) in {(Q, R), (Q, C), (Q, D), (R, S), (R, F), (R, C), (R, D), (R, Q)})


def test_nothing_leads_out_of_a_final_state() -> None:
    """P2."""
    assert {S, F, C, D} == FINAL == {state for state in TaskState if state.final}
    assert all(not LEGAL[state] for state in FINAL)


def test_every_state_has_a_row_and_a_way_to_an_end() -> None:
    """P1: no state is a trap."""
    assert LEGAL.keys() == set(TaskState)
    assert all(LEGAL[state] & FINAL for state in TaskState if not state.final)
