"""Answers of a language model through an OpenAI-compatible endpoint."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

from gristmill.base.errors import InputRefused
from gristmill.ports.model import Answered, Chat
from gristmill.providers.openai.client import Client, Completions


class OpenAIChat(Chat):
    """Any endpoint that speaks ``POST {base_url}/chat/completions``.

    A JSON object is asked for by ``response_format`` where the server knows that. Further options are those of ``Client``.
    """

    name: ClassVar[str] = "openai"

    def __init__(
        self, *, model: str, max_tokens: int = 2000, max_input: int = 24_000, concurrency: int = 4, **client: Any
    ) -> None:
        self.id = f"openai:{model}/{max_tokens}/{max_input}@1"
        self.max_input = max_input
        self.batch = concurrency
        self._client = Client("chat", "/chat/completions", model=model, concurrency=concurrency, **client)
        self._completions = Completions(self._client, max_tokens, as_json=True)

    def __repr__(self) -> str:
        return f"OpenAIChat({self.id!r}, {self._client.shown!r})"

    def answer(self, instruction: str, text: str) -> str:
        """The answer. Raises ModelUnavailable (with ``retry_after``), InputRefused or ModelRefused."""
        with self._client.call() as abandoned:
            return self._ask(instruction, text, abandoned)

    def answers(self, instruction: str, texts: Sequence[str]) -> list[Answered]:
        """Several at a time. Raises ModelUnavailable (with ``retry_after``) or ModelRefused."""

        def one(text: str, abandoned: threading.Event) -> Answered:
            try:
                return Answered(self._ask(instruction, text, abandoned))
            except InputRefused as exc:
                return Answered("", str(exc))

        return self._client.each(texts, one)

    def _ask(self, instruction: str, text: str, abandoned: threading.Event) -> str:
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": text[: self.max_input]}]
        return self._completions.ask(messages, abandoned)

    def close(self) -> None:
        """Give up connections; calls that wait for another attempt end with ModelUnavailable."""
        self._client.close()
