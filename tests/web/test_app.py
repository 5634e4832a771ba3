"""What the server answers, without a socket: status, health, and errors as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gristmill.base.errors import BrokerUnavailable, EngineError, NotFound, SettingsError
from gristmill.cli.main import run
from gristmill.engine.broker import Broker
from gristmill.engine.message import new_message
from gristmill.http.app import make_app
from gristmill.http.services import Services
from web.slow import opened, slow

pytestmark = pytest.mark.anyio


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with opened(tmp_path) as services:
        yield services


async def get(app: Starlette, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.request(method, path)


async def test_status_is_what_the_command_prints(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await services.broker.publish([new_message("grind", queue="mail")])
    answer = await get(make_app(services, timeout=30.0), "/api/v1/status")
    assert answer.status_code == 200
    assert answer.json()["unserved"] == ["mail"]
    assert [(one["queue"], one["lag"]) for one in answer.json()["queues"]] == [("mail", 1)]
    assert await anyio.to_thread.run_sync(run, ["--home", str(tmp_path), "status", "--json"]) == 0
    printed = msgspec.json.decode(capsys.readouterr().out)
    told = answer.json()
    for queue in printed["queues"] + told["queues"]:
        queue.pop("oldest")
    assert printed == told


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/health", '{"status":"ok","version":"1.2.3"}'),
        ("/ready", '{"ready":true,"troubles":{}}'),
        ("/v1/system/healthz", '{"db":"ok","redis":"ok","status":"ok"}'),
        ("/api/v1/system/healthz", '{"db":"ok","redis":"ok","status":"ok"}'),
        ("/api/v1/system/ping", "pong"),
        ("/api/v1/system/version", '{"code":0,"data":"1.2.3"}'),
    ],
)
async def test_all_is_well(services: Services, path: str, text: str) -> None:
    answer = await get(make_app(services, timeout=30.0), path)
    assert (answer.status_code, answer.text) == (200, text)


class Away:
    """A broker that is gone, and says so with its password."""

    async def now(self) -> float:
        raise BrokerUnavailable("redis://:hunter2@host is gone")

    workers = now


async def test_a_broker_that_is_gone_is_told_and_restarts_nobody(services: Services) -> None:
    """P11: and its password is not told."""
    app = make_app(replace(services, broker=cast("Broker", Away())), timeout=30.0)
    assert (await get(app, "/health")).status_code == 200
    ready, healthz, status = [await get(app, path) for path in ("/ready", "/v1/system/healthz", "/api/v1/status")]
    assert (ready.status_code, ready.json()["ready"], [*ready.json()["troubles"]]) == (503, False, ["broker"])
    assert (healthz.status_code, healthz.json()) == (500, {"db": "ok", "redis": "nok", "status": "nok"})
    assert (status.status_code, status.json()["code"]) == (503, 503)
    assert "is gone" in status.json()["message"]
    assert "hunter2" not in ready.text + healthz.text + status.text


@pytest.mark.parametrize(
    ("exc", "code", "words"),
    [
        (SettingsError("the name is too long"), 400, "the name is too long"),
        (NotFound("no such document"), 404, "no such document"),
        (EngineError("it is broken"), 500, "it is broken"),
        (RuntimeError("line 7 of secret.py"), 500, "an error that nobody foresaw; the server's log has it"),
    ],
)
async def test_errors_are_json_with_code_and_message(services: Services, exc: Exception, code: int, words: str) -> None:
    async def fails(_request: Request) -> Response:
        raise exc

    answer = await get(make_app(services, timeout=30.0, more=[Route("/fails", fails)]), "/fails")
    assert (answer.status_code, answer.json()) == (code, {"code": code, "message": words})


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", "/chats", 404, "there is nothing at /chats"),
        ("POST", "/health", 405, "POST is not for /health"),
    ],
)
async def test_what_is_not_there_is_json_too(services: Services, method: str, path: str, code: int, words: str) -> None:
    answer = await get(make_app(services, timeout=30.0), path, method)
    assert (answer.status_code, answer.json()) == (code, {"code": code, "message": words})


async def test_a_request_that_takes_too_long_is_given_up(services: Services) -> None:
    app = make_app(services, timeout=0.01, more=[slow(anyio.sleep_forever)])
    answer = await get(app, "/slow")
    assert (answer.status_code, answer.json()) == (504, {"code": 504, "message": "no answer within 0.01 s"})


async def test_requests_beyond_the_bound_wait_for_their_turn(services: Services) -> None:
    running, most, go, asked = 0, 0, anyio.Event(), anyio.Event()

    async def wait() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        asked.set()
        await go.wait()
        running -= 1

    app = make_app(services, timeout=30.0, at_a_time=2, more=[slow(wait)])
    answers: list[int] = []

    async def ask() -> None:
        answers.append((await get(app, "/slow")).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await asked.wait()
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert (answers, most) == ([200] * 5, 2)
