"""The application: all routes, errors as JSON, a bound on how long and on how many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gristmill.base.errors import GristmillError
from gristmill.http import errors
from gristmill.http.routes import health, status
from gristmill.http.services import Services

AT_A_TIME = 64  # requests; others wait for their turn within their time


def make_app(
    services: Services, *, timeout: float, at_a_time: int = AT_A_TIME, more: Iterable[BaseRoute] = ()
) -> Starlette:
    """The application over these services. A request that is not answered after ``timeout`` seconds gets a 504."""
    app = Starlette(
        routes=[*health.ROUTES, *status.ROUTES, *more],
        exception_handlers={HTTPException: errors.refused, GristmillError: errors.failed, Exception: errors.broken},
        middleware=[Middleware(Bounded, timeout=timeout, at_a_time=at_a_time)],
    )
    app.state.services = services
    return app


class Bounded:
    """So many requests at a time, so many seconds for each, from its arrival to its last byte."""

    def __init__(self, app: ASGIApp, *, timeout: float, at_a_time: int) -> None:
        self._app, self._timeout = app, timeout
        self._turns = anyio.CapacityLimiter(at_a_time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        with anyio.move_on_after(self._timeout) as bound:
            async with self._turns:
                await self._app(scope, receive, noticed)
        if bound.cancelled_caught and not begun:
            late = errors.answer(HTTPStatus.GATEWAY_TIMEOUT, f"no answer within {self._timeout:g} s")
            await late(scope, receive, send)
