"""What the adapters for embedding, transcription, vision and chat share."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from gristmill.base.clock import Clock, SystemClock
from gristmill.base.errors import InputRefused
from gristmill.providers.openai.endpoint import Body, Decode, Endpoint, Pause
from gristmill.providers.openai.pacing import Breaker, Throttle

_UNKNOWN = re.compile(r"un(supported|known|recognized|expected)|not (supported|permitted|allowed)|extra", re.IGNORECASE)

In = TypeVar("In")
Out = TypeVar("Out")
Send = Callable[[In, threading.Event], Out]


class Client:
    """An endpoint for one use, with calls that end when nobody waits for them any more.

    Up to ``concurrency`` requests are in flight, fewer while the endpoint throttles. Failures that may pass are repeated for
    ``patience`` seconds. The key appears in no message, log line or repr. Safe for several threads.
    """

    def __init__(
        self,
        what: str,
        route: str,
        *,
        base_url: str,
        model: str,
        api_key: str = "",
        concurrency: int = 4,
        timeout: float = 120.0,
        patience: float = 60.0,
        headers: Mapping[str, str] | None = None,
        trust_env: bool = True,
        breaker_failures: int = 8,
        breaker_rest: float = 30.0,
        clock: Clock | None = None,
        pause: Pause | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.model = model
        self.throttle = Throttle(concurrency, clock)
        self._patience = patience
        self._endpoint = Endpoint(
            what=what,
            base_url=base_url,
            route=route,
            api_key=api_key,
            headers=headers or {},
            timeout=timeout,
            trust_env=trust_env,
            throttle=self.throttle,
            breaker=Breaker(failures=breaker_failures, rest=breaker_rest, clock=clock),
            clock=clock,
            pause=pause,
        )
        self.shown = self._endpoint.shown
        self._calls: set[threading.Event] = set()
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=what)

    def post(
        self,
        content: bytes,
        kind: str,
        decode: Decode[Out],
        abandoned: threading.Event,
        *,
        patience: float | None = None,
    ) -> Out:
        """One request's answer; ``patience`` is another than the usual. Raises TooLong, InputRefused, ModelRefused or
        ModelUnavailable."""
        patience = self._patience if patience is None else patience
        return self._endpoint.post(Body(self.model, content, kind), decode, patience=patience, abandoned=abandoned)

    @contextmanager
    def call(self) -> Iterator[threading.Event]:
        """An event that is set as soon as nobody waits for this call any more: on a failure, a time limit, a close."""
        abandoned = threading.Event()
        self._calls.add(abandoned)
        try:
            yield abandoned
        finally:
            abandoned.set()
            self._calls.discard(abandoned)

    def each(self, items: Sequence[In], send: Send[In, Out]) -> list[Out]:
        """What ``send`` makes of each item, several at a time. The first failure ends all of them."""
        with self.call() as abandoned:
            if len(items) <= 1:
                return [send(item, abandoned) for item in items]
            futures = [self._pool.submit(send, item, abandoned) for item in items]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                failed = [future for future in futures if future.done() and future.exception()]
                return [future.result() for future in failed[:1] or futures]
            finally:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """Give up connections; calls that wait for another attempt end with ModelUnavailable."""
        for abandoned in tuple(self._calls):
            abandoned.set()
        self._pool.shutdown(cancel_futures=True)
        self._endpoint.close()


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class Completions:
    """``POST {base_url}/chat/completions``. What a server does not know of the optional fields is left away from then on."""

    def __init__(self, client: Client, max_tokens: int, *, as_json: bool = False) -> None:
        self.client = client
        self._optional: dict[str, Any] = {"temperature": 0, "max_tokens": max_tokens}
        if as_json:
            self._optional["response_format"] = {"type": "json_object"}

    def ask(self, messages: Sequence[Mapping[str, Any]], abandoned: threading.Event) -> str:
        """The text of the first choice, without what a model thinks aloud before it."""
        while True:
            sent = dict(self._optional)
            payload = {"model": self.client.model, "messages": list(messages), **sent}
            try:
                return self.client.post(msgspec.json.encode(payload), "application/json", _said, abandoned)
            except InputRefused as exc:
                unknown = next((name for name in sent if name in str(exc)), None)
                if unknown is None or not _UNKNOWN.search(str(exc)):
                    raise
                self._forget(unknown)

    def _forget(self, name: str) -> None:
        value = self._optional.pop(name, None)
        if name == "max_tokens" and value is not None:  # newer models of OpenAI call it so
            self._optional["max_completion_tokens"] = value


def _said(content: bytes, kind: str) -> str:
    choices = msgspec.json.decode(content, type=_Completion).choices
    said = choices[0].message.content if choices else None
    if isinstance(said, list):
        said = "\n".join(str(part["text"]) for part in said if isinstance(part.get("text"), str))
    text = said or ""
    thought = text.rfind("</think>")
    return (text[thought + len("</think>") :] if thought >= 0 else text).strip()
