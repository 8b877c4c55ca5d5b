"""The JSON lines of events, written straight away: a worker writes thousands a second, and a record with a chain of
processors for each would cost as much as the tasks. The lines are the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from prismq.clock import SYSTEM_CLOCK, Clock
from prismq.domain import events as ev
from prismq.domain.events import Event
from prismq.domain.times import epoch_to_text
from prismq.worker.capture import TaskLogHandler


class StraightLines:
    """Writes to the stream of the handler that `configure_logging` has set up, as long as nobody else listens."""

    def __init__(
        self,
        handler: logging.StreamHandler[Any],
        fields_of: Callable[[Event], dict[str, Any]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._handler = handler
        self._fields_of = fields_of
        self._clock = clock
        self._at = 0, ""  # milliseconds since 1970, and as text
        self._root, self._ours = logging.getLogger(), logging.getLogger("prismq")

    def line_of(self, event: Event, name: str, logger: logging.Logger, level: int) -> str | None:
        """The line of an event; None where it has to be a record, for another handler or for its context."""
        # An enqueue happens in somebody's code: what is bound there, and the current span, belong to its line.
        if isinstance(event, (ev.TaskEnqueued, ev.TasksEnqueued)) or not self._is_alone(logger):
            return None
        if level < self._handler.level:
            return ""
        tail = f'"logger":"{logger.name}","level":"{logging.getLevelName(level)}","timestamp":"{self._now()}Z"}}\n'
        if isinstance(event, ev.TaskCompleted) and _is_plain(event):
            extra = f"{_body(event.extra)}," if event.extra else ""
            return f'{{"event":"{name}",{extra}{_of_completed(event)},{tail}'
        return f"{{{_body({'event': name, **self._fields_of(event)})},{tail}"

    def _now(self) -> str:
        milliseconds = int(self._clock.now() * 1000)
        if milliseconds != self._at[0]:
            self._at = milliseconds, epoch_to_text(milliseconds / 1000).replace(" ", "T")
        return self._at[1]

    def _is_alone(self, logger: logging.Logger) -> bool:
        ours, handler = self._ours, self._handler
        if logger.handlers or ours.handlers or logger.filters or handler.filters:
            return False
        if not (logger.propagate and ours.propagate):
            return False
        return all(one is handler or isinstance(one, TaskLogHandler) for one in self._root.handlers)

    def write(self, lines: str) -> None:
        """Write lines that `line_of` gave."""
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(lines)
            handler.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a log that cannot be written ends nothing
            handler.handleError(logging.makeLogRecord({"msg": lines}))
        finally:
            handler.release()


def _body(fields: Mapping[str, Any]) -> str:
    """The fields as JSON, without the braces."""
    return to_json(fields, fallback=repr, inf_nan_mode="strings").decode()[1:-1]


def _is_plain(event: ev.TaskCompleted) -> bool:
    # Where a part is traced, every task has headers; only one of them comes into the line.
    headers = event.lease.headers
    return (headers is None or "request_id" not in headers) and (not event.extra or _OURS.isdisjoint(event.extra))


_OURS = frozenset(
    ("event", "task_id", "task_name", "queue", "priority", "worker_id", "attempt", "wait_s", "duration_ms", "status",
     "logger", "level", "timestamp")
)  # fmt: skip


def _of_completed(event: ev.TaskCompleted) -> str:
    # By hand: this is the line of every task.
    lease = event.lease
    return (
        f'"task_id":{lease.task_id},"task_name":{_quoted(lease.type)},"queue":{_quoted(lease.queue)},'
        f'"priority":{lease.priority},"worker_id":{_quoted(lease.worker_id)},"attempt":{lease.attempt},'
        f'"wait_s":{round(event.wait_s, 6)},"duration_ms":{round(event.run_s * 1000, 3)},"status":"COMPLETED"'
    )


@lru_cache(1000)
def _quoted(text: str) -> str:
    return to_json(text).decode()
