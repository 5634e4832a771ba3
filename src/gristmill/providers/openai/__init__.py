"""Models behind any endpoint that speaks OpenAI's API: OpenAI itself, TEI, vLLM, Ollama, Infinity, LocalAI, Speaches, ...

Embeddings (``/embeddings``), speech (``/audio/transcriptions``), pictures and answers (``/chat/completions``).
"""

from gristmill.providers.openai.chat import OpenAIChat
from gristmill.providers.openai.describer import OpenAIDescriber
from gristmill.providers.openai.embedder import OpenAIEmbedder
from gristmill.providers.openai.transcriber import OpenAITranscriber

__all__ = ["OpenAIChat", "OpenAIDescriber", "OpenAIEmbedder", "OpenAITranscriber"]
