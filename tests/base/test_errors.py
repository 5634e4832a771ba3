"""Errors: one tree, drawn at the head of its file; each says what it means and whether repeating helps."""

from __future__ import annotations

import inspect
import re

import pytest

from gristmill.base import errors
from gristmill.base.errors import GristmillError

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, GristmillError)]
WORTH_REPEATING = {"BrokerUnavailable", "FetchFailed", "RunnerCrashed", "Retry", "StoreUnavailable", "ModelUnavailable"}


def drawn() -> dict[str, str]:
    """Each class of the drawing with the one above it."""
    above: dict[str, str] = {}
    path: list[str] = ["GristmillError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([│ ]*)[├└]── (\w+)", line)
        if found:
            depth = len(found[1]) // 4 + 1
            above[found[2]] = path[depth - 1]
            path[depth:] = [found[2]]
    return above


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == {
        one.__name__: one.__base__.__name__ for one in CLASSES if one is not GristmillError and one.__base__
    }


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_without_a_message_says_what_its_class_means(error: type[GristmillError]) -> None:
    assert str(error()) == (error.__doc__ or "").splitlines()[0]
    assert str(error("told")) == "told"


@pytest.mark.parametrize("error", CLASSES)
def test_errors_say_whether_repeating_helps(error: type[GristmillError]) -> None:
    assert error.retryable is (error.__name__ in WORTH_REPEATING)


def test_an_error_may_say_when_to_come_back() -> None:
    assert errors.Retry(retry_after=2.5).retry_after == 2.5
    assert errors.ModelUnavailable("busy").retry_after is None
