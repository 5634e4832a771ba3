"""The one place where a document's bytes come from a URL. Everything about it is checked: it may have been written by anybody.

Only http and https; only addresses that are public, or that the rules name. The name is resolved once, every address it has is
checked, and the connection goes to one of those: a name that means another address a moment later (DNS rebinding) gains
nothing. Redirects are followed by hand, each checked like the first. No credentials, cookies or referrers are sent.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from time import monotonic
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from gristmill.base.errors import DocumentTooLarge, FetchFailed, FetchRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], list[str]]

_PIECE = 64 * 1024
_MOST_URL = 4096
_REDIRECTS = (301, 302, 303, 307, 308)
_NAMED = {  # public addresses that clouds answer themselves on
    ipaddress.ip_address("168.63.129.16"), ipaddress.ip_address("192.0.0.192"),
}  # fmt: skip
_INSIDE = (  # of IPv6, networks whose last four bytes are an IPv4 address
    ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"),
)  # fmt: skip
_ENDINGS = {  # of text formats, which only their name tells apart
    "text/html": ".html", "application/xhtml+xml": ".html", "text/markdown": ".md", "text/csv": ".csv",
    "text/tab-separated-values": ".tsv", "application/json": ".json", "application/x-ndjson": ".jsonl",
    "message/rfc822": ".eml", "text/plain": ".txt",
}  # fmt: skip


@dataclass(frozen=True)
class FetchRules:
    """What may be fetched. ``hosts``: only these, ``.example.org`` for all below; none: any. ``private``: networks that may
    be reached although they are not public. Seconds are for all of it, redirects included."""

    hosts: tuple[str, ...] = ()
    private: tuple[Network, ...] = ()
    max_bytes: int = 128 * 1024**2
    seconds: float = 60.0
    redirects: int = 5


@dataclass(frozen=True)
class Fetched:
    """A document that was fetched: where its bytes are, and a name to show."""

    path: Path
    name: str


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def fetch(url: str, into: Path, rules: FetchRules, *, resolve: Resolve = resolved) -> Fetched:
    """The bytes at ``url`` as a new file in the folder ``into``, which only we can read.

    Raises FetchRefused where the rules do not allow it, FetchFailed where the other side does not give it, DocumentTooLarge.
    """
    end = monotonic() + rules.seconds
    at = url
    for _ in range(rules.redirects + 1):
        split = _checked(at, rules)
        with _answer(split, rules, end, resolve) as answer:
            if answer.status not in _REDIRECTS:
                return _kept(answer, split, into, rules, url)
            target = urljoin(at, answer.getheader("Location") or "")
        if split.scheme == "https" and not target.lower().startswith("https:"):
            raise FetchRefused(f"{url} leads from https to {_short(target)}, which is not followed.")
        at = target
    raise FetchRefused(f"{url} leads to more than {rules.redirects} other URLs, one after the other (fetch.redirects).")


def _checked(url: str, rules: FetchRules) -> SplitResult:
    try:
        split = urlsplit(url)
        host, _ = split.hostname, split.port
    except ValueError as exc:
        raise FetchRefused(f"{_short(url)} is no URL: {exc}.") from exc
    if split.scheme not in ("http", "https") or not host:
        raise FetchRefused(f"{_short(url)} is not fetched: only http and https URLs are.")
    if len(url) > _MOST_URL or not url.isprintable() or " " in url:
        raise FetchRefused(f"{_short(url)} is no URL that can be fetched: it is too long, or holds blanks.")
    if split.username is not None or split.password is not None:
        raise FetchRefused(
            f"the URL at {host} holds a user name or a password, and is not fetched: it would be stored and shown."
        )
    if rules.hosts and not any(_is_host(host, one) for one in rules.hosts):
        raise FetchRefused(f"{_short(url)} is not fetched: {host} is not among the hosts that may be (fetch.hosts).")
    return split


def _is_host(host: str, allowed: str) -> bool:
    host, allowed = host.lower().rstrip("."), allowed.lower()
    return host.endswith(allowed) if allowed.startswith(".") else host == allowed


@contextmanager
def _answer(split: SplitResult, rules: FetchRules, end: float, resolve: Resolve) -> Iterator[http.client.HTTPResponse]:
    """The answer to one GET. Whatever the other side does, it ends in time: the socket is shut then."""
    host = split.hostname or ""
    port = split.port or (443 if split.scheme == "https" else 80)
    addresses = _addresses(host, port, rules, resolve)
    connection = _Connection(host, port, addresses, secure=split.scheme == "https", end=end)
    timer = threading.Timer(max(end - monotonic(), 0.0), connection.cut)
    timer.daemon = True
    timer.start()
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    try:
        connection.request(
            "GET", _quoted(path), headers={"User-Agent": "gristmill", "Accept": "*/*", "Accept-Encoding": "identity"}
        )
        yield connection.getresponse()
        if connection.late:  # what was cut off looks like an end
            raise TimeoutError
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as exc:
        late = connection.late or monotonic() >= end
        why = f"it took more than {rules.seconds:g} s (fetch.timeout)" if late else str(exc) or type(exc).__name__
        raise FetchFailed(f"nothing was fetched from {split.scheme}://{host}: {why}.") from exc
    finally:
        timer.cancel()
        connection.close()


def _addresses(host: str, port: int, rules: FetchRules, resolve: Resolve) -> list[str]:
    """All addresses of the host. One that may not be reached refuses them all: who mixes them has a reason."""
    try:
        found = resolve(host, port)
    except (OSError, UnicodeError) as exc:
        raise FetchFailed(f"there is no host {host}: {exc}.") from exc
    for one in found:
        if not _may_reach(ipaddress.ip_address(one.partition("%")[0]), rules.private):
            raise FetchRefused(
                f"{host} is {one}, which is no public address: it is not fetched. A network of yours can be allowed"
                " (fetch.private)."
            )
    if not found:
        raise FetchFailed(f"there is no address of {host}.")
    return found


def _may_reach(address: Address, private: tuple[Network, ...]) -> bool:
    if any(address in network for network in private):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return _may_reach(inner, private)
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _NAMED


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that this one stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _INSIDE) and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class _Connection(http.client.HTTPConnection):
    """To one of the addresses that were checked; the name is only said, to the server and to TLS."""

    def __init__(self, host: str, port: int, addresses: list[str], *, secure: bool, end: float) -> None:
        super().__init__(f"[{host}]" if ":" in host else host, port)
        self.default_port = 443 if secure else 80  # what need not be said in the header Host
        self._addresses, self._secure, self._end = addresses, secure, end
        self.late = False
        self._live: socket.socket | None = None  # kept: the answer takes it over

    def connect(self) -> None:
        for n, address in enumerate(self._addresses, 1):
            try:
                self.sock = self._live = socket.create_connection(
                    (address, self.port), timeout=max(self._end - monotonic(), 0.001)
                )
                break
            except OSError:
                if n == len(self._addresses):
                    raise
        if self._secure:
            context = ssl.create_default_context()
            self.sock = self._live = context.wrap_socket(self.sock, server_hostname=self.host.strip("[]"))

    def cut(self) -> None:
        """End it from another thread."""
        self.late = True
        if self._live is not None:
            with suppress(OSError):  # it has ended by itself
                self._live.shutdown(socket.SHUT_RDWR)


def _kept(answer: http.client.HTTPResponse, split: SplitResult, into: Path, rules: FetchRules, url: str) -> Fetched:
    if answer.status != http.client.OK:
        raise FetchFailed(f"{_short(url)} gave {answer.status} {answer.reason[:80]}.")
    if answer.getheader("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed(f"{_short(url)} was packed, though that was not asked for.")
    declared = answer.getheader("Content-Length") or "0"
    if declared.isdigit() and int(declared) > rules.max_bytes:
        raise _too_large(url, declared, rules)
    name = _name(split, answer.getheader("Content-Type") or "")
    path = into / f"{len(os.listdir(into))}-fetched"
    size = 0
    with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
        while piece := answer.read(_PIECE):
            size += len(piece)
            if size > rules.max_bytes:
                raise _too_large(url, f"more than {rules.max_bytes}", rules)
            file.write(piece)
    if declared.isdigit() and size < int(declared):
        raise FetchFailed(f"{_short(url)} ended after {size} of {declared} bytes.")
    return Fetched(path, name)


def _too_large(url: str, found: str, rules: FetchRules) -> DocumentTooLarge:
    error = DocumentTooLarge(f"{_short(url)} has {found} bytes; the limit is {rules.max_bytes} (doc_maximum_size).")
    error.setting = "doc_maximum_size"
    return error


def _name(split: SplitResult, content_type: str) -> str:
    """The last part of the path, with an ending that says what the server does where it has none."""
    last = PurePosixPath(unquote(split.path, errors="replace")).name
    name = "".join(letter if letter.isprintable() else " " for letter in last).strip()[-200:] or (
        split.hostname or "document"
    )
    ending = _ENDINGS.get(content_type.partition(";")[0].strip().lower(), "")
    return name if last and PurePosixPath(name).suffix else name + ending


def _quoted(path: str) -> str:
    """Letters that stand in a URL as they are written, as HTTP wants them."""
    return "".join(
        letter if " " < letter < "\x7f" else "".join(f"%{byte:02X}" for byte in letter.encode()) for letter in path
    )


def _short(url: str) -> str:
    return url if len(url) <= 200 else f"{url[:200]}..."
