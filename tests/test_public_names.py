"""The names that ``gristmill`` offers: each is there, documented, sorted, and none is offered by accident."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import gristmill
from gristmill.base import errors

SOURCE = ast.parse(Path(gristmill.__file__).read_text(encoding="utf-8"))


def imported() -> dict[str, str]:
    """What type checkers see: the public names with their modules."""
    return {
        alias.name: node.module or ""
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gristmill.")
        for alias in node.names
    }


def test_the_list_is_sorted_and_is_what_type_checkers_see() -> None:
    assert sorted(set(gristmill.__all__)) == list(gristmill.__all__)
    assert set(gristmill.__all__) == set(imported())


@pytest.mark.parametrize("name", gristmill.__all__)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(gristmill, name)
    assert found is getattr(sys.modules[imported()[name]], name)
    assert inspect.getdoc(found)


def test_all_errors_are_public() -> None:
    every = {
        name for name, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.GristmillError)
    }
    assert every <= set(gristmill.__all__)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="'gristmill' has no attribute 'Wrker'"):
        gristmill.__getattr__("Wrker")
    assert set(dir(gristmill)) == {*gristmill.__all__, "__version__"}


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import gristmill, sys; sys.exit(any(name.startswith('gristmill.') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
