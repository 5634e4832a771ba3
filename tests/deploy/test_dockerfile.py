"""The image: what its Dockerfile says. (That it works is in test_image.)"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest

from deploy.reading import DEPLOY, PATIENCE, ROOT, Step, dockerfile, environment, options, ran, settings
from gristmill.engine.probes import Probes
from gristmill.testing.servers.process import free_port

BUILD, LAST = dockerfile()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROBES = "9381"  # the port of the master's /health, /ready, /metrics
PREFACE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").partition("\nFROM")[0]


def only(word: str, stage: list[Step] = LAST) -> Step:
    found = [step for step in stage if step.word == word]
    assert len(found) == 1, f"{word}: {len(found)} times"
    return found[0]


def test_hadolint_has_nothing_to_say() -> None:
    assert ran("hadolint", "--no-color", "--failure-threshold", "style", DEPLOY / "Dockerfile") == ""


def test_both_stages_are_of_one_python_that_the_project_runs_on() -> None:
    assert [stage[0].rest for stage in (BUILD, LAST)] == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    base = re.search(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)-slim-\w+$", PREFACE, re.M)
    assert base is not None
    assert f">={base[1]}" == PROJECT["requires-python"]


def test_the_program_is_the_first_process_and_is_called_without_a_shell() -> None:
    assert only("ENTRYPOINT").words == [next(iter(PROJECT["scripts"]))]
    assert options(only("CMD").words)
    assert only("STOPSIGNAL").rest == "SIGTERM"


def test_it_does_not_run_as_root_and_kubernetes_can_see_that() -> None:
    user = only("USER").rest
    assert user == "10001:10001"
    assert f"--uid {user.partition(':')[0]} " in next(step.rest for step in LAST if "useradd" in step.rest)
    words = [step.word for step in LAST]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word in ("RUN", "COPY"))


def test_what_it_writes_to_is_a_volume(tmp_path: Any) -> None:
    set_ = environment(LAST)
    assert only("VOLUME").rest == set_["GRISTMILL_HOME"] == set_["HOME"]
    ours = {name: value for name, value in set_.items() if name.startswith("GRISTMILL_")}
    read = settings(ours, tmp_path)
    assert (read.ragflow.host, read.supervisor.health) == ("0.0.0.0", f"0.0.0.0:{PROBES}")
    assert only("EXPOSE").rest == f"{read.ragflow.http_port} {PROBES}"


def test_versions_are_pinned_and_the_extras_are_the_projects() -> None:
    install = next(step.rest for step in BUILD if ' ".[${EXTRAS}]"' in step.rest)
    assert "install -c constraints.txt" in install
    assert only("ARG", BUILD).rest.removeprefix("EXTRAS=") in PROJECT["optional-dependencies"]


def test_what_builds_does_not_come_along() -> None:
    said = " ".join(step.rest for step in LAST)
    assert not re.search(r"apt-get|apk|gcc|build-essential|pip install|curl|wget", said)
    assert all(
        "pip uninstall" in next(step.rest for step in stage if "uninstall" in step.rest) for stage in (BUILD, LAST)
    )
    assert [step.rest for step in LAST if step.word == "COPY"] == ["--from=build /opt/gristmill /opt/gristmill"]


def test_the_labels_are_those_of_the_project() -> None:
    label = only("LABEL").rest
    assert f'description="{PROJECT["description"]}"' in label
    assert f'licenses="{PROJECT["license"]}"' in label
    assert Step("ARG", f"VERSION={PROJECT['version']}") in LAST


@pytest.mark.parametrize(
    "name", ["pyproject.toml", "constraints.txt", "README.md", "LICENSE", "src/gristmill/wiring.py"]
)
def test_the_build_sees_what_it_copies(name: str) -> None:
    assert sent(name)
    assert any(name.startswith(source) for step in BUILD if step.word == "COPY" for source in step.rest.split()[:-1])


@pytest.mark.parametrize(
    "name", [".git/config", "deploy/secrets/redis_password", "tests/conftest.py", ".venv/bin/python"]
)
def test_the_build_sees_nothing_else(name: str) -> None:
    assert not sent(name)


def sent(name: str) -> bool:
    """Whether .dockerignore lets a file through: the last line that is about it decides."""
    found = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if pattern and not line.startswith("#") and (fnmatch(name, pattern) or name.startswith(f"{pattern}/")):
            found = line.startswith("!")
    return found


@pytest.mark.parametrize(("well", "code"), [(True, 0), (False, 1)])
def test_the_health_check_asks_the_master(well: bool, code: int) -> None:
    check = Step("CMD", only("HEALTHCHECK").rest.partition(" CMD ")[2]).words
    port = free_port()
    assert f":{PROBES}/health" in check[-1]
    probes = Probes(f"127.0.0.1:{port}")
    status: dict[str, Any] = {"ready": True, "orphans": 0, "stopping": "", "wanted": 1, "workers": []}
    probes.show({**status, "at": float("inf") if well else float("-inf")})
    with probes.serving():
        words = [sys.executable, *(word.replace(PROBES, str(port)) for word in check[1:])]
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)
    assert (check[0], done.returncode) == ("python", code)
