"""The models that are called, and how."""

from __future__ import annotations

from pydantic import Field, SecretStr

from gristmill.base.settings.source import Section


class EmbeddingModel(Section):
    """An embedding model behind an OpenAI-compatible endpoint (the embedder ``openai``)."""

    base_url: str = Field("", description="The endpoint, up to and including /v1.")
    model: str = Field("", description="The model's name there.")
    api_key: SecretStr = Field(SecretStr(""), description="The key, sent as a bearer token.")
    dimensions: int | None = Field(None, ge=1, description="Length of the vectors. Empty: the model's own.")
    concurrency: int = Field(4, ge=1, le=256, description="Requests in flight at once.")
    requests_per_minute: float | None = Field(
        None, gt=0, description="Requests that all workers together make in a minute. Empty: as many as they can."
    )
    timeout: float = Field(60.0, gt=0, description="Seconds until a request is given up.")
    max_tokens: int = Field(8000, ge=16, description="Tokens of the longest text sent in one piece.")
    query_prefix: str = Field("", description="Put before a question (E5 models want `query: `).")
    passage_prefix: str = Field("", description="Put before a chunk (E5 models want `passage: `).")


class Endpoint(Section):
    """A model behind an OpenAI-compatible endpoint."""

    base_url: str = Field("", description="The endpoint, up to and including /v1.")
    model: str = Field("", description="The model's name there.")
    api_key: SecretStr = Field(SecretStr(""), description="The key, sent as a bearer token.")
    concurrency: int = Field(4, ge=1, le=256, description="Requests of one task in flight at once.")
    requests_per_minute: float | None = Field(
        None, gt=0, description="Requests that all workers together make in a minute. Empty: as many as they can."
    )
    timeout: float = Field(120.0, gt=0, description="Seconds until a request is given up.")


class TranscriptionModel(Endpoint):
    """The model that hears speech: without one, sound is refused."""

    provider: str = Field(
        "",
        description="`openai` (an endpoint that speaks `/audio/transcriptions`), or `pocketsphinx` (English, on this machine,"
        " with the extra speech; misses many words). Empty: `openai` where `base_url` is set, else none.",
    )
    language: str = Field("", description="The language that is spoken (`en`, `zh`, ...). Empty: the model finds out.")
    max_bytes: int = Field(
        25_000_000, ge=100_000, description="The largest upload. Wave files over it are sent in pieces, others refused."
    )
    timeout: float = Field(600.0, gt=0, description="Seconds until a request is given up.")


class VisionModel(Endpoint):
    """The model that describes pictures: without one, they are as good as the text on them."""

    provider: str = Field(
        "",
        description="`openai` (an endpoint that speaks `/chat/completions` and sees). Empty: `openai` where `base_url` is"
        " set, else none.",
    )
    language: str = Field("English", description="The language of descriptions of pictures without words.")
    max_side: int = Field(
        1568, ge=64, le=8192, description="Pixels: larger pictures are made smaller before they are sent."
    )
    min_side: int = Field(48, ge=1, description="Pixels: pictures with a shorter side are not looked at.")
    max_tokens: int = Field(1000, ge=16, description="Tokens of the longest description.")


class ChatModel(Endpoint):
    """The language model that finds the fields of resumes, and keywords and questions for chunks where that is wanted."""

    provider: str = Field(
        "",
        description="`openai` (an endpoint that speaks `/chat/completions`). Empty: `openai` where `base_url` is set, else"
        " none.",
    )
    max_tokens: int = Field(2000, ge=16, description="Tokens of the longest answer.")
    max_input: int = Field(
        24_000, ge=1000, description="Characters of a document that are sent; the rest is left away."
    )


class Models(Section):
    """Models that are called."""

    embedding: EmbeddingModel = EmbeddingModel()
    transcription: TranscriptionModel = TranscriptionModel()
    vision: VisionModel = VisionModel()
    chat: ChatModel = ChatModel()
