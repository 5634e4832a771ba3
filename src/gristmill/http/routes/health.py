"""Whether we live, and whether our stores answer."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gristmill.base.settings.mask import masked_text
from gristmill.http.services import services, troubles


async def health(request: Request) -> Response:
    """This process answers. Nothing else is asked, so that a store's trouble restarts no server."""
    return JSONResponse({"status": "ok", "version": services(request).version})


async def ready(request: Request) -> Response:
    """Broker and catalog answer."""
    wrong = {name: masked_text(why) for name, why in (await troubles(services(request))).items()}
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return JSONResponse({"ready": not wrong, "troubles": wrong}, status)


async def healthz(request: Request) -> Response:
    """The same under the names of RAGFlow's clients: ``redis`` is the broker, whichever it is."""
    wrong = await troubles(services(request))
    told = {name: "nok" if ours in wrong else "ok" for name, ours in (("db", "catalog"), ("redis", "broker"))}
    told["status"] = "nok" if wrong else "ok"
    return JSONResponse(told, HTTPStatus.INTERNAL_SERVER_ERROR if wrong else HTTPStatus.OK)


async def ping(_request: Request) -> Response:
    """A word, for clients that look whether anybody is there."""
    return PlainTextResponse("pong")


async def version(request: Request) -> Response:
    """Which release this is."""
    return JSONResponse({"code": 0, "data": services(request).version})


ROUTES = [
    Route("/health", health),
    Route("/ready", ready),
    Route("/v1/system/healthz", healthz),
    Route("/api/v1/system/healthz", healthz),
    Route("/api/v1/system/ping", ping),
    Route("/api/v1/system/version", version),
]
