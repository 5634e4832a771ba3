"""Health, readiness and metrics of a master, answered by a thread of its own, so that they come when a worker hangs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ALIVE = 10.0  # seconds; a master's loop that did not turn for as long is not well
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Probes:
    """Serves what was last shown: ``/health`` (the master's loop turns), ``/ready`` (a worker takes tasks), ``/metrics``."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._shown: dict[str, Any] = {
            "at": time.monotonic(),
            "ready": False,
            "orphans": 0,
            "stopping": "",
            "wanted": 0,
            "workers": [],
        }

    def show(self, status: dict[str, Any]) -> None:
        """From now on this is what is told."""
        self._shown = status

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer within this block. Raises OSError where the address is taken."""
        if not self._address:
            yield
            return
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # 5 MiB that few masters need

        probes = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5.0  # seconds for a slow client

            def do_GET(self) -> None:
                code, kind, body = probes.answer(self.path.partition("?")[0])
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Probes come every few seconds: nothing to log."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is no event."""

        host, _, port = self._address.rpartition(":")
        with Server((host.strip("[]") or "127.0.0.1", int(port)), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
            thread.start()
            yield
            server.shutdown()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        shown = self._shown
        alive = time.monotonic() - shown["at"] < ALIVE
        if path == "/health":
            return _told(alive, {"status": "ok" if alive else "the master's loop does not turn", **_counts(shown)})
        if path == "/ready":
            return _told(alive and shown["ready"], {"ready": alive and shown["ready"], **_counts(shown)})
        if path == "/metrics":
            return 200, TYPE, "".join(_metrics(shown)).encode()
        return 404, "application/json", b'{"error":"not found"}\n'


def _told(well: bool, body: dict[str, Any]) -> tuple[int, str, bytes]:
    return 200 if well else 503, "application/json", json.dumps(body).encode() + b"\n"


def _counts(shown: dict[str, Any]) -> dict[str, Any]:
    states = [worker["state"] for worker in shown["workers"]]
    counts = {state: states.count(state) for state in sorted(set(states))}
    return {"workers": counts, "stopping": shown["stopping"], "orphans": shown["orphans"]}


def _metrics(shown: dict[str, Any]) -> Iterator[str]:
    yield "# HELP gristmill_workers_wanted How many workers there should be.\n# TYPE gristmill_workers_wanted gauge\n"
    yield f"gristmill_workers_wanted {shown['wanted']}\n"
    yield "# HELP gristmill_workers Workers, by state.\n# TYPE gristmill_workers gauge\n"
    for state, number in _counts(shown)["workers"].items():
        yield f'gristmill_workers{{state="{state}"}} {number}\n'
    for name, text in (("running", "Tasks that a worker runs now."), ("rss", "Resident bytes of a worker's keeper.")):
        yield f"# HELP gristmill_worker_{name} {text}\n# TYPE gristmill_worker_{name} gauge\n"
        for worker in shown["workers"]:
            yield f'gristmill_worker_{name}{{pid="{worker["pid"]}"}} {worker[name]}\n'
