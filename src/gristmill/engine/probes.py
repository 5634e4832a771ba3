"""Health, readiness and metrics of a master, answered by a thread of its own, so that they come when a worker hangs."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gristmill.engine.tally import TYPE, Tally

if TYPE_CHECKING:
    from socketserver import TCPServer

IDLE_LOOK = 5.0  # seconds between looks whether to end, when nobody calls
ALIVE = 10.0  # seconds; a master's loop that did not turn for as long is not well
LOOKED = 300.0  # seconds after which nobody seems to look at the metrics any more
DEPTHS_EVERY = 5.0  # seconds between questions how long the queues are, while somebody looks
STATES = ("starting", "ready", "silent", "draining")


class Probes:
    """Serves what was last shown: ``/health`` (the master's loop turns), ``/ready`` (a worker takes tasks), ``/metrics``."""

    def __init__(self, address: str) -> None:
        self.tally = Tally()
        self._address = address
        self._looked: float | None = None  # when somebody looked at the metrics
        self._asked = self._answered = 0.0  # when the depths of the queues were asked for, and told
        self._depths: list[tuple[str, list[float]]] = []
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

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take from what a worker says what is for the metrics: what it counts, its first words on them, depths of queues."""
        with suppress(TypeError, ValueError, AttributeError, KeyError):  # of a worker of another release
            if "heads" in told:
                self.tally.know(told["heads"], told["bounds"])
            self.tally.add(told.get("meters", ()))
            if "depths" in told:
                self._depths = [(str(queue), [*map(float, figures)]) for queue, *figures in told["depths"]]
                self._answered = time.monotonic()

    def ask_depths(self, now: float) -> bool:
        """Whether a worker is to be asked now how long the queues are: somebody looks, and the figures are old."""
        due = self._looked is not None and now - self._looked < LOOKED and now - self._asked >= DEPTHS_EVERY
        if due:
            self._asked = now
        return due

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
        try:
            server = Server((host.strip("[]") or "127.0.0.1", int(port)), Handler)
        except OSError as exc:
            raise OSError(
                exc.errno, f"no probes on {self._address} (--health, supervisor.health): {exc.strerror}"
            ) from exc
        with server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": IDLE_LOOK}, daemon=True)
            thread.start()
            yield
            _stop(server)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a path."""
        shown = self._shown
        alive = time.monotonic() - shown["at"] < ALIVE
        if path == "/health":
            return _told(alive, {"status": "ok" if alive else "the master's loop does not turn", **_counts(shown)})
        if path == "/ready":
            return _told(alive and shown["ready"], {"ready": alive and shown["ready"], **_counts(shown)})
        if path == "/metrics":
            self._looked = time.monotonic()
            return 200, TYPE, self.tally.render({**_gauges(shown), **self._queues()}).encode()
        return 404, "application/json", b'{"error":"not found"}\n'

    def _queues(self) -> dict[str, dict[tuple[str, ...], float]]:
        """The depths as a worker told them last."""
        if not self._answered:
            return {}
        names = ("queue_lag", "queue_delayed", "queue_running", "queue_oldest_seconds")
        found: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in names}
        for queue, figures in self._depths:
            for name, figure in zip(names, figures, strict=False):
                found[name][queue,] = figure
        return {**found, "queue_figures_age_seconds": {(): round(time.monotonic() - self._answered, 1)}}


def _stop(server: TCPServer) -> None:
    """End its loop now: it looks up when somebody calls, and else seldom, so that an idle master costs little."""
    asked = threading.Thread(target=server.shutdown, daemon=True)
    asked.start()
    while asked.is_alive():
        with suppress(OSError), socket.create_connection(server.socket.getsockname()[:2], 0.1):
            pass
        asked.join(0.02)


def _told(well: bool, body: dict[str, Any]) -> tuple[int, str, bytes]:
    return 200 if well else 503, "application/json", json.dumps(body).encode() + b"\n"


def _counts(shown: dict[str, Any]) -> dict[str, Any]:
    states = [worker["state"] for worker in shown["workers"]]
    counts = {state: states.count(state) for state in sorted(set(states))}
    return {"workers": counts, "stopping": shown["stopping"], "orphans": shown["orphans"]}


def _gauges(shown: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    workers, counts = shown["workers"], _counts(shown)["workers"]
    return {
        "workers_wanted": {(): shown["wanted"]},
        "workers": {(state,): counts.get(state, 0) for state in STATES},
        "worker_running": {(str(worker["pid"]),): worker["running"] for worker in workers},
        "worker_rss_bytes": {(str(worker["pid"]),): worker["rss"] for worker in workers},
    }
