"""One request to the endpoint, repeated while that may help."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from gristmill.base import meters
from gristmill.base.clock import Clock
from gristmill.base.errors import InputRefused, ModelRefused, ModelUnavailable, SettingsError
from gristmill.base.logs import get_logger
from gristmill.providers.openai.pacing import Breaker, Throttle, backoff, retry_after

log = get_logger(__name__)

# What servers say of over-long input; the status differs (400, 413, 422, 500), so the words decide.
_TOO_LONG = re.compile(
    r"too (long|large|many tokens)|context (length|window)|(input|sequence) length|(max\w*|exceed\w*)\W.{0,60}(token|length)",
    re.IGNORECASE,
)
_SHOWN = 200  # characters of a server's own words that go into an error

Pause = Callable[[float], object]
T = TypeVar("T")
Decode = Callable[[bytes, str], T]  # of an answer's bytes and content type; raises msgspec.DecodeError


class TooLong(InputRefused):
    """The input is longer than the model reads."""


@dataclass(frozen=True)
class Body:
    """What is sent, and to which model."""

    model: str
    content: bytes
    kind: str = "application/json"


class _Trouble(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, *, asked: float | None = None, throttled: bool = False) -> None:
        super().__init__(reason)
        self.asked = asked
        self.throttled = throttled


class Endpoint:
    """Sends requests: so many at a time, again after failures that may pass. The key stays in the headers only.

    ``what`` is the use that it is for, in messages ("embedding").
    """

    def __init__(
        self,
        *,
        what: str,
        base_url: str,
        route: str,
        api_key: str,
        headers: Mapping[str, str],
        timeout: float,
        trust_env: bool,
        throttle: Throttle,
        breaker: Breaker,
        clock: Clock,
        pause: Pause | None,
    ) -> None:
        self.what = what
        self.url = _checked(base_url, route, what)
        self.shown = _shown(self.url)
        self._key = _checked_key(api_key, what)
        self._throttle = throttle
        self._breaker = breaker
        self._clock = clock
        self._pause = pause
        self._client = httpx.Client(
            headers={**headers, **({"Authorization": f"Bearer {self._key}"} if self._key else {})},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            trust_env=trust_env,
        )

    def post(self, body: Body, decode: Decode[T], *, patience: float, abandoned: threading.Event) -> T:
        """The answer. Raises TooLong, ModelRefused, or ModelUnavailable after ``patience`` seconds of failures that may pass
        and as soon as ``abandoned`` is set."""
        deadline = self._clock.monotonic() + patience
        for attempt in count():
            self._breaker.check(self.shown)
            self._wait(self._throttle.pause(), deadline, abandoned, f"{self.shown} asked for a pause")
            try:
                return self._attempt(body, decode)
            except _Trouble as trouble:
                delay, reason = backoff(attempt, trouble.asked), str(trouble)
            log.warning(
                "model endpoint in trouble", use=self.what, endpoint=self.shown, reason=reason, again_in=round(delay, 2)
            )
            self._wait(delay, deadline, abandoned, reason)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Give up connections."""
        self._client.close()

    def _wait(self, delay: float, deadline: float, abandoned: threading.Event, reason: str) -> None:
        if delay > 0:
            if self._clock.monotonic() + delay > deadline:
                raise ModelUnavailable(f"{reason}; asked again for as long as allowed", retry_after=delay)
            (self._pause or abandoned.wait)(delay)
        if abandoned.is_set():
            raise ModelUnavailable(f"the work for {self.shown} was given up")

    def _attempt(self, body: Body, decode: Decode[T]) -> T:
        model = body.model
        with self._throttle.slot() as began:
            try:
                answer = self._send(body, decode)
            except _Trouble as trouble:
                meters.count("model_requests", model=model, outcome="throttled" if trouble.throttled else "error")
                if trouble.throttled:
                    self._throttle.throttled(began=began, asked=trouble.asked)
                    self._breaker.succeeded()
                else:
                    self._breaker.failed(str(trouble))
                raise
            except ModelRefused:  # it lives, it only does not like this input
                meters.count("model_requests", model=model, outcome="error")
                self._breaker.succeeded()
                raise
        meters.count("model_requests", model=model, outcome="ok")
        self._throttle.succeeded()
        self._breaker.succeeded()
        return answer

    def _send(self, body: Body, decode: Decode[T]) -> T:
        try:
            response = self._client.post(self.url, content=body.content, headers={"Content-Type": body.kind})
        except httpx.TransportError as exc:
            what = "did not answer in time" if isinstance(exc, httpx.TimeoutException) else "cannot be reached"
            raise _Trouble(f"{self.shown} {what} ({type(exc).__name__}: {self._redact(str(exc))})") from exc
        if response.status_code != httpx.codes.OK:
            raise self._failure(response)
        try:
            return decode(response.content, response.headers.get("content-type", ""))
        except msgspec.DecodeError as exc:
            raise _Trouble(
                f"{self.shown} gave no {self.what} answer ({exc}): check that base_url is that of an OpenAI-compatible API"
            ) from exc

    def _failure(self, response: httpx.Response) -> Exception:
        status = response.status_code
        words = self._redact(_words(response))
        said = f"{self.shown} answered {status}" + (f": {words}" if words else "")
        asked = retry_after(response.headers.get("retry-after"), self._clock)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return _Trouble(said, asked=asked, throttled=True)
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE or _TOO_LONG.search(words):
            return TooLong(said)
        if status >= 500 or status in (httpx.codes.REQUEST_TIMEOUT, httpx.codes.CONFLICT, httpx.codes.TOO_EARLY):
            return _Trouble(said, asked=asked)
        refused = InputRefused if status in _OF_INPUT else ModelRefused
        advice = _ADVICE.get(status, "check the model and the settings of the endpoint")
        return refused(f"{said}; {advice}{' and dimensions' if status == 400 and self.what == 'embedding' else ''}")

    def _redact(self, words: str) -> str:
        flat = " ".join(words.split())
        return (flat.replace(self._key, "***") if self._key else flat)[:_SHOWN]


_OF_INPUT = frozenset((400, 415, 422))
_ADVICE = {
    301: "base_url has moved: set the new address",
    302: "base_url leads elsewhere: set the final address",
    307: "base_url leads elsewhere: set the final address",
    308: "base_url has moved: set the new address",
    400: "the endpoint does not take this request: check model",
    401: "check api_key",
    402: "the account has no credit left",
    403: "this api_key may not use the model",
    404: "check base_url (it usually ends in /v1) and the name of the model",
    405: "check base_url (it usually ends in /v1)",
}


def _words(response: httpx.Response) -> str:
    """The server's own words about a failure, from the shapes that are in use."""
    try:
        body = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return "" if "html" in response.headers.get("content-type", "") else response.text
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return body if isinstance(body, str) else msgspec.json.encode(body).decode()


def _checked(base_url: str, route: str, what: str) -> str:
    """The address to post to."""
    try:
        parts = urlsplit(base_url.strip())
        _ = parts.port  # raises where it is no number
    except ValueError as exc:
        raise SettingsError(f"the {what} base_url cannot be read: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            f"the {what} base_url {_shown(base_url)!r} is no http address; it looks like https://api.openai.com/v1"
        )
    if "@" in parts.netloc:  # it would be in the log of every HTTP library
        raise SettingsError(f"the {what} base_url holds a user name or password: use api_key or headers")
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + route, fragment=""))


def _checked_key(api_key: str, what: str) -> str:
    """The key without the white space that copying brings along."""
    key = api_key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        # Said here, for the HTTP library would show the whole header.
        raise SettingsError(f"the {what} api_key holds characters that an HTTP header cannot carry: copy it again")
    return key


def _shown(url: str) -> str:
    """The address without what may be secret in it (user, password, query)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
