"""The page of measurements shows what was measured."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from docs.blocks import ROOT

PAGE = ROOT / "docs" / "reference" / "measurements.md"
RESULTS = ROOT / "bench" / "results"
KEPT: dict[str, Any] = json.loads((RESULTS / "peers.json").read_text(encoding="utf-8"))
DOCUMENTS: dict[str, Any] = json.loads((RESULTS / "documents.json").read_text(encoding="utf-8"))


def summary() -> Any:
    spec = spec_from_file_location("summary", ROOT / "bench" / "peers" / "summary.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_results_say() -> None:
    """If this fails: python bench/peers/summary.py page"""
    assert PAGE.read_text(encoding="utf-8") == summary().page(KEPT)


def test_the_ratios_are_those_of_the_numbers_and_hold() -> None:
    assert KEPT["bars"] == json.loads(json.dumps(summary().bars(KEPT)))
    failed = [bar for bar in KEPT["bars"] if not bar["held"]]
    if summary().crowded(KEPT["machine"]):  # times on the clock say nothing then, and the page says that
        failed = [bar for bar in failed if not bar["wall"]]
    assert failed == []


def test_everything_was_run_beside_the_peers_that_are_named() -> None:
    wanted = {"celery", "dramatiq", "taskiq", "streaq", "docket", "arq", "huey", "floor", "gristmill-redis"}
    assert wanted <= {
        name for name, found in KEPT["systems"].items() if {"drain", "latency", "io", "idle"} <= set(found)
    }
    ours = [run for name, system in KEPT["systems"].items() if "gristmill" in name for run in system["drain"].values()]
    assert [run for run in ours if run["done"] != run["n"]] == []


@pytest.mark.parametrize("kind", ["pdf", "xlsx"])
def test_long_documents_take_bounded_memory_and_time_by_their_length(kind: str) -> None:
    found = DOCUMENTS[kind]
    assert [key for key, most in found["bounds"].items() if found[key] > most] == []
    assert [run["failed"] for run in (*found["sizes"].values(), *found["files"].values()) if run["failed"]] == []


def test_no_pipeline_that_gives_boxes_is_faster() -> None:
    """Nor one that gives pages, but for the one that the page names."""
    pipelines = DOCUMENTS["speed"]["pipelines"]
    ratios = {name: one["cpu_over_ours"] for name, one in pipelines.items() if one["places"] and "ours" not in name}
    assert {"kreuzberg", "langchain", "llamaindex", "pdfplumber", "docling_parse"} <= ratios.keys()
    assert {name for name, ratio in ratios.items() if ratio <= 1} <= {"kreuzberg"}
