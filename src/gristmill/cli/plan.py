"""What an ingest has to do: which files are new or changed, and what became of the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gristmill.cli.report import Outcome, outcome_of
from gristmill.cli.walk import Found, Skipped
from gristmill.pipeline.settings import IngestSettings
from gristmill.ports.catalog import Catalog, Dataset, Document, RunState


@dataclass
class Plan:
    """``files``: to be submitted. ``settled``: nothing to do, with what became of them before."""

    files: list[Found] = field(default_factory=list)
    settled: list[Outcome] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def look(
    catalog: Catalog, dataset: Dataset, wanted: IngestSettings, files: Iterable[Found | Skipped], *, retry_failed: bool
) -> Plan:
    """Look at the files without reading them: size and time of change are compared with what was remembered."""
    plan = Plan()
    seen = catalog.seen_files(dataset.id)
    settled = catalog.settled(dataset.id, wanted.digest())
    for one in files:
        if isinstance(one, Skipped):
            plan.skipped.append(one)
            continue
        source = one.source
        document = settled.get(source)
        if document is not None and _is_same(one, document, seen.get(source), retry_failed=retry_failed):
            plan.settled.append(outcome_of(document, source, fresh=False))
        else:
            plan.files.append(one)
    return plan


def _is_same(file: Found, document: Document, seen: tuple[int, int, str] | None, *, retry_failed: bool) -> bool:
    if seen is None or (document.state is RunState.FAILED and retry_failed):
        return False
    return seen == (file.size, file.mtime_ns, document.digest)
