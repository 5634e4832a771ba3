"""The page of measurements shows what was measured."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from docs.blocks import ROOT

PAGE = ROOT / "docs" / "reference" / "measurements.md"
KEPT: dict[str, Any] = json.loads((ROOT / "bench" / "results" / "peers.json").read_text(encoding="utf-8"))


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
