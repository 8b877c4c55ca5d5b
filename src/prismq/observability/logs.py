"""Events as structured log lines: the plain listener that is attached by default."""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import Any

from prismq.domain import events as ev
from prismq.domain.events import Event
from prismq.domain.lease import Lease

# Level and name of each event. A name of the reference stays what it is there.
_LEVELS: dict[type, tuple[int, str]] = {
    ev.TaskEnqueued: (logging.INFO, "task_submitted"),
    ev.TasksEnqueued: (logging.INFO, "tasks_submitted"),
    ev.TaskClaimed: (logging.DEBUG, "task_claimed"),
    ev.TaskStarted: (logging.DEBUG, "task_started"),
    ev.TaskCompleted: (logging.INFO, "task_execution_complete"),
    ev.TaskFailedForGood: (logging.ERROR, "task_failed"),
    ev.TaskRetried: (logging.WARNING, "task_retry"),
    ev.TaskSnoozed: (logging.INFO, "task_snoozed"),
    ev.TaskDeadLettered: (logging.ERROR, "task_dead_lettered"),
    ev.TaskCancelledEvent: (logging.WARNING, "task_cancelled"),
    ev.TaskReleased: (logging.INFO, "task_released"),
    ev.TaskStuck: (logging.ERROR, "task_stuck"),
    ev.LeasesRenewed: (logging.DEBUG, "leases_renewed"),
    ev.LeaseLostEvent: (logging.WARNING, "lease_lost"),
    ev.LeaseExpired: (logging.WARNING, "lease_expired"),
    ev.WorkerRegistered: (logging.INFO, "worker_registered"),
    ev.WorkerHeartbeatSent: (logging.DEBUG, "worker_heartbeat"),
    ev.WorkerStateChanged: (logging.INFO, "worker_state_changed"),
    ev.WorkerStopped: (logging.INFO, "worker_stopped"),
    ev.WorkerProcessLost: (logging.ERROR, "worker_process_lost"),
    ev.StoreUnavailable: (logging.WARNING, "store_unavailable"),
    ev.StoreRecovered: (logging.INFO, "store_recovered"),
    ev.ScheduleFired: (logging.INFO, "schedule_fired"),
    ev.TasksPruned: (logging.INFO, "tasks_pruned"),
    ev.BackupMade: (logging.INFO, "backup_made"),
    ev.ChoreFailed: (logging.ERROR, "housekeeping_failed"),
}
_OF_THE_QUEUE = (ev.TaskEnqueued, ev.TasksEnqueued)


class LogListener:
    """Writes events through structlog, to the loggers `prismq.queue` and `prismq.worker`.

    Nothing is built, and structlog is not imported, for a level that nobody listens to.
    """

    def __init__(self) -> None:
        queue, worker = logging.getLogger("prismq.queue"), logging.getLogger("prismq.worker")
        self._routes = {kind: (queue if kind in _OF_THE_QUEUE else worker, *route) for kind, route in _LEVELS.items()}
        self._other = (worker, logging.DEBUG)

    def wants(self, kind: type[Event]) -> bool:
        """Whether the logger would write such an event."""
        logger, level, _ = self._routes.get(kind) or (*self._other, "")
        return logger.isEnabledFor(level)

    def __call__(self, event: Event) -> None:
        """Write the event."""
        logger, level, name = self._routes.get(type(event)) or (*self._other, type(event).__name__)
        if logger.isEnabledFor(level):
            _structured(logger.name).log(level, name, **fields_of(event))


@cache
def _structured(name: str) -> Any:
    import structlog

    if structlog.is_configured():
        return structlog.stdlib.get_logger(name)
    # Nobody has set structlog up: plain lines (event='task_retry' task_id=3 ...) to the standard logger, not to stdout.
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.processors.KeyValueRenderer(key_order=["event"])],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def fields_of(event: Event) -> dict[str, Any]:
    """The fields of an event's line; a lease gives task_id, task_name, queue, priority, worker_id and attempt."""
    fields: dict[str, Any] = {}
    for key, value in vars(event).items():
        if isinstance(value, Lease):
            fields |= {
                "task_id": value.task_id,
                "task_name": value.type,
                "queue": value.queue,
                "priority": value.priority,
                "worker_id": value.worker_id,
                "attempt": value.attempt,
            }
        elif key == "run_s":
            fields["duration_ms"] = round(value * 1000, 3)
        elif key == "error" and value is not None and not isinstance(value, str):
            fields |= {"error_type": value.type, "error": value.message}
        elif key == "type":
            fields["task_name"] = value
        elif isinstance(value, float):
            fields[key] = round(value, 6)
        elif value is not None:
            fields[key] = value
    status = _STATUS.get(type(event))
    if status:
        fields["status"] = status
    return fields


_STATUS: dict[type, str] = {
    ev.TaskCompleted: "COMPLETED",
    ev.TaskFailedForGood: "FAILED",
    ev.TaskDeadLettered: "DEAD_LETTER",
    ev.TaskCancelledEvent: "CANCELLED",
    ev.TaskRetried: "SCHEDULED",
}


def configure_logging(level: str, *, as_json: bool) -> None:
    """Set structlog and the standard library's logging up for a program of ours: lines to stderr, UTC times.

    The standard library's records join in, in the same form.
    """
    import structlog

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    last: list[Any] = [structlog.processors.format_exc_info] if as_json else []
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
