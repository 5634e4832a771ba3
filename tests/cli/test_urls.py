"""``gristmill ingest URL``: off, until the configuration allows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli.conftest import Cli

PAGES = {"/guide": b"# Leases\n\nA lease is renewed by its keeper.\n", "/moved": b""}


@pytest.fixture
def site() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response({"/guide": 200, "/moved": 302}.get(self.path, 404))
            self.send_header("Location", "http://10.0.0.7/guide")
            self.send_header("Content-Type", "text/markdown")
            self.end_headers()
            self.wfile.write(PAGES.get(self.path, b""))

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_FETCH__ENABLED", "true")
    monkeypatch.setenv("GRISTMILL_FETCH__PRIVATE", "127.0.0.0/8")


def test_nothing_is_fetched_before_it_is_allowed(cli: Cli, site: str) -> None:
    said = cli("ingest", f"{site}/guide")
    assert (said.code, "fetch.enabled" in said.err) == (2, True)
    assert not cli.home.exists()


@pytest.mark.usefixtures("allowed")
def test_documents_of_urls_are_ingested_like_files(cli: Cli, site: str) -> None:
    """They are known by their URL: the same again is unchanged. One that cannot be had fails alone, and says why."""
    urls = [f"{site}/guide", f"{site}/none", f"{site}/moved"]
    said = cli.ingest(*urls)
    told: dict[str, Any] = {one["path"]: one for one in said.rows[:-1]}
    assert (said.code, sorted(told)) == (1, sorted(urls))
    assert (told[urls[0]]["status"], told[urls[0]]["chunks"]) == ("done", 1)
    assert (told[urls[1]]["error"]["stage"], told[urls[1]]["error"]["type"]) == ("fetch", "FetchFailed")
    assert (told[urls[2]]["error"]["type"], "10.0.0.7" in told[urls[2]]["error"]["message"]) == ("FetchRefused", True)
    [found] = cli("search", "who renews a lease", "--dataset", "d", "--json").json
    assert found["document"] == "guide.md"
    again = cli.ingest(urls[0])
    assert (again.code, again.rows[0]["status"], again.rows[0]["path"]) == (0, "unchanged", urls[0])


def test_a_network_that_is_none_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_FETCH__PRIVATE", "10.0.0.0/8, everywhere")
    said = cli("ingest", "http://example.org/")
    assert (said.code, "10.1.0.0/16" in said.err, "GRISTMILL_FETCH__PRIVATE" in said.err) == (2, True, True)
