"""SIGKILL for any process at any moment of an ingest: the same command again makes everything whole (P1, P4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fault import check, corpus
from fault.play import DATASET, PATIENCE, SETTINGS, Played, Stage, play, undisturbed
from fault.rounds import CALLS, LOOKS, SOMETIMES, Round, rounds
from gristmill.cli.main import run
from gristmill.testing.faults import counted, prepare

ALL = rounds()
FEW = [3, 17, 40, 61, 88, 110, 130, 150, 176, 195]  # of each kind some: played in every run of the tests


class Theatre:
    """The stage, and what an undisturbed ingest makes of each state of the folder."""

    def __init__(self, base: Path) -> None:
        stage = Stage(base)
        stage.clear(indexed=False)
        self.hooks = prepare(base / "hooks")
        seconds = undisturbed(stage, self.hooks)
        stage.home.rename(stage.template)
        self.stage = Stage(base, seconds)
        self.first = check.content(stage.template)
        self.stage.clear(indexed=True)
        corpus.change(stage.folder)
        undisturbed(self.stage)
        changed = check.content(stage.home)
        self.second = check.Content(self.first.documents | changed.documents)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    return Theatre(tmp_path_factory.mktemp("fault"))


def test_the_rounds_strike_every_step_of_an_ingest_before_and_after(theatre: Theatre) -> None:
    done = {(one.role, one.step): one.calls for one in counted(theatre.hooks) if one.when == "before"}
    assert {key for key in done if key not in CALLS and key not in SOMETIMES} == set()
    assert {key: calls for key, calls in CALLS.items() if done.get(key, 0) < calls and key not in LOOKS} == {}
    planned = {(kill.role, kill.step, kill.when) for one in ALL if (kill := one.first)}
    assert planned >= {(*key, when) for key in [*CALLS, *SOMETIMES] for when in ("before", "after")}


def test_an_undisturbed_ingest_passes_the_same_check(theatre: Theatre) -> None:
    theatre.stage.clear(indexed=True)
    assert check.wrong(theatre.stage.home, theatre.stage.folder, theatre.first) == []
    assert len(theatre.first.documents["book.pdf"]) > 1
    texts = [text for text, _, _ in theatre.first.documents["twice.txt"]]
    assert len(set(texts)) < len(texts), "a text that occurs twice is part of the test"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process runs itself has the settings of the commands that it starts."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.timeout(PATIENCE * 4)
@pytest.mark.parametrize("one", [ALL[number] for number in FEW], ids=str)
def test_some_rounds(one: Round, theatre: Theatre, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _round(one, theatre, tmp_path, capsys)


@pytest.mark.fault
@pytest.mark.timeout(PATIENCE * 4)
@pytest.mark.parametrize("one", ALL, ids=str)
def test_every_round(
    one: Round,
    theatre: Theatre,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("struck", _round(one, theatre, tmp_path, capsys).struck)  # for --junitxml


def _round(one: Round, theatre: Theatre, scratch: Path, capsys: pytest.CaptureFixture[str]) -> Played:
    """Play, check; then once more without a kill: nothing is left to do."""
    stage = theatre.stage
    played = play(stage, one, scratch)
    told = f"{one}\n{played.struck}\n{played.codes}\n{played.last}\n{played.errors[-3000:]}"
    expected = theatre.second if played.changed else theatre.first
    assert played.codes[-1] in (0, 1), told
    assert check.wrong(stage.home, stage.folder, expected) == [], told
    if one.kind == "once" and one.first and (one.first.role, one.first.step) in CALLS.keys() - LOOKS:
        assert played.struck, told
    assert run(["--home", str(stage.home), "doctor", "--deep"]) == 0, told
    capsys.readouterr()
    assert run(["--home", str(stage.home), "ingest", str(stage.folder), "--dataset", DATASET, "--json"]) == 1
    again = check.statuses(capsys.readouterr().out)
    assert again.pop(corpus.BROKEN) == "failed"
    assert set(again.values()) == {"unchanged"}, told
    return played
