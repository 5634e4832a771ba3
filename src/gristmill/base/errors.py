"""Every error that Gristmill raises on purpose.

GristmillError
├── SettingsError            a key or value in the configuration is wrong
│   └── QueryError           a search request cannot be answered as it stands: empty, too long, out of range
├── PluginError              a registry has no such name, or its module cannot be imported
├── EngineError
│   ├── LeaseLost            somebody else holds the task now; what this holder still writes is refused
│   ├── UnknownTask          no such task, or no task registered under that name
│   ├── BrokerUnavailable    the broker cannot be reached (worth repeating)
│   ├── TaskError            how a task ended when it did not succeed; raised by ``result.get()``
│   │   ├── TaskFailed
│   │   ├── TaskCancelled
│   │   └── TaskDead
│   ├── ResultTimeout        the task had not ended when the caller stopped waiting
│   ├── LimitExceeded
│   │   ├── SoftTimeLimitExceeded
│   │   ├── HardTimeLimitExceeded
│   │   ├── MemoryLimitExceeded
│   │   └── LoopBlocked      an async body kept its event loop from answering
│   ├── RunnerCrashed        the child process died under the task (signal, exit code)
│   └── Retry                raised by a body that wants to run again later
├── DocumentError            a document that cannot become chunks; final, repeating does not help
│   ├── UnsupportedDocument
│   ├── EncryptedDocument
│   ├── DamagedDocument
│   ├── DocumentTooLarge
│   └── EmptyDocument
├── FetchError
│   ├── FetchRefused         the rules do not allow this URL
│   └── FetchFailed          the other side did not give the document (worth repeating)
├── StoreError
│   ├── StoreUnavailable     worth repeating
│   ├── BlobMissing
│   ├── NotFound             no such dataset, document, run or chunk
│   ├── Conflict             the store's state does not allow this step
│   └── GenerationClosed     the generation was cancelled, superseded or committed: stop writing
└── ModelError
    ├── ModelUnavailable     throttled, down or slow (worth repeating; may carry ``retry_after``)
    ├── ModelRefused         the model's answer is no, and will stay no
    │   └── InputRefused     it refuses this text, picture or sound; others may do
    └── EmbedderChanged      the dataset was built with another embedder

``retryable`` says whether the same work may succeed when it is done again.
"""

from __future__ import annotations

from typing import ClassVar


class GristmillError(Exception):
    """Base of all errors raised on purpose."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message or (self.__doc__ or type(self).__name__).strip().splitlines()[0])
        self.retry_after = retry_after  # seconds


class SettingsError(GristmillError):
    """The configuration is wrong."""


class QueryError(SettingsError):
    """The search request is wrong."""


class PluginError(GristmillError):
    """A plug-in cannot be found or imported."""


class EngineError(GristmillError):
    """Base of the engine's errors."""


class LeaseLost(EngineError):
    """The lease of this task is no longer ours."""


class UnknownTask(EngineError):
    """No such task."""


class BrokerUnavailable(EngineError):
    """The broker cannot be reached."""

    retryable = True


class TaskError(EngineError):
    """The task did not succeed."""


class TaskFailed(TaskError):
    """The task failed."""


class TaskCancelled(TaskError):
    """The task was cancelled."""


class TaskDead(TaskError):
    """The task used up its attempts."""


class ResultTimeout(EngineError):
    """The task had not ended in time."""


class LimitExceeded(EngineError):
    """A task went over one of its limits."""


class SoftTimeLimitExceeded(LimitExceeded):
    """The soft time limit is over; clean up and end."""


class HardTimeLimitExceeded(LimitExceeded):
    """The hard time limit was over and the task was ended."""


class MemoryLimitExceeded(LimitExceeded):
    """The task used more memory than it may."""


class LoopBlocked(LimitExceeded):
    """An async body kept its event loop from answering."""


class RunnerCrashed(EngineError):
    """The process that ran the task died."""

    retryable = True


class Retry(EngineError):
    """Raised by a task body: run me again later. ``retry_after`` is in seconds."""

    retryable = True


class DocumentError(GristmillError):
    """A document that cannot become chunks. What a library says of hostile bytes may quote them all: it is cut."""

    LONGEST: ClassVar[int] = 1000  # characters of a message

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        if len(message) > self.LONGEST:
            half = self.LONGEST // 2 - 3
            message = f"{message[:half]} ... {message[-half:]}"
        super().__init__(message, retry_after=retry_after)


class UnsupportedDocument(DocumentError):
    """No parser reads this format."""


class EncryptedDocument(DocumentError):
    """The document is protected by a password."""


class DamagedDocument(DocumentError):
    """The document is damaged."""


class DocumentTooLarge(DocumentError):
    """The document is larger than the limits allow. ``setting`` names the limit."""

    setting = ""


class EmptyDocument(DocumentError):
    """The document holds no text."""


class FetchError(GristmillError):
    """A document that is not fetched from its URL."""


class FetchRefused(FetchError):
    """The rules of the section fetch do not allow this URL."""


class FetchFailed(FetchError):
    """The document could not be fetched."""

    retryable = True


class StoreError(GristmillError):
    """Base of the stores' errors."""


class StoreUnavailable(StoreError):
    """A store cannot be reached."""

    retryable = True


class BlobMissing(StoreError):
    """No object is stored under this key."""


class NotFound(StoreError):
    """No such dataset, document, run or chunk."""


class Conflict(StoreError):
    """The store's state does not allow this step."""


class GenerationClosed(StoreError):
    """The generation is closed: stop writing."""


class ModelError(GristmillError):
    """Base of the models' errors."""


class ModelUnavailable(ModelError):
    """The model is throttled, down or slow."""

    retryable = True


class ModelRefused(ModelError):
    """The model refuses."""


class InputRefused(ModelRefused):
    """The model refuses this input."""


class EmbedderChanged(ModelError):
    """The dataset was built with another embedder."""
