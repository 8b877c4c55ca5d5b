"""PrismQ, the object users hold: wires a store, a client and the listeners, and decides nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from typing_extensions import ParamSpec, Self, Unpack

from prismq.client.handle import TaskHandle
from prismq.client.operator import Operator
from prismq.client.options import EnqueueOptions, Seconds, apply, name_of
from prismq.client.registry import Registry, default_name
from prismq.client.sender import AroundEnqueue, Sender
from prismq.client.settings import handler_settings
from prismq.client.task import TaskDecorator, TaskFunction
from prismq.clock import SYSTEM_CLOCK, Clock
from prismq.domain.arguments import to_json
from prismq.domain.backoff import Backoff
from prismq.domain.handler import ExecutorKind, Handler
from prismq.domain.redaction import Redactor
from prismq.domain.span import TaskSpan, spans_of
from prismq.domain.task import NewTask
from prismq.observability.fanout import Fanout, Listener
from prismq.observability.logs import LogListener, configure_logging
from prismq.storage.contract import Schedule, Store
from prismq.target import Target, tracing_of

if TYPE_CHECKING:
    from prismq.observability.health import Health
    from prismq.observability.timeline import Moment
    from prismq.observability.traces import Tracing
    from prismq.observability.why import Explanation
    from prismq.testing import TestingQueue
    from prismq.worker.embedded import EmbeddedWorker
    from prismq.worker.runners.base import Around

P = ParamSpec("P")
R = TypeVar("R")
AroundT = TypeVar("AroundT", bound="Around")
AroundEnqueueT = TypeVar("AroundEnqueueT", bound=AroundEnqueue)


class PrismQ:
    """A durable task queue.

    `database`: a path, `sqlite:///…`, or None for PRISMQ_DATABASE_URL, PRISMQ_QUEUE_DB_PATH, `database` in
    prismq.toml, or the default path. `durability`: "normal" (an acknowledged enqueue survives a crash of the
    process) or "full" (power loss too). `redis_url`: have Redis tell workers of new tasks. `adopt`: keep the queue
    in a file that holds other tables.

    Nothing is opened before the first use; a new database is then set up. Raises ConfigurationError for a database
    that is neither path nor URL.
    """

    def __init__(
        self,
        database: str | os.PathLike[str] | None = None,
        *,
        durability: Literal["normal", "full"] | None = None,
        busy_timeout: float | None = None,
        redis_url: str | None = None,
        adopt: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._target = Target.of(database, durability, busy_timeout, redis_url)
        self._adopt = adopt
        self._fanout = Fanout(LogListener())
        self._registry = Registry()
        self._around: list[Around] = []
        self._around_enqueue: list[AroundEnqueue] = []
        settings = self._target.settings
        keys = settings.redact_keys
        self._redactor = Redactor() if keys is None else Redactor(keys)
        self._tracing = tracing_of(settings, self._redactor) if settings.tracing_enabled else None
        if self._tracing is not None:
            self._fanout.add(self._tracing)
        self._wire(self._target.open(adopt), clock)

    def _wire(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._prepared = False
        self._announcer = store.wakeups.announcer(clock)
        self._sender = Sender(
            store, clock, self._announcer, self._fanout, self._prepare, self._around_enqueue, self._tracing
        )
        self._operator = Operator(self._sender)

    def _prepare(self) -> None:
        if not self._prepared:
            self._target.warn_if_temporary()
            self._store.prepare()
            self._prepared = True

    def __repr__(self) -> str:
        return f"PrismQ({self._store.name})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database. The object can be used again; it then opens anew."""
        self._store.close()
        self._announcer.close()

    @contextmanager
    def rewired(self, store: Store, clock: Clock) -> Iterator[None]:
        """Use another store and clock inside the block; what was declared stays. For tests."""
        before = (self._store, self._clock, self._sender, self._operator, self._prepared)
        self._wire(store, clock)
        try:
            yield
        finally:
            self._store, self._clock, self._sender, self._operator, self._prepared = before

    def connect(self, database: str | os.PathLike[str]) -> None:
        """Use another database from now on; what was declared stays."""
        self.close()
        before = self._target
        self._target = Target.of(database, before.durability, before.busy_timeout_s, before.redis_url)
        self._wire(self._target.open(self._adopt), self._clock)

    def configure_logging(
        self, level: str | None = None, *, as_json: bool | None = None, least: str | None = None
    ) -> None:
        """Set structlog and the standard library's logging up: structured lines to stderr, for your own program.

        Without `level` and `as_json` the settings log_level and log_format count. `least`: records of the program are
        made from this level on, for other handlers, where it is below `level`.
        """
        settings = self._target.settings
        as_json = settings.log_format == "json" if as_json is None else as_json
        configure_logging(level or settings.log_level, as_json=as_json, least=least, redactor=self._redactor)

    # -- what a worker loads

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The task functions, by type."""
        return self._registry.handlers

    @property
    def around(self) -> list[Around]:
        """Middleware round the handlers."""
        return self._around

    @property
    def declared_schedules(self) -> list[Schedule]:
        """The periodic tasks that the code declares."""
        return list(self._registry.schedules.values())

    @property
    def store(self) -> Store:
        """The storage, set up and ready. Raises QueueSchemaError where the schema is not this version's."""
        self._prepare()
        return self._store

    @property
    def store_as_it_is(self) -> Store:
        """The storage, set up or not: for those who ask whether it can be used at all."""
        return self._store

    @property
    def database(self) -> str:
        """The path or URL of the queue."""
        return self._target.location

    @property
    def redis_url(self) -> str | None:
        """The Redis that tells workers of new tasks; None where the database does."""
        return self._target.redis_url

    @property
    def tracing(self) -> Tracing | None:
        """What makes spans; None where the setting tracing_enabled is off."""
        return self._tracing

    @property
    def redactor(self) -> Redactor:
        """What keeps secrets out of log lines and spans; see the setting redact_keys."""
        return self._redactor

    @property
    def emit(self) -> Fanout:
        """Where events go."""
        return self._fanout

    @property
    def clock(self) -> Clock:
        """Where time comes from."""
        return self._clock

    # -- declaring

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> TaskFunction[P, R]: ...
    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        queue: str = "default",
        priority: int = 100,
        max_attempts: int = 5,
        timeout: Seconds | None = None,
        backoff: Backoff | Callable[[int], float] | None = None,
        compatibility: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        retention: Seconds | None = None,
        unique_for: Seconds | Literal["pending"] | None = None,
        executor: ExecutorKind = "auto",
        memory_limit_mb: int | None = None,
    ) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
        """Make a function, plain or async, one that can be enqueued. Options are the defaults of its tasks.

        `name`: the task type (default: module and function name). `queue`, `priority` (lower first). `max_attempts`:
        how often it may be tried. `timeout`: seconds an attempt may run. `backoff`: a Backoff, or a function from
        the attempt's number to seconds. `compatibility`: what a worker must offer. `retention`: seconds the
        ended task is kept. `unique_for`: seconds, or "pending", in which the same call is not enqueued again.
        `executor`: "process" runs it in a process that can be killed; `memory_limit_mb` applies there.

        Raises InvalidArgument, naming the option or the parameter whose type hint cannot be read.
        """

        fields = handler_settings(settings)

        def decorate(plain: Callable[..., Any]) -> TaskFunction[Any, Any]:
            name = name_of("name", settings.get("name") or default_name(plain))
            handler = self._registry.handler(plain, name, fields)
            return TaskFunction(plain, handler, lambda: self._sender, {})

        return decorate if function is None else decorate(function)

    def periodic(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        missed: Literal["latest", "all", "skip"] = "latest",
        name: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Callable[[TaskFunction[P, R]], TaskFunction[P, R]]:
        """Enqueue a task function at the times of a cron expression; each time fires once, whatever runs.

        Write it above `@q.task`. `missed`: what to do about times that passed while nothing ran: fire once for
        the "latest", for "all" (the newest 100), or "skip" them. `kwargs`: the arguments of each call.
        Raises InvalidCron and InvalidArgument.
        """
        from prismq.domain.cron import CronSchedule, parse_missed_policy

        CronSchedule.parse(expression, timezone)
        policy = parse_missed_policy(missed)

        def decorate(task: TaskFunction[P, R]) -> TaskFunction[P, R]:
            template = task.prepare(**(kwargs or {}))  # type: ignore[call-arg]  # checked against the signature there
            called = name_of("name", name or task.name)
            self._registry.schedule(Schedule(called, expression, timezone, policy.value, template))
            return task

        return decorate

    def around_execute(self, middleware: AroundT) -> AroundT:
        """Register middleware round every handler: a `@contextmanager` function that takes the TaskContext.

        What stands before `yield` runs before the handler, what stands after it runs afterwards; an exception of the
        handler is raised at the `yield`. Round a coroutine it runs on the event loop, and must not block.
        """
        self._around.append(middleware)
        return middleware

    def around_enqueue(self, middleware: AroundEnqueueT) -> AroundEnqueueT:
        """Register middleware round every enqueue: a `@contextmanager` function that may change the NewTask."""
        self._around_enqueue.append(middleware)
        return middleware

    def listen(self, listener: Listener) -> Listener:
        """Call `listener` with every event (see prismq.domain.events), in the thread that reports it."""
        self._fanout.add(listener)
        return listener

    def unlisten(self, listener: Listener) -> None:
        """Call it no more."""
        self._fanout.remove(listener)

    # -- enqueueing

    def enqueue(
        self, name: str, payload: Mapping[str, Any] | None = None, **options: Unpack[EnqueueOptions]
    ) -> TaskHandle[Any]:
        """Enqueue by name, for a function that lives elsewhere; `payload` is its named arguments.

        A task that is registered here has its defaults and its argument checks applied. Raises InvalidArgument (nothing
        was enqueued) and QueueDatabaseError.
        """
        done = self._sender.send(self._new(name, payload or {}, options))
        handler = self._registry.handlers.get(name)
        decode = handler.arguments.decode_result if handler else _decode_plain
        return TaskHandle(self._sender, done.task_id, decode, created=done.created)

    async def aenqueue(
        self, name: str, payload: Mapping[str, Any] | None = None, **options: Unpack[EnqueueOptions]
    ) -> TaskHandle[Any]:
        """`enqueue`, without blocking the event loop."""
        return await self._sender.off_loop(lambda: self.enqueue(name, payload, **options))

    def enqueue_many(self, tasks: Iterable[NewTask]) -> list[TaskHandle[Any]]:
        """Enqueue what `prepare()` of any task functions made; 5,000 a transaction."""
        done = self._sender.send_many(tasks)
        return [TaskHandle(self._sender, one.task_id, _decode_plain, created=one.created) for one in done]

    async def aenqueue_many(self, tasks: Iterable[NewTask]) -> list[TaskHandle[Any]]:
        """`enqueue_many`, without blocking the event loop."""
        return await self._sender.off_loop(lambda: self.enqueue_many(tasks))

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """Enqueues inside the block exist if and only if the transaction commits.

        Without `connection` it is the queue's own, yielded for your writes to the same file. With your own
        sqlite3.Connection (to the file that holds the queue) you commit, and the tasks go with it.
        """
        return self._sender.transaction(connection)

    def _new(self, name: str, payload: Mapping[str, Any], options: Mapping[str, Any]) -> NewTask:
        task = self._registry.handlers.get(name)
        if task is not None:
            function: TaskFunction[Any, Any] = TaskFunction(task.function, task, lambda: self._sender, options)
            return function.prepare(**payload)
        text = to_json(payload, name)
        return apply(NewTask(name_of("name", name), text), options, self._clock.now())

    # -- operating

    @property
    def tasks(self) -> Operator:
        """Look at tasks and act on them: `q.tasks.cancel(7)`, `q.tasks.retry(status="failed", type="mail")`,
        find, count, run_now, reprioritise, delete, logs, attempts; pause, resume and limit queues."""
        self._prepare()
        return self._operator

    def announce(self) -> None:
        """Hint to the workers that something changed; what goes through this object does so by itself."""
        self._sender.announce()

    def handle(self, task_id: int) -> TaskHandle[Any]:
        """A handle on a task by its id."""
        self._prepare()
        handler = self._registry.handlers.get(self._operator.get(task_id).type)
        return TaskHandle(self._sender, task_id, handler.arguments.decode_result if handler else _decode_plain)

    # -- asking

    def why(self, task: int | TaskHandle[Any]) -> Explanation:
        """Why a task is not running, and when it is expected to; of one that has ended, what happened.

        `task`: an id, or a handle, whose enqueue may have found an earlier task by its key. Raises TaskNotFound.
        """
        from prismq.observability.why import explain

        found_by_key = isinstance(task, TaskHandle) and not task.created
        task_id = task.id if isinstance(task, TaskHandle) else task
        return explain(self.store, task_id, self._clock.now(), deduplicated=found_by_key)

    def spans(self, task_id: int) -> list[TaskSpan]:
        """What is kept of the spans of a task's attempts, attempt by attempt, in the order they began; for a waterfall.

        Empty where tracing was off, or the task's trace was not among those that are recorded.
        """
        return [span for row in self.store.logs.spans(task_id) for span in spans_of(row)]

    def timeline(self, task_id: int) -> list[Moment]:
        """The whole story of a task, oldest first, and what is to come. Raises TaskNotFound."""
        from prismq.observability.timeline import timeline

        return timeline(self.store, task_id)

    def health(self, *, timeout: float = 2.0) -> Health:
        """How the queue is: database, workers, progress, backlog, failures, dead letters, disk.

        `timeout`: seconds that the store may take to answer. Never raises for one that is away.
        """
        from prismq.domain.errors import QueueDatabaseError
        from prismq.observability.health import check_health

        with suppress(QueueDatabaseError):  # the check meets it too, and says what it is
            self._prepare()
        return check_health(self._store, self._clock, timeout_s=timeout)

    # -- working

    def worker(self, **settings: Any) -> EmbeddedWorker:
        """A worker in this process, as a context manager: `with q.worker(concurrency=4): ...`

        Settings are those of WorkerConfig. For production use `prismq worker`, which supervises processes.
        """
        from prismq.worker.embedded import EmbeddedWorker

        return EmbeddedWorker(self, _worker_options(settings), rng=SystemRandom())

    def testing(self, *, run: bool = True) -> AbstractContextManager[TestingQueue]:
        """A queue of its own for a test: enqueues go to a temporary database, and run at once when `run` is true.

        The clock stands still and is moved by hand. See docs/testing.md.
        """
        from prismq.testing import testing

        return testing(self, run=run)


def _decode_plain(text: str | None) -> Any:
    from pydantic_core import from_json

    return None if text is None else from_json(text)


def _worker_options(settings: Mapping[str, Any]) -> Any:
    from prismq.config import WorkerConfig
    from prismq.worker.settings import options_of

    return options_of(WorkerConfig(**settings))
