"""What is on the wire: whole round trips, tolerance for newer releases, refusal of what cannot travel."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.base.errors import EngineError
from gristmill.engine.message import (
    VERSION,
    End,
    ErrorRecord,
    Lease,
    Message,
    Progress,
    decode,
    encode,
    new_message,
    too_late,
)
from gristmill.engine.state import TaskState

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda deeper: st.lists(deeper) | st.dictionaries(TEXTS, deeper),
    max_leaves=8,
)
MESSAGES = st.builds(
    Message,
    id=TEXTS,
    task=TEXTS,
    args=st.lists(VALUES),
    kwargs=st.dictionaries(TEXTS, VALUES),
    key=st.none() | TEXTS,
    queue=TEXTS,
    priority=st.integers(-9, 9),
    lane=TEXTS,
    delay=st.floats(0, 1e9),
    deadline=st.none() | st.floats(0, 1e9),
    max_attempts=st.integers(1, 99),
    trace=st.dictionaries(TEXTS, TEXTS),
)


@given(MESSAGES)
def test_a_message_comes_back_as_it_went(message: Message) -> None:
    assert decode(encode(message)) == message


def test_a_message_says_only_what_is_not_usual() -> None:
    assert encode(Message("i", "t")) == b'{"id":"i","task":"t"}'
    assert decode(b'{"id":"i","task":"t"}').v == VERSION


def test_fields_of_a_newer_release_are_ignored() -> None:
    assert decode(b'{"id":"i","task":"t","v":9,"colour":"red"}') == Message("i", "t", v=9)


def test_new_messages_have_ids_of_their_own_and_keep_their_arguments() -> None:
    one, two = new_message("t", 1, "a", lane="l"), new_message("t")
    assert one.id != two.id
    assert (one.args, one.lane, two.args) == ([1, "a"], "l", [])


@pytest.mark.parametrize("argument", [object(), {"x": {1, object()}}, "half a pair \ud83d", 2**70])
def test_what_is_not_json_cannot_travel_and_its_task_is_named(argument: Any) -> None:
    with pytest.raises(EngineError, match=r"shop\.sell"):
        encode(new_message("shop.sell", argument))


@pytest.mark.parametrize("state", list(TaskState))
def test_only_a_final_state_ends_a_lease(state: TaskState) -> None:
    lease = Lease(Message("i", "t"), 1, "w", 1)
    if state.final:
        assert End(lease, state).state is state
    else:
        with pytest.raises(ValueError, match=f"{state} ends nothing"):
            End(lease, state)


def test_half_characters_in_what_is_said_of_a_task_are_replaced() -> None:
    error = ErrorRecord("OSError", "no file caf\udce9.txt 😀", traceback="\ud83d", stage="fetch")
    assert (error.message, error.traceback) == ("no file caf?.txt 😀", "?")
    assert msgspec.json.decode(msgspec.json.encode(error), type=ErrorRecord) == error
    assert Progress(Lease(Message("i", "t"), 1, "w", 1), 0.5, "caf\udce9").message == "caf?"


@pytest.mark.parametrize(
    ("attempt", "deadline", "reason"),
    [(0, None, None), (2, 10.0, None), (0, 9.9, "deadline"), (3, None, "all 3 attempts"), (3, 9.9, "deadline")],
)
def test_a_task_is_too_late_after_its_deadline_or_its_attempts(
    attempt: int, deadline: float | None, reason: str | None
) -> None:
    said = too_late(attempt, 3, deadline, now=10.0)
    assert (said is None) if reason is None else (said is not None and reason in said)
