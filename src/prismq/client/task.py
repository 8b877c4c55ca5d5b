"""A task function: what `@q.task` makes of a plain one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from typing_extensions import ParamSpec, Unpack

from prismq.client.handle import TaskHandle
from prismq.client.options import EnqueueOptions, apply
from prismq.client.sender import Sender
from prismq.domain.backoff import Backoff
from prismq.domain.errors import InvalidArgument
from prismq.domain.handler import Handler
from prismq.domain.task import NewTask

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULT_BACKOFF = Backoff()


class TaskDecorator(Protocol):
    """What `@q.task(...)` gives: it takes the function, plain or async."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskFunction[P, R]: ...


class TaskFunction(Generic[P, R]):
    """A function that can be enqueued. Called directly, it is the plain function still."""

    def __init__(
        self,
        function: Callable[P, Any],
        handler: Handler,
        sender: Callable[[], Sender],
        options: Mapping[str, Any],
    ) -> None:
        update_wrapper(self, function)
        self.function = function
        self.handler = handler
        self._sender = sender
        self._options = dict(options)
        self._encode = handler.arguments.encode
        self._template = self._make_template()

    def __repr__(self) -> str:
        return f"<task {self.handler.name}>"

    @property
    def name(self) -> str:
        """The task type that the queue knows it by."""
        return self.handler.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the function here and now, without the queue."""
        return self.function(*args, **kwargs)

    def options(self, **options: Unpack[EnqueueOptions]) -> Self:
        """The same task with other options for what is enqueued through it. Raises InvalidArgument."""
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        changed._options = {**self._options, **options}
        apply(NewTask(self.name, "{}"), changed._options, 0.0)
        return changed

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> NewTask:
        """What enqueue would write, for `q.enqueue_many`. Raises InvalidArgument, naming the parameter."""
        return self._new(self._encode(args, kwargs))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Put a call of this function on the queue; the arguments are checked first.

        Raises InvalidArgument (nothing was enqueued) and QueueDatabaseError. Once it returns, the task is in
        the store; see `durability` for what survives power loss.
        """
        sender = self._sender()
        done = sender.send(self._new(self._encode(args, kwargs)))
        return TaskHandle(sender, done.task_id, self.handler.arguments.decode_result, created=done.created)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """`enqueue`, without blocking the event loop."""
        return await self._sender().off_loop(lambda: self.enqueue(*args, **kwargs))

    def enqueue_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[TaskHandle[R]]:
        """Enqueue many calls: each a tuple of positional or a mapping of named arguments.

        Every 5,000 are one transaction; inside `q.transaction()` all are one. Raises InvalidArgument, naming
        which call is wrong, and QueueDatabaseError.
        """
        sender = self._sender()
        decode = self.handler.arguments.decode_result
        done = sender.send_many(self._prepare_all(calls))
        return [TaskHandle(sender, one.task_id, decode, created=one.created) for one in done]

    def _prepare_all(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> Iterable[NewTask]:
        news = []
        for number, call in enumerate(calls):
            try:
                if isinstance(call, Mapping):
                    news.append(self._new(self._encode((), call)))
                elif isinstance(call, tuple):
                    news.append(self._new(self._encode(call, {})))
                else:
                    raise InvalidArgument(
                        f"a call of {self.name!r} is a tuple of positional or a mapping of named arguments, "
                        f"not {type(call).__name__}: write ({call!r:.50},). Nothing was enqueued."
                    )
            except InvalidArgument as error:
                raise (type(error)(f"call {number}: {error}") if type(error) is InvalidArgument else error) from error
        return news

    def _make_template(self) -> dict[str, Any]:
        from prismq.client.options import json_object_text, tags_text

        handler = self.handler
        return {
            "type": handler.name,
            "queue": handler.queue,
            "priority": handler.priority,
            "max_attempts": handler.max_attempts,
            "compatibility": json_object_text("compatibility", handler.compatibility)
            if handler.compatibility
            else "{}",
            "tags": tags_text(handler.tags) if handler.tags else None,
            "timeout_s": handler.timeout_s,
            "backoff": None if handler.backoff == _DEFAULT_BACKOFF else handler.backoff.to_json(),
            "retention_s": handler.retention_s,
            "unique_for_s": handler.unique_for_s,
            "unique_pending": handler.unique_pending,
        }

    def _new(self, payload: str) -> NewTask:
        new = NewTask(payload=payload, **self._template)
        if self._options or new.unique_for_s or new.unique_pending:
            return apply(new, self._options, self._sender().clock.now())
        return new
