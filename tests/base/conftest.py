from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.base import logs
from gristmill.base.settings import mask


@pytest.fixture(autouse=True)
def process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a process keeps of its secrets and its logs is put back after each test."""
    monkeypatch.setattr(mask, "_known", ())
    monkeypatch.setattr(logs, "_set", dict(logs._set))
    yield
    logs._set["ready"] = False
