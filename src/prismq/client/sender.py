"""The way in: middleware, the store, a hint to the workers, an event. Shared by every way to enqueue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import islice
from typing import Any, Protocol, TypeVar

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import PrismqError, QueueDatabaseError
from prismq.domain.limits import BULK_CHUNK
from prismq.domain.task import Enqueued, NewTask
from prismq.storage.contract import Store
from prismq.storage.shield import checkpoint
from prismq.storage.wakeup import Announcer

AroundEnqueue = Callable[[NewTask], AbstractContextManager[Any]]
T = TypeVar("T")
Told = Callable[[list[Enqueued]], None]


# A transaction's events, told of after its commit. Not by thread: its coroutines are not all inside.
_later: ContextVar[list[ev.Event] | None] = ContextVar("prismq_later", default=None)


class SendTracing(Protocol):
    """What makes spans of enqueues, and has the trace travel with the tasks."""

    def submit(self, news: Sequence[NewTask], *, now: float) -> AbstractContextManager[Told]:
        """The span round the enqueue of one transaction's tasks, whose headers it writes; what it yields is told of
        the outcome. Raises nothing but what the block raises."""
        ...


def _untold(done: list[Enqueued]) -> None:
    """Where nobody traces."""


class Sender:
    """Writes tasks to a store and tells of it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        announcer: Announcer,
        emit: ev.Emit,
        ready: Callable[[], None],
        around: Sequence[AroundEnqueue],
        tracing: SendTracing | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.around = around
        self._tracing = tracing
        self._announcer = announcer
        self._emit = emit
        self._ready = ready

    def send(self, new: NewTask) -> Enqueued:
        """Enqueue one task. Raises QueueDatabaseError; nothing was enqueued then."""
        self._ready()
        if self._tracing is None:
            done = self._send_within(new) if self.around else self.store.inbox.enqueue(new, self.clock.now())
            self._tell(ev.TaskEnqueued(done.task_id, new.type, new.queue, new.priority, done.created, new.headers))
        else:
            with self._tracing.submit((new,), now=self.clock.now()) as sent:
                done = self._send_within(new)
                sent([done])
                self._tell(ev.TaskEnqueued(done.task_id, new.type, new.queue, new.priority, done.created, new.headers))
        checkpoint()
        return done

    def _send_within(self, new: NewTask) -> Enqueued:
        done: Enqueued | None = None
        with ExitStack() as stack:
            for layer in self.around:
                stack.enter_context(layer(new))
            done = self.store.inbox.enqueue(new, self.clock.now())
        if done is None:
            raise PrismqError(f"middleware round the enqueue of {new.type!r} swallowed its error; nothing was enqueued")
        return done

    def send_many(self, news: Iterable[NewTask]) -> list[Enqueued]:
        """Enqueue many, BULK_CHUNK a transaction. Raises QueueDatabaseError, which says how many are in already.

        For all or nothing, whatever the number, do it inside `transaction()`.
        """
        self._ready()
        done: list[Enqueued] = []
        rest = iter(news)
        while chunk := list(islice(rest, BULK_CHUNK)):
            try:
                done += self._send_chunk(chunk)
            except QueueDatabaseError as error:
                if not done or self.store.inbox.bound():
                    raise
                raise type(error)(
                    f"{error} ({len(done):,} of the tasks were enqueued before, the rest were not)"
                ) from error
        return done

    def _send_chunk(self, chunk: Sequence[NewTask]) -> list[Enqueued]:
        tracing = self._tracing
        with ExitStack() as stack:
            now = self.clock.now()
            sent = stack.enter_context(nullcontext(_untold) if tracing is None else tracing.submit(chunk, now=now))
            for new in chunk if self.around else ():
                for layer in self.around:
                    stack.enter_context(layer(new))
            done = self.store.inbox.enqueue_many(chunk, self.clock.now())
            sent(done)
        self._tell(ev.TasksEnqueued(tuple(sorted({new.type for new in chunk})), sum(one.created for one in done)))
        checkpoint()
        return done

    def _tell(self, event: ev.Event) -> None:
        later = _later.get()
        if later is not None:
            later.append(event)
            return
        self._announcer.announce()
        self._emit(event)

    def announce(self) -> None:
        """Hint that something changed: a task is ready, cancelled or asked for."""
        self._announcer.announce()

    @contextmanager
    def transaction(self, connection: Any = None) -> Iterator[Any]:
        """Enqueues inside the block happen if and only if the transaction commits."""
        self._ready()
        outer = _later.get()
        told: list[ev.Event] = []
        token = _later.set(told)
        try:
            with self.store.inbox.transaction(connection) as bound:
                yield bound
        finally:
            _later.reset(token)
        if outer is not None:
            outer.extend(told)
            return
        if told:
            self._announcer.announce()
        for event in told:
            self._emit(event)

    async def off_loop(self, call: Callable[[], T]) -> T:
        """Run a blocking call beside the event loop; the one bridge between the two worlds.

        Inside transaction() it runs here: the transaction belongs to this thread.
        """
        if self.store.inbox.bound():
            return call()
        try:
            return await asyncio.to_thread(call)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise PrismqError("the event loop is shutting down; nothing was enqueued") from error
            raise
