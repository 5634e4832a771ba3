"""Errors as answers: JSON with ``code`` and ``message``, whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gristmill.base.errors import BrokerUnavailable, GristmillError, NotFound, SettingsError, StoreUnavailable
from gristmill.base.logs import get_logger
from gristmill.base.settings.mask import masked_text

log = get_logger(__name__)


def answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as clients see it."""
    return JSONResponse({"code": int(status), "message": message}, status, headers)


async def refused(request: Request, exc: Exception) -> Response:
    """No such path, no such method."""
    assert isinstance(exc, HTTPException)
    wrong = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not for {request.url.path}"}
    return answer(exc.status_code, wrong.get(exc.status_code, exc.detail), exc.headers)


async def failed(request: Request, exc: Exception) -> Response:
    """One of our errors: what it says, without secrets."""
    assert isinstance(exc, GristmillError)
    message = masked_text(str(exc))
    status = _status(exc)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("a request failed", path=request.url.path, status=int(status), error=message)
    return answer(status, message)


async def broken(request: Request, exc: Exception) -> Response:
    """What nobody foresaw: the log has it, the client does not."""
    log.error("a request broke", path=request.url.path, error=masked_text(repr(exc)))
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "an error that nobody foresaw; the server's log has it")


def _status(exc: GristmillError) -> HTTPStatus:
    if isinstance(exc, BrokerUnavailable | StoreUnavailable):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(exc, NotFound):
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.BAD_REQUEST if isinstance(exc, SettingsError) else HTTPStatus.INTERNAL_SERVER_ERROR
