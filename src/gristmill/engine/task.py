"""Tasks and the app that holds them: the face that users of Celery know, with types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypedDict,
    TypeVar,
    cast,
    get_type_hints,
    overload,
)

import anyio.from_thread
import msgspec

from gristmill.base.errors import EngineError, UnknownTask
from gristmill.base.ids import new_id
from gristmill.engine import bucket
from gristmill.engine.broker import Broker
from gristmill.engine.client import AsyncResult, Client, TaskHandle
from gristmill.engine.context import TaskContext
from gristmill.engine.cron import parse
from gristmill.engine.message import Message

if TYPE_CHECKING:
    from typing import Unpack

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MIB = 1024 * 1024


class Policy(msgspec.Struct, frozen=True):
    """How a task is run. Times in seconds, sizes in bytes.

    ``soft_time_limit`` raises SoftTimeLimitExceeded inside the body, ``time_limit`` ends it from outside. A task is tried
    ``max_retries + 1`` times; the n-th wait is random up to ``retry_backoff * 2**(n-1)``, at most ``retry_backoff_max``.
    ``rate`` is how many of these tasks may start in a second, over all workers, after up to ``burst`` at once.
    """

    name: str
    is_async: bool = False
    bind: bool = False
    queue: str = "default"
    priority: int = 0
    soft_time_limit: float | None = 240.0
    time_limit: float | None = 300.0
    memory_limit: int | None = None
    max_retries: int = 2
    retry_backoff: float = 1.0
    retry_backoff_max: float = 300.0
    rate: float | None = None
    burst: float = 1.0


class TaskOptions(TypedDict, total=False):
    """What ``@app.task(...)`` takes besides ``name`` and ``bind``: see Policy."""

    queue: str
    priority: int
    soft_time_limit: float | None
    time_limit: float | None
    memory_limit: int | None
    max_retries: int
    retry_backoff: float
    retry_backoff_max: float
    rate: float | None
    burst: float


class SubmitOptions(TypedDict, total=False):
    """What one request may set for itself: see Message."""

    key: str | None
    queue: str
    priority: int
    lane: str
    delay: float
    deadline: float | None


class Periodic(msgspec.Struct, frozen=True):
    """A task that is published once in every period, or by a crontab line, however many workers there are."""

    message: Message
    every: float = 0.0
    cron: str = ""
    timezone: str = "UTC"


class Task(Generic[P, R]):
    """A registered body. Calling it runs the body here and now; ``submit`` and ``delay`` have a worker do it."""

    def __init__(self, app: App, body: Callable[..., R], policy: Policy, options: SubmitOptions | None = None) -> None:
        self.app = app
        self.body = body
        self.policy = policy
        self._options: SubmitOptions = options or {}

    @property
    def name(self) -> str:
        return self.policy.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.policy.bind:
            return self.body(TaskContext.for_testing(self.name), *args, **kwargs)
        return self.body(*args, **kwargs)

    def options(self, **options: Unpack[SubmitOptions]) -> Task[P, R]:
        """The same task with other options for what is submitted through it."""
        return Task(self.app, self.body, self.policy, cast("SubmitOptions", {**self._options, **options}))

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """The request to run the task with these arguments, not published yet."""
        fields: dict[str, Any] = {"queue": self.policy.queue, "priority": self.policy.priority, **self._options}
        return Message(
            id=new_id(),
            task=self.name,
            args=list(args),
            kwargs=dict(kwargs),
            max_attempts=self.policy.max_retries + 1,
            **fields,
        )

    @cached_property
    def returns(self) -> Any:
        """What the body is annotated to return; Any where it does not say, or names what is not there at run time."""
        try:
            return get_type_hints(self.body).get("return", Any)
        except (NameError, TypeError):
            return Any

    @overload
    async def submit(self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> TaskHandle[T]: ...
    @overload
    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]: ...
    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[Any]:
        """Publish a request. The app must be connected (``async with app.connected(broker)``)."""
        return await self.app.client.submit(self.message(*args, **kwargs), returns=self.returns)

    @overload
    def delay(self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]: ...
    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[Any]:
        """Publish a request from synchronous code. The app must be connected (``with app.connect(...)``)."""
        return self.app.sync_client.submit(self.message(*args, **kwargs), returns=self.returns)


@dataclass(frozen=True)
class _Maker:
    """What ``@app.task(...)`` returns before it has seen the body."""

    app: App
    name: str
    options: TaskOptions
    bind: bool = False

    def __call__(self, body: Callable[P, R]) -> Task[P, R]:
        return self.app.add(body, name=self.name, bind=self.bind, options=self.options)


@dataclass(frozen=True)
class _BindingMaker:
    """The same for bodies that take the context first."""

    maker: _Maker

    def __call__(self, body: Callable[Concatenate[TaskContext, P], R]) -> Task[P, R]:
        return cast("Task[P, R]", replace(self.maker, bind=True)(body))


class App:
    """The tasks of a program. It knows no broker until it is connected to one."""

    def __init__(self, name: str = "gristmill") -> None:
        self.name = name
        self.tasks: dict[str, Task[..., Any]] = {}
        self.periodics: list[Periodic] = []
        self.runner_hooks: list[Callable[[], None]] = []
        self._client: Client | None = None
        self._sync: SyncClient | None = None

    @overload
    def task(self, body: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, *, bind: Literal[True], name: str = "", **options: Unpack[TaskOptions]) -> _BindingMaker: ...
    @overload
    def task(self, *, bind: Literal[False] = False, name: str = "", **options: Unpack[TaskOptions]) -> _Maker: ...
    def task(self, *body: Any, **given: Any) -> Any:
        """Register a body, ``def`` or ``async def``. With ``bind=True`` it takes the TaskContext first."""
        bind, name = given.pop("bind", False), given.pop("name", "")
        maker = _Maker(self, name, cast("TaskOptions", given))
        if body:
            return maker(*body)
        return _BindingMaker(maker) if bind else maker

    def add(self, body: Callable[P, R], *, name: str = "", bind: bool, options: TaskOptions) -> Task[P, R]:
        """Register a body under its name, once."""
        name = name or f"{body.__module__}.{body.__qualname__}"
        fields: dict[str, Any] = {**options}
        policy = Policy(name, is_async=inspect.iscoroutinefunction(body), bind=bind, **fields)
        if policy.name in self.tasks:
            raise EngineError(f"there is a task named {policy.name!r} already")
        bucket.check(1.0 if policy.rate is None else policy.rate, policy.burst, 1.0)
        task: Task[P, R] = Task(self, body, policy)
        self.tasks[policy.name] = task
        return task

    @overload
    def periodic(self, task: Task[..., Any] | Message, *, every: float) -> None: ...
    @overload
    def periodic(self, task: Task[..., Any] | Message, *, cron: str, timezone: str = "UTC") -> None: ...
    def periodic(
        self, task: Task[..., Any] | Message, *, every: float = 0.0, cron: str = "", timezone: str = "UTC"
    ) -> None:
        """Have the task run once in every ``every`` seconds, or by a crontab line, while any worker of this app is up.

        ``cron`` is minute, hour, day of the month, month and day of the week (``"30 3 * * mon-fri"``), or ``@daily`` and its
        like. What no worker was there for is made up within an hour. With arguments: ``app.periodic(add.message(4, 5), ...)``.
        """
        if cron:
            parse(cron, timezone)
        elif every <= 0:
            raise EngineError("a periodic task needs `every` (more than 0 seconds) or `cron`")
        message = task if isinstance(task, Message) else task.message()
        self.periodics.append(Periodic(message, every, cron, timezone))

    def on_runner_start(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` in every runner before its first task."""
        self.runner_hooks.append(hook)
        return hook

    def find(self, name: str) -> Task[..., Any]:
        try:
            return self.tasks[name]
        except KeyError:
            known = ", ".join(sorted(self.tasks)) or "none"
            raise UnknownTask(f"no task named {name!r} is registered in app {self.name!r}; known: {known}") from None

    def policies(self) -> list[Policy]:
        return [task.policy for task in self.tasks.values()]

    @property
    def client(self) -> Client:
        if self._client is None:
            raise EngineError(f"app {self.name!r} is not connected: use `async with app.connected(broker)`")
        return self._client

    @property
    def sync_client(self) -> SyncClient:
        if self._sync is None:
            raise EngineError(f"app {self.name!r} is not connected: use `with app.connect(broker)`")
        return self._sync

    def connected(self, broker: Broker) -> _Connected:
        """``async with app.connected(broker)``: ``submit`` works inside. The broker is open already."""
        return _Connected(self, broker)

    def connect(self, broker: Broker) -> SyncClient:
        """``with app.connect(open_broker(url))``: ``delay`` works inside. Opens the broker in a thread of its own."""
        return SyncClient(self, broker)


class _Connected:
    def __init__(self, app: App, broker: Broker) -> None:
        self._app, self._broker = app, broker

    async def __aenter__(self) -> Client:
        self._app._client = Client(self._broker)
        return self._app._client

    async def __aexit__(self, *exc: object) -> None:
        self._app._client = None


class SyncClient:
    """A client for synchronous code: the async one behind a portal, never a second implementation."""

    def __init__(self, app: App, broker: Broker) -> None:
        self._app, self._broker = app, broker

    def __enter__(self) -> SyncClient:
        self._portals = anyio.from_thread.start_blocking_portal()
        self._portal = self._portals.__enter__()
        self._opened: AbstractContextManager[Broker] = self._portal.wrap_async_context_manager(self._broker)
        self._client = Client(self._opened.__enter__())
        self._app._sync = self
        return self

    def __exit__(self, *exc: Any) -> None:
        self._app._sync = None
        try:
            self._opened.__exit__(None, None, None)
        finally:
            self._portals.__exit__(None, None, None)

    def submit(self, message: Message, *, returns: Any = Any) -> AsyncResult[Any]:
        submit = partial(self._client.submit, message, returns=returns)
        return AsyncResult(self._portal.call(submit), self._portal)

    def publish(self, messages: Sequence[Message]) -> list[bool]:
        return self._portal.call(self._broker.publish, messages)
