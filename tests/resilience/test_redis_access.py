"""Who may come in: passwords, ACL users, TLS. A refusal says what to do and betrays nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest
import trustme

from gristmill.base.errors import BrokerUnavailable, GristmillError
from gristmill.brokers import open_broker
from gristmill.engine.message import new_message
from gristmill.testing.servers import REDIS_KINDS, RedisServer
from resilience.scene import scene
from servers.pool import ServerPool

pytestmark = pytest.mark.anyio

PASSWORD = "a/pass:w@rd"
OTHER = "not%the-password"
WORKER = "worker on >w0rker-secret ~{app}:* &{app}:* +@all -@dangerous -@admin +info"
READER = "reader on >r3ader-secret ~* &* +@read +@connection"


@pytest.fixture
def guarded(servers: ServerPool) -> Iterator[RedisServer]:
    with servers.make(partial(RedisServer, password=PASSWORD, users=(WORKER, READER))) as server:
        yield server


async def refused(url: str) -> GristmillError:
    """How the first use of this broker fails."""

    async def use() -> None:
        async with open_broker(url) as broker:
            await broker.publish([new_message("task")])
            await broker.reserve(["default"], worker="w", limit=1, lease=30.0, wait=0)

    with pytest.raises(GristmillError) as caught, anyio.fail_after(60):
        await use()
    return caught.value


async def test_the_right_password_opens(guarded: RedisServer) -> None:
    async with scene(guarded.url) as played:
        played.gate.set()
        await played.all_end()


async def test_an_acl_user_needs_no_more_than_its_namespace(guarded: RedisServer) -> None:
    """Its keys and channels, and no dangerous command."""
    url = guarded.url_for("worker", "w0rker-secret") + "?namespace=app"
    async with scene(url) as played:
        played.gate.set()
        await played.all_end()


@pytest.mark.parametrize(
    ("who", "says"),
    [
        (("", OTHER), "password"),
        (("", None), "password"),
        (("worker", OTHER), "password"),
        (("nobody", OTHER), "password"),
        (("reader", "r3ader-secret"), "may not|permission"),
        (("worker", "w0rker-secret"), "may not|permission"),  # outside its namespace
    ],
)
async def test_a_refusal_names_the_setting_and_no_secret(
    guarded: RedisServer,
    who: tuple[str, str | None],
    says: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    error = await refused(guarded.url_for(*who))
    assert not isinstance(error, BrokerUnavailable), "repeating does not help"
    output = capfd.readouterr()
    everything = f"{error!r} {error} {error.__cause__!r} {caplog.text} {output.out} {output.err}"
    for secret in (PASSWORD, OTHER, "w0rker-secret", "r3ader-secret"):
        assert secret not in everything
    assert "engine.broker" in str(error)
    assert _matches(says, str(error)), str(error)


def _matches(pattern: str, text: str) -> bool:
    return any(word in text for word in pattern.split("|"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA of our own, a certificate by it, and another CA that signed nothing."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    return folder


@pytest.fixture
def secure(servers: ServerPool, certificates: Path) -> Iterator[RedisServer]:
    with servers.make(partial(RedisServer, "redis-7", certificates=certificates, password=PASSWORD)) as server:
        yield server


async def test_tls_with_an_own_authority_carries_a_worker(secure: RedisServer) -> None:
    async with scene(secure.url) as played:
        played.gate.set()
        await played.all_end()


async def test_tls_refuses_a_server_whose_authority_is_unknown(secure: RedisServer, certificates: Path) -> None:
    error = await refused(secure.url.replace("ca.pem", "other.pem"))
    assert "certificate" in str(error)
    assert PASSWORD not in str(error)


async def test_plain_text_to_a_tls_port_ends_with_an_error(secure: RedisServer) -> None:
    error = await refused(f"redis://127.0.0.1:{secure.port}/0?patience=1&timeout=0.5")
    assert f"127.0.0.1:{secure.port}" in str(error)


@pytest.mark.parametrize("kind", [kind for kind in REDIS_KINDS if kind in {"redis-6", "redis-7"}])
async def test_a_server_that_is_too_old_is_told_so(servers: ServerPool, kind: str) -> None:
    """A command that we cannot do without is not there."""
    with servers.make(partial(RedisServer, kind, config=['rename-command XREADGROUP ""'])) as server:
        error = await refused(server.url)
    assert not isinstance(error, BrokerUnavailable)
    assert "6.2" in str(error), "what would do is named"
