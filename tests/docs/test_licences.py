"""Every package that an installation brings has a licence that lets people build on it, and the page of licences is true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/operations/licences.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "HPND", "ISC", "MIT", "MIT-CMU", "MIT-0", "PSF-2.0",
    "Unlicense", "Zlib",
}  # fmt: skip
SAID_OTHERWISE = {  # how metadata without an SPDX expression say it
    "apache 2.0": "Apache-2.0", "apache software license": "Apache-2.0", "apache license 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0", "mit license": "MIT", "mit": "MIT", "bsd license": "BSD-3-Clause", "bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause", "bsd 3-clause license": "BSD-3-Clause", "bsd-3-clause": "BSD-3-Clause",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "python software foundation license": "PSF-2.0",
    "zlib/libpng license": "Zlib",
}  # fmt: skip
# A changed file of these has to be published under the same licence; using them asks for nothing.
BY_FILE = {"certifi", "orjson", "tqdm"}
# Told by files of the package, as its metadata do not.
TOLD_BY_FILES = {"pypdfium2": "BSD-3-Clause AND Apache-2.0", "pysqlite3": "Zlib", "rich-click": "MIT"}
# Shared libraries of the LGPL, or of the GPL with the exception for what a compiler adds.
COPYLEFT = re.compile(
    r"(lib(?:av(?:codec|device|filter|format|util)|sw(?:resample|scale)|geos|quadmath|gfortran|gomp))[-_.]"
)


@cache
def packages(extra: str) -> dict[str, metadata.Distribution]:
    """Name -> all that an extra brings here, whatever brings it."""
    found: dict[tuple[str, frozenset[str]], metadata.Distribution] = {}
    todo = [Requirement(line) for line in EXTRAS[extra]]
    while todo:
        wanted = todo.pop()
        if wanted.name == "gristmill":
            todo += [Requirement(line) for one in wanted.extras for line in EXTRAS[one]]
            continue
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in found or (wanted.marker and not wanted.marker.evaluate()):
            continue
        found[key] = metadata.distribution(wanted.name)
        todo += _required(found[key], wanted.extras)
    return {name: one for (name, _), one in found.items()}


def _required(one: metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in one.requires or ():
        inner = Requirement(line)
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            inner.marker = None
            yield inner


def licence(one: metadata.Distribution) -> str:
    """The licence as an SPDX expression."""
    about: Any = one.metadata
    name = canonicalize_name(about["Name"])
    if name in TOLD_BY_FILES:
        return TOLD_BY_FILES[name]
    if expression := about.get("License-Expression"):
        return str(expression)
    told = str(about.get("License") or "").strip()
    if "\n" in told or not told:
        kinds = [
            line.rsplit(" :: ", 1)[1] for line in about.get_all("Classifier") or () if " :: OSI Approved :: " in line
        ]
        told = " OR ".join(kinds)
    parts = re.split(r"( AND | OR )", told)
    return "".join(SAID_OTHERWISE.get(part.lower(), part) for part in parts)


def may_be_used(name: str, expression: str) -> bool:
    allowed = PERMISSIVE | ({"MPL-2.0"} if name in BY_FILE else set())
    plain = expression.replace("(", "").replace(")", "")
    return all(any(choice in allowed for choice in part.split(" OR ")) for part in plain.split(" AND "))


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra or "core")
def test_every_package_of_an_extra_may_be_built_on(extra: str) -> None:
    licences = {name: licence(one) for name, one in packages(extra).items()}
    assert {name: told for name, told in licences.items() if not may_be_used(name, told)} == {}


@pytest.mark.parametrize("extra", EXTRAS, ids=lambda extra: extra or "core")
def test_the_page_names_every_package_with_its_licence(extra: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = [
        f"`{name}` {licence(one)}" for name, one in packages(extra).items() if f"`{name}` {licence(one)}" not in page
    ]
    assert sorted(missing) == []


def test_the_page_names_every_library_of_another_kind_that_a_wheel_carries_along() -> None:
    everything = {name: one for extra in EXTRAS for name, one in packages(extra).items()}
    carried = {
        f"`{found[1]}` in `{name}`"
        for name, one in everything.items()
        for file in one.files or ()
        if (found := COPYLEFT.match(file.name)) and ".so" in file.name
    }
    page = PAGE.read_text(encoding="utf-8")
    assert sorted(line for line in carried if line not in page) == []


@pytest.mark.parametrize(
    ("name", "expression", "may"),
    [
        ("a", "MIT OR GPL-3.0-only", True),
        ("a", "MIT AND GPL-3.0-only", False),
        ("a", "LGPL-2.1-or-later", False),
        ("a", "MPL-2.0", False),
        ("tqdm", "MPL-2.0 AND MIT", True),
        ("a", "", False),
    ],
)
def test_a_licence_that_asks_for_more_is_noticed(name: str, expression: str, may: bool) -> None:
    assert may_be_used(name, expression) is may
