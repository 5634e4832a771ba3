"""The page about deploying: its commands, values and sums are those of the files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.reading import DEPLOY, LEAST_STOP, MIB, ROOT, memory, module, options
from docs.blocks import blocks

PAGE = ROOT / "docs" / "operations" / "deploy.md"
TEXT = PAGE.read_text(encoding="utf-8")
CHART = DEPLOY / "helm" / "gristmill"


def lines() -> Iterator[str]:
    """The commands of the page that cannot be run here; and those that the heads of the files tell."""
    for block in blocks(PAGE):
        if block.language == "text":
            yield from block.text.splitlines()
    yield from re.findall(r"`(docker compose [^`]+|helm [^`]{20,}|gristmill \w+ [^`]+)`", TEXT)
    for file in ("compose.yaml", "systemd/gristmill.service"):
        yield from re.findall(r"^#   (\w.+)$", (DEPLOY / file).read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("line", sorted(set(lines())))
def test_a_command_names_files_services_and_words_that_there_are(line: str) -> None:
    words = shlex.split(line)
    for word in words:
        if word.startswith("deploy/") and "secrets" not in word:
            assert (ROOT / word).exists()
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    if words[:2] == ["docker", "compose"] and {"run", "exec"} & set(words):
        at = next(at for at, word in enumerate(words) if word in ("run", "exec"))
        service, *ours = [word for word in words[at + 1 :] if word != "--rm"]
        assert service in services
        words = ours if words[at] == "exec" else ["gristmill", *ours]
    if words[0] == "gristmill":
        options([str(ROOT) if word == "/documents" else word for word in words[1:]])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"deploy/[\w./]+\w", TEXT)) - {"deploy/secrets"}))
def test_files_that_are_named_are_there(path: str) -> None:
    assert path == "deploy/secrets/" or path.startswith("deploy/secrets") or (ROOT / path).exists()


def test_the_values_that_are_shown_can_be_installed() -> None:
    helm = module("helm_python")
    [shown] = [block for block in blocks(PAGE) if block.title == "values.yaml"]
    with helm.Chart.load(CHART) as chart:
        manifests = chart.render(yaml.safe_load(shown.text), name="mill", namespace="default")
    found = [one for text in manifests.values() for one in _kinds(text)]
    assert found.count("Deployment") == 2
    assert found.count("ScaledObject") == 1


def _kinds(text: str) -> list[str]:
    return re.findall(r"^kind: (\w+)$", text, re.M)


def rows(head: str) -> list[list[str]]:
    """A table's rows, by how its first line begins."""
    table = re.search(rf"^\| {re.escape(head)}.*\n\|[ -|]+\n((?:\|.*\n)+)", TEXT, re.M)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_the_sizes_are_those_that_the_files_keep_to() -> None:
    table = rows("workers |")
    assert len(table) >= 5
    for workers, slots, limit, cores, needed in table:
        number = int(limit.removesuffix(" MiB"))
        assert int(cores) == int(workers) * int(slots)
        assert needed == f"{memory('up', int(workers), int(slots), number * MIB)} MiB"


def test_the_grace_periods_are_long_enough_and_those_of_the_chart() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for grace, stop, pods in rows("`worker.grace_seconds` |"):
        assert int(stop) >= int(grace) + LEAST_STOP
        assert int(pods) == int(grace) + values["preStopSeconds"] + values["terminationMarginSeconds"]


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"`(\w+)`", TEXT)) & {"preStopSeconds", "tasksPerSlot"}))
def test_values_that_are_named_are_there(setting: str) -> None:
    assert f"{setting}:" in Path(CHART / "values.yaml").read_text(encoding="utf-8")
