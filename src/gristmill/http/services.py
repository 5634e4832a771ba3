"""What the routes answer from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from starlette.requests import Request

from gristmill.base.errors import BrokerUnavailable, StoreUnavailable
from gristmill.engine.broker import Broker
from gristmill.ports.catalog import Catalog

PATIENCE = 5.0  # seconds that a store has to show that it is there


@dataclass(frozen=True)
class Services:
    """The stores of one deployment, opened; and whose documents are meant."""

    home: str
    broker: Broker
    catalog: Catalog
    tenant: str
    version: str
    sweeps: Callable[[float], Sequence[str]] = lambda now: ()


def services(request: Request) -> Services:
    """Those of the application that answers this request."""
    found: Services = request.app.state.services
    return found


async def troubles(of: Services) -> dict[str, str]:
    """What does not answer, and why."""
    found: dict[str, str] = {}

    async def check_broker() -> None:
        try:
            with anyio.fail_after(PATIENCE):
                await of.broker.now()
        except (BrokerUnavailable, TimeoutError) as exc:
            found["broker"] = str(exc) or f"no answer within {PATIENCE:.0f} s"

    async def check_catalog() -> None:
        try:
            with anyio.fail_after(PATIENCE):
                await anyio.to_thread.run_sync(lambda: of.catalog.datasets(of.tenant), abandon_on_cancel=True)
        except (StoreUnavailable, TimeoutError) as exc:
            found["catalog"] = str(exc) or f"no answer within {PATIENCE:.0f} s"

    async with anyio.create_task_group() as group:
        group.start_soon(check_broker)
        group.start_soon(check_catalog)
    return found
