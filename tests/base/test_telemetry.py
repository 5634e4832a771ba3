"""The settings for traces and for tracing memory: their own names, and those that others know."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gristmill.base import traces
from gristmill.base.errors import SettingsError
from gristmill.base.logs import setup_logs
from gristmill.base.settings import Settings, load_settings
from gristmill.base.settings.mask import masked_text


def loaded(tmp_path: Path, **environ: str) -> Settings:
    return load_settings(home=tmp_path, environ=environ)


def test_the_standards_environment_variables_are_read(tmp_path: Path) -> None:
    own = loaded(
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318",
        OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20abc, x-team=mill",
        OTEL_SERVICE_NAME="mill",
        OTEL_TRACES_SAMPLER_ARG="0.25",
        OTEL_SDK_DISABLED="true",
    ).telemetry
    assert (own.endpoint, own.service_name, own.sample, own.disabled) == ("http://collector:4318", "mill", 0.25, True)
    assert own.header_pairs() == {"Authorization": "Bearer abc", "x-team": "mill"}


def test_without_any_there_are_no_traces(tmp_path: Path) -> None:
    own = loaded(tmp_path).telemetry
    assert (own.endpoint, own.disabled, own.header_pairs()) == ("", False, {})


def test_headers_are_secret(tmp_path: Path) -> None:
    settings = loaded(tmp_path, OTEL_EXPORTER_OTLP_HEADERS="x-key=open%20sesame")
    shown = f"{settings!r} {settings.shown()}"
    assert "sesame" not in shown
    assert "open sesame" not in masked_text("the collector refused x-key: open sesame")
    assert "sesame" not in repr(traces.Export("http://c", settings.telemetry.header_pairs()))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "as http://HOST:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "only-a-name", "name=value"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "less than or equal to 1"),
    ],
)
def test_a_mistake_is_named_with_its_variable(tmp_path: Path, name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"environment {name}: telemetry\.\w+: .*{reason}"):
        loaded(tmp_path, **{name: value})


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("0", False)])
def test_memory_is_traced_from_the_start_by_the_name_that_the_source_has(
    tmp_path: Path, value: str, wanted: bool
) -> None:
    assert loaded(tmp_path, TRACE_MALLOC_ENABLED=value).worker.trace_malloc is wanted


def test_that_traces_cannot_be_sent_is_a_line_in_our_log(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("warning", format="json")
    traces.start(traces.Export("http://127.0.0.1:1"))
    try:
        logging.getLogger("opentelemetry.exporter").warning("retrying in %d s", 1)
        logging.getLogger("opentelemetry.exporter").error("Failed to export spans batch")
    finally:
        traces.stop()
    [line] = capsys.readouterr().err.splitlines()
    assert '"traces cannot be sent"' in line
    assert "Failed to export" in line
