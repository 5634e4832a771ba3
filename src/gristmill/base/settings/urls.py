"""Sections of the configuration to the URLs by which brokers and catalogs are opened. These URLs hold passwords."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from gristmill.base.settings.source import Database, Redis

SQLITE = "sqlite"
SERVERS = {  # word of DB_TYPE -> (section, scheme)
    "postgres": ("postgres", "postgresql"),
    "postgresql": ("postgres", "postgresql"),
    "mysql": ("mysql", "mysql"),
    "mariadb": ("mysql", "mariadb"),
}
BROKER_WORDS = ("redis", "valkey", "database")


def known(given: str, words: Sequence[str], urls: str) -> str:
    """The word or URL as it was given. Raises ValueError, which says what could have been."""
    if given and given.lower() not in words and ":" not in given:
        raise ValueError(f"must be a URL ({urls}) or one of: {', '.join(words)}")
    return given if ":" in given else given.lower()


def database_url(scheme: str, section: Database, *, pooled: bool = False) -> str:
    """The URL of a SQL database, ``pooled`` with how many connections a process may have, and for how long."""
    place = f"{_host(section.host)}:{section.port}/{quote(section.name, safe='')}"
    pool = {"max_connections": section.max_connections, "stale_timeout": section.stale_timeout}
    options = f"?{urlencode(pool)}" if pooled else ""
    return f"{scheme}://{_login(section.user, section.password.get_secret_value())}{place}{options}"


def redis_url(section: Redis) -> str:
    """The URL of a Redis or Valkey."""
    host, port = _split(section.host)
    place = f"{_host(host)}:{section.port or port or 6379}/{section.db}"
    options = {"ssl_ca_certs": section.ssl_ca_certs} if section.ssl_ca_certs else {}
    login = _login(section.username, section.password.get_secret_value())
    return f"{'rediss' if section.ssl else 'redis'}://{login}{place}{'?' if options else ''}{urlencode(options)}"


def _login(user: str, password: str) -> str:
    if not user and not password:
        return ""
    return f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else f"{quote(user, safe='')}@"


def _split(host: str) -> tuple[str, int | None]:
    """``host:port``, or a host alone."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        return name, int(port)
    return host, None


def _host(host: str) -> str:
    """A bare IPv6 address goes into brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
