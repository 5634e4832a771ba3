"""What is there, what waits, who works."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gristmill.http.services import services
from gristmill.pipeline.overview import count, look, plain


async def status(request: Request) -> Response:
    """What `gristmill status --json` prints."""
    of = services(request)
    house, stock = await look(of.broker, of.sweeps), await count(of.catalog, of.tenant)
    return Response(orjson.dumps(plain(of.home, stock, house)), media_type="application/json")


ROUTES = [Route("/api/v1/status", status)]
