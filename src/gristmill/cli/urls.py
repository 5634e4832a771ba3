"""Documents that are named by their URL: fetched first, then ingested like files."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

from gristmill.base.errors import DocumentError, FetchError, SettingsError
from gristmill.base.fetch import FetchRules, fetch
from gristmill.base.settings import Settings
from gristmill.base.settings.fetch import listed
from gristmill.cli.report import Outcome
from gristmill.cli.walk import Found
from gristmill.ports.catalog import Failure


def rules(settings: Settings) -> FetchRules:
    """What may be fetched. Raises SettingsError where nothing may."""
    own = settings.fetch
    if not own.enabled:
        raise SettingsError(
            "documents are not fetched from URLs unless fetch.enabled is set (GRISTMILL_FETCH__ENABLED=true)"
        )
    return FetchRules(
        hosts=tuple(listed(own.hosts)),
        private=tuple(map(ip_network, listed(own.private))),
        max_bytes=settings.pipeline.doc_maximum_size,
        seconds=own.timeout,
        redirects=own.redirects,
    )


def fetched(urls: Sequence[str], dataset: str, into: Path, allowed: FetchRules) -> tuple[list[Found], list[Outcome]]:
    """The documents as files in ``into``, and what became of those that could not be fetched."""
    found, failed = [], []
    for url in dict.fromkeys(urls):
        try:
            got = fetch(url, into, allowed)
        except (FetchError, DocumentError) as exc:
            failed.append(_failed(url, dataset, exc))
        else:
            status = got.path.stat()
            found.append(Found(got.path, got.name, status.st_size, status.st_mtime_ns, url=url))
    return found, failed


def _failed(url: str, dataset: str, exc: Exception) -> Outcome:
    return Outcome(
        document_id="", path=url, dataset=dataset, status="failed", chunks=0, tokens=0, pages=0, seconds=0.0,
        error=Failure("fetch", type(exc).__name__, str(exc), final=False),
    )  # fmt: skip
