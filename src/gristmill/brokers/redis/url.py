"""What a URL of the broker says."""

from __future__ import annotations

import re
import ssl
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from gristmill.base.errors import SettingsError

DAY = 86_400.0
PORT, SENTINEL_PORT = 6379, 26379


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Target(msgspec.Struct, frozen=True):
    """Everything about the server that the URL says. ``master`` is the name that Sentinel knows it by."""

    addresses: tuple[Address, ...]
    kind: str = "single"  # single, sentinel, cluster
    master: str = ""
    username: str = ""
    password: str | None = None
    sentinel_username: str = ""
    sentinel_password: str | None = None
    database: int = 0
    tls: bool = False
    ssl_ca_certs: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_verify: bool = True
    namespace: str = ""
    result_ttl: float = DAY
    failure_ttl: float = 30 * DAY
    timeout: float = 5.0
    patience: float = 10.0

    @property
    def prefix(self) -> str:
        """What stands before every key. In braces, it keeps all keys of a namespace in one slot of a Cluster."""
        if self.namespace:
            return f"{{{self.namespace}}}:"
        return "{gristmill}:" if self.kind == "cluster" else ""

    @property
    def where(self) -> str:
        """For messages: without user and password."""
        places = ",".join(map(str, self.addresses))
        return f"{places}/{self.master}" if self.master else f"{places}/{self.database}"

    def context(self) -> ssl.SSLContext | None:
        """How to speak TLS, if at all."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca_certs or None)
            if self.ssl_certfile:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile or None)
        except OSError as exc:
            files = ", ".join(name for name in (self.ssl_ca_certs, self.ssl_certfile, self.ssl_keyfile) if name)
            raise SettingsError(f"engine.broker: the certificates in {files} cannot be read: {exc}") from exc
        if not self.ssl_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


_KINDS = {
    "redis": ("single", False),
    "valkey": ("single", False),
    "rediss": ("single", True),
    "valkeys": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "valkey+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "valkeys+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "valkey+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "valkeys+cluster": ("cluster", True),
}
_TEXTS = {
    "namespace",
    "sentinel_username",
    "sentinel_password",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
}
_SECONDS = {"result_ttl", "failure_ttl", "timeout", "patience"}


def target(url: str) -> Target:
    """The target that a URL names. Raises SettingsError, which never has the password in it.

    ``redis://[user:password@]host[:port][/database]``, ``rediss://`` with TLS; ``redis+sentinel://host:port,.../master``;
    ``redis+cluster://host:port,...``; the same with ``valkey``. Options are in the query.
    """
    try:
        parts = urlsplit(url)
        kind, tls = _KINDS[parts.scheme]
    except (ValueError, KeyError):
        raise SettingsError(f"engine.broker: this is no URL of a Redis or Valkey; known: {', '.join(_KINDS)}") from None
    userinfo, _, hosts = parts.netloc.rpartition("@")
    username, colon, password = userinfo.partition(":")
    path = [unquote(piece) for piece in parts.path.split("/") if piece]
    master = ""
    if kind == "sentinel":
        if not path:
            raise SettingsError(
                "engine.broker: a URL of Sentinel ends with the master's name: redis+sentinel://h:p/name"
            )
        master = path.pop(0)
    fields = _options(parts.query)
    if len(path) > 1 or (path and not path[0].isdecimal()):
        raise SettingsError(f"engine.broker: {'/'.join(path)!r} is no number of a database")
    if path and int(path[0]) and kind == "cluster":
        raise SettingsError("engine.broker: a Cluster has no databases but 0; use ?namespace=")
    return Target(
        addresses=_addresses(hosts, SENTINEL_PORT if kind == "sentinel" else PORT),
        kind=kind,
        master=master,
        username=unquote(username),
        password=unquote(password) if colon else None,
        database=int(path[0]) if path else 0,
        tls=tls,
        **fields,
    )


def _options(query: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _TEXTS:
            fields[name] = value
        elif name in _SECONDS:
            fields[name] = _seconds(name, value)
        elif name in ("ssl_cert_reqs", "ssl_check_hostname"):
            fields["ssl_verify"] = value.lower() not in ("none", "false", "no", "0")
        else:
            known = ", ".join(sorted(_TEXTS | _SECONDS | {"ssl_cert_reqs"}))
            raise SettingsError(f"engine.broker: no option {name!r}; known: {known}")
    if re.search(r"[{}]", str(fields.get("namespace", ""))):
        raise SettingsError("engine.broker: a namespace has no braces")
    return fields


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingsError(f"engine.broker: {name} is seconds greater than 0, not {value!r}")
    return seconds


def _addresses(hosts: str, port: int) -> tuple[Address, ...]:
    found = []
    for place in hosts.split(",") if hosts else ["localhost"]:
        try:
            parts = urlsplit(f"//{place}")
            found.append(Address(parts.hostname or "localhost", parts.port or port))
        except ValueError as exc:
            raise SettingsError(f"engine.broker: {place!r} is no host:port") from exc
    return tuple(found)
