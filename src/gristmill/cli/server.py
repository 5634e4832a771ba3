"""``gristmill server``: the process that answers requests over HTTP."""

from __future__ import annotations

import os
import socket
from functools import partial
from importlib.metadata import version

import anyio
import click

from gristmill.base.errors import SettingsError
from gristmill.base.logs import get_logger
from gristmill.base.settings import Settings
from gristmill.brokers import open_broker
from gristmill.cli.main import Face
from gristmill.cli.master import reopen_log
from gristmill.engine.child import MasterLink, work
from gristmill.engine.diagnostics import MemoryTrace
from gristmill.engine.front import given_listener, listening
from gristmill.wiring import TENANT, open_catalog, sweep_keys

log = get_logger(__name__)


@click.command("server")
@click.option("--listen", help="HOST:PORT to answer on (default: ragflow.host and ragflow.http_port, 127.0.0.1:9380).")
@click.pass_obj
def command(face: Face, *, listen: str | None) -> int:
    """Answer requests over HTTP until told to stop.

    SIGTERM: let nobody in any more, finish what was asked within worker.grace_seconds. SIGINT, or a second signal: at once.
    """
    require()
    settings = face.settings
    link = MasterLink.from_environment(reopen=lambda: reopen_log(settings))
    face.log(settings, "info")
    listener = given_listener() or listening(listen or address(settings))
    return anyio.run(_serve, settings, listener, link)


def address(settings: Settings) -> str:
    """Where the settings have a server answer."""
    host = settings.ragflow.host
    return f"[{host}]:{settings.ragflow.http_port}" if ":" in host else f"{host}:{settings.ragflow.http_port}"


def require() -> None:
    """Raises SettingsError where the libraries of a server are not installed."""
    try:
        import anycorn  # noqa: F401
        import starlette  # noqa: F401
    except ImportError as exc:
        raise SettingsError(f"a server needs {exc.name}: install gristmill[server]") from exc


async def _serve(settings: Settings, listener: socket.socket, link: MasterLink | None) -> int:
    from gristmill.http.app import make_app
    from gristmill.http.server import Server
    from gristmill.http.services import Services

    host, port = listener.getsockname()[:2]
    catalog = open_catalog(settings)
    try:
        async with open_broker(settings.broker_url) as broker:
            services = Services(
                str(settings.home), broker, catalog, TENANT, version("gristmill"), partial(sweep_keys, settings)
            )
            app = make_app(services, timeout=settings.server.request_seconds)
            server = Server(app, listener, name=f"server-{os.getpid()}")
            log.info("listening", host=host, port=port)
            trace = MemoryTrace(settings.home / "logs")
            return await work(server, broker, grace=settings.worker.grace_seconds, link=link, trace=trace)
    finally:
        catalog.close()
