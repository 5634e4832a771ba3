"""Logs: constant events with fields, one JSON object on a line, and no secret in any of it (P11)."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from gristmill.base.logs import Level, get_logger, setup_logs
from gristmill.base.settings.mask import remember

log = get_logger("tests.base")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""  # the standard output belongs to results
    return [msgspec.json.decode(line) for line in captured.err.splitlines()]


def test_a_line_is_an_event_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("info", format="json")
    log.info("lease lost", task="t1", attempt=2, text="two\nlines", name="租约")
    [line] = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "lease lost", "level": "info", "logger": "tests.base", "task": "t1", "attempt": 2,
        "text": "two\nlines", "name": "租约",
    }  # fmt: skip


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str], level: Level) -> None:
    setup_logs(level, format="json")
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("said")
    order = ["debug", "info", "warning", "error"]
    assert [line["level"] for line in lines(capsys)] == order[order.index(level) :]


def test_json_is_the_format_where_nobody_looks_on(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("info")
    log.info("said")
    assert lines(capsys)[0]["event"] == "said"


def test_people_get_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("info", format="console")
    log.info("lease lost", api_key="sk-S3cret")
    shown = capsys.readouterr().err
    assert "lease lost" in shown
    assert "S3cret" not in shown
    assert not shown.startswith("{")


def fail(text: str) -> None:
    raise ConnectionError(text)


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_is_logged(capsys: pytest.CaptureFixture[str], format_: Any) -> None:
    remember(["plain-S3cret"])
    setup_logs("debug", format=format_)
    log.info("connected", password="S3cret", url="redis://:S3cret@host", nested={"a": [{"token": "S3cret"}]})
    log.info("failed", error=ConnectionError("mysql://root:S3cret@db"), why="login plain-S3cret refused")
    try:
        fail("amqp://guest:S3cret@mq and plain-S3cret")
    except ConnectionError:
        log.warning("failed", exc_info=True)
    shown = capsys.readouterr().err
    assert "S3cret" not in shown
    assert "ConnectionError" in shown
    assert "in fail" in shown  # the traceback itself is told


def test_structlog_is_not_imported_before_the_first_line() -> None:
    code = "import sys, gristmill.base.logs as l; l.get_logger('x').debug('y'); sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
