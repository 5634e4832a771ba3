"""A server in tests: the real one, and beside its own paths ``/slow``, which answers once a file is there.

``python tests/web/slow.py HOME`` is that as a process for a master, with its traces in the folder HOME: ``asked`` has a
line for each request to ``/slow``, and these answer once there is a file ``go``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gristmill.base.logs import setup_logs
from gristmill.base.settings import load_settings
from gristmill.brokers import open_broker
from gristmill.engine.child import MasterLink, work
from gristmill.engine.front import given_listener
from gristmill.http.app import make_app
from gristmill.http.server import Server
from gristmill.http.services import Services
from gristmill.wiring import TENANT, open_catalog


def slow(wait: Callable[[], Awaitable[None]]) -> Route:
    """A path that answers when ``wait`` has returned."""

    async def answer(_request: Request) -> Response:
        await wait()
        return PlainTextResponse(f"{os.getpid()}")

    return Route("/slow", answer)


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Services]:
    """Embedded stores in this folder."""
    settings = load_settings(None, home=home)
    catalog = open_catalog(settings)
    try:
        async with open_broker(settings.broker_url) as broker:
            yield Services(str(home), broker, catalog, TENANT, "1.2.3")
    finally:
        catalog.close()


async def _serve(home: Path) -> int:
    link = MasterLink.from_environment(reopen=lambda: None)
    listener = given_listener()
    assert listener is not None

    async def wait() -> None:
        with (home / "asked").open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        while not (home / "go").exists():  # noqa: ASYNC110  said by another process
            await anyio.sleep(0.01)

    async with opened(home) as services:
        app = make_app(services, timeout=60.0, more=[slow(wait)])
        return await work(Server(app, listener, name="web"), services.broker, grace=30.0, link=link)


if __name__ == "__main__":
    setup_logs("info", format="json")
    sys.exit(anyio.run(_serve, Path(sys.argv[1])))
