"""The files of deploy/ as data, and the programs that know better than we whether they are right."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click
import pytest

from gristmill.base.settings import Settings, load_settings
from gristmill.base.settings.load import OLD_NAMES
from gristmill.base.settings.mask import is_secret
from gristmill.cli.main import cli
from gristmill.engine.fleet import KILL_AFTER

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MIB = 1024**2
PATIENCE = 60.0  # seconds for a program that has to answer
LEAST_STOP = KILL_AFTER + 5  # seconds beyond the grace: until who did not heed it is killed, and what that costs


class Step(NamedTuple):
    """An instruction of a Dockerfile."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The words of the exec form. Raises ValueError for the shell form."""
        found: list[str] = json.loads(self.rest)
        return found


def dockerfile() -> list[list[Step]]:
    """The Dockerfile's stages; what stands before the first one is in none."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    stages: list[list[Step]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        if line and stages:
            stages[-1].append(Step(word, rest.strip()))
    return stages


def environment(stage: Sequence[Step]) -> dict[str, str]:
    """What ENV sets."""
    pairs = [pair for step in stage if step.word == "ENV" for pair in shlex.split(step.rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def program(name: str) -> str:
    """A program's path. Where it is missing the test is skipped, and fails in CI."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    return found or missing(name)


def module(name: str) -> Any:
    """A module of the dependency group ``deploy``; the same where it is missing."""
    return import_module(name) if find_spec(name) else missing(name)


def missing(name: str) -> NoReturn:
    if os.environ.get("CI"):  # noqa: TID251  the tests' own switch
        pytest.fail(f"{name} is not here")
    pytest.skip(f"{name} is not here: `make setup` brings it, or the distribution", allow_module_level=True)


def ran(*words: str | Path, environ: Mapping[str, str] | None = None) -> str:
    """What a program printed; it must have been content, and have complained of nothing."""
    done = subprocess.run(
        [program(str(words[0])), *map(str, words[1:])],
        env={"PATH": os.defpath, "HOME": "/nonexistent", **(environ or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def options(words: Sequence[str]) -> dict[str, Any]:
    """What the command line makes of these words. Raises where it would refuse them."""
    command: click.Command = cli
    with click.Context(cli, **cli.context_settings) as context:  # or commands would remember another --help
        while isinstance(command, click.Group):
            name, *words = words
            found = command.get_command(context, name)
            assert found is not None, f"there is no command {name}"
            command = found
        with command.make_context(command.name, list(words), parent=context) as made:
            return dict(made.params)


def settings(environ: Mapping[str, str], home: Path) -> Settings:
    """The settings by an environment, each name of which must be one that is read."""
    ours = {name for name in environ if name.startswith("GRISTMILL_")}
    old = set(OLD_NAMES) | {f"{name}_FILE" for name, key in OLD_NAMES.items() if is_secret(key)}
    assert set(environ) - ours <= old
    assert all("__" in name or name in ("GRISTMILL_HOME", "GRISTMILL_CONFIG") for name in ours)
    return load_settings(home=home, environ=environ)


def memory(command: str, workers: int, slots: int, limit: int) -> int:
    """MiB that a command may need: the sum that every file and the page of the docs keeps to."""
    if command == "server":
        return 512
    server = 448 if command == "up" else 0
    return 64 + server + workers * (256 + slots * (limit // MIB + 256))
