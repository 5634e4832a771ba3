"""Embeddings from any endpoint that speaks OpenAI's ``/embeddings``: OpenAI itself, TEI, vLLM, Ollama, Infinity, ..."""

from gristmill.providers.openai.embedder import OpenAIEmbedder

__all__ = ["OpenAIEmbedder"]
