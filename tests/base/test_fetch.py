"""Documents from URLs: only what the rules allow is reached, within bounds, and nothing of ours is sent along."""

from __future__ import annotations

import ipaddress
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gristmill.base.errors import DocumentTooLarge, FetchFailed, FetchRefused
from gristmill.base.fetch import FetchRules, fetch

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
WORDS = b"# Words\n\nof a page.\n"


class Site:
    """A server on the loopback: what it answers by path, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {
            "/a/words.md": (200, {"Content-Length": str(len(WORDS))}, WORDS),
            "/page?id=7": (200, {"Content-Type": "text/html; charset=utf-8"}, b"<p>words</p>"),
            "/": (200, {"Content-Type": "text/plain"}, b"words"),
            "/moved": (302, {"Location": "a/words.md"}, b""),
            "/loop": (301, {"Location": "/loop"}, b""),
            "/inside": (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""),
            "/file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/lies": (200, {"Content-Length": str(10**12)}, b"x"),
            "/long": (200, {}, b"x" * 200_000),
            "/short": (200, {"Content-Length": "99"}, b"x"),
            "/packed": (200, {"Content-Encoding": "gzip"}, b"x"),
            "/%E6%96%87.txt": (200, {}, b"words"),
        }
        self.hold = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                if self.path == "/slow":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                    site.hold.wait(60)
                    return
                status, headers, body = site.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=lambda: site.server.serve_forever(poll_interval=0.02))
    thread.start()
    yield site
    site.hold.set()
    site.server.shutdown()
    site.server.server_close()
    thread.join()


@pytest.fixture
def site(running: Site) -> Site:
    running.asked.clear()
    return running


@pytest.mark.parametrize(
    ("path", "name", "data"),
    [
        ("/a/words.md", "words.md", WORDS),
        ("/moved", "words.md", WORDS),
        ("/page?id=7", "page.html", b"<p>words</p>"),
        ("/", "127.0.0.1.txt", b"words"),
        ("/文.txt", "文.txt", b"words"),
    ],
)
def test_a_document_is_fetched_into_a_private_file(
    site: Site, tmp_path: Path, path: str, name: str, data: bytes
) -> None:
    found = fetch(site.url(path), tmp_path, FetchRules(private=LOOPBACK))
    assert (found.name, found.path.read_bytes()) == (name, data)
    assert found.path.parent == tmp_path
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o600


def test_nothing_of_ours_is_sent_along(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, cookies or referrers, also after a redirect; and no proxy of the environment is asked."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    fetch(site.url("/moved"), tmp_path, FetchRules(private=LOOPBACK))
    assert [set(headers) for _, headers in site.asked] == [{"Host", "User-Agent", "Accept", "Accept-Encoding"}] * 2


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "0.0.0.0", "10.0.0.7", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1", "2130706433", "0x7f.1", "[::1]",
        "[::]", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]",
        "[2002:a00:1::]", "[ff02::1]", "[2001:db8::1]",
    ],
)  # fmt: skip
def test_what_is_no_public_address_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(FetchRefused, match="no public address"):
        fetch(f"http://{host}/", tmp_path, FetchRules())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/x", "only http"),
        ("file:///etc/passwd", "only http"),
        ("http:///x", "only http"),
        ("http://user:secret@example.org/x", "password"),
        ("http://example.org:99999/x", "no URL"),
        ("http://[::1/x", "no URL"),
        ("http://example.org/\nHost: x", "only http|no URL|not among"),
        ("http://evil.org/x", "not among"),
        ("http://example.org.evil.org/x", "not among"),
        ("http://notexample.org/x", "not among"),
        ("http://example.net/x", "not among"),
    ],
)
def test_a_url_that_the_rules_do_not_allow_reaches_nobody(url: str, why: str, tmp_path: Path) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(FetchRefused, match=why) as caught:
        fetch(url, tmp_path, FetchRules(hosts=("example.org", ".example.net")), resolve=resolve)
    assert "secret" not in str(caught.value)


def test_a_host_of_the_list_is_fetched_from(site: Site, tmp_path: Path) -> None:
    rules = FetchRules(hosts=("docs.example", ".example.net"), private=LOOPBACK)
    for host in ("docs.example", "DOCS.example.", "a.example.net"):
        url = f"http://{host}:{site.port}/a/words.md"
        assert fetch(url, tmp_path, rules, resolve=lambda *_: ["127.0.0.1"]).name == "words.md"


def test_the_connection_goes_to_the_address_that_was_checked(site: Site, tmp_path: Path) -> None:
    """A name that means something else a moment later (DNS rebinding) is not asked about again."""
    answers = iter([["127.0.0.1"]])
    url = f"http://docs.example:{site.port}/a/words.md"
    fetch(url, tmp_path, FetchRules(private=LOOPBACK), resolve=lambda *_: next(answers))
    assert site.asked[0][1]["Host"] == f"docs.example:{site.port}"


def test_one_private_address_among_public_ones_refuses_them_all(tmp_path: Path) -> None:
    with pytest.raises(FetchRefused, match=r"10\.0\.0\.7"):
        fetch("http://docs.example/", tmp_path, FetchRules(), resolve=lambda *_: ["93.184.215.14", "10.0.0.7"])


REFUSALS: dict[str, tuple[type[Exception], str]] = {
    "/inside": (FetchRefused, "no public address"),
    "/file": (FetchRefused, "only http"),
    "/loop": (FetchRefused, "fetch.redirects"),
    "/lies": (DocumentTooLarge, "1000000000000"),
    "/long": (DocumentTooLarge, "more than 100000"),
    "/short": (FetchFailed, "ended after 1 of 99"),
    "/packed": (FetchFailed, "packed"),
    "/nothing": (FetchFailed, "404"),
}


@pytest.mark.parametrize("path", REFUSALS)
def test_what_a_server_may_not_do(site: Site, tmp_path: Path, path: str) -> None:
    error, why = REFUSALS[path]
    with pytest.raises(error, match=why):
        fetch(site.url(path), tmp_path, FetchRules(private=LOOPBACK, max_bytes=100_000, redirects=2))


def test_a_server_that_never_ends_is_left(site: Site, tmp_path: Path) -> None:
    """The bound is on all of it, so dripping bytes does not prolong it."""
    with pytest.raises(FetchFailed, match=r"more than 0\.2 s"):
        fetch(site.url("/slow"), tmp_path, FetchRules(private=LOOPBACK, seconds=0.2))


@pytest.mark.parametrize("resolve", [lambda *_: [], lambda *_: (_ for _ in ()).throw(OSError("unknown"))])
def test_a_host_that_is_not_there_may_be_tried_again(resolve: Callable[[str, int], list[str]], tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="there is no") as caught:
        fetch("http://docs.example/", tmp_path, FetchRules(), resolve=resolve)
    assert caught.value.retryable
