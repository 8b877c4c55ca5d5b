"""Events as structured log lines: the plain listener that is attached by default."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from functools import cache
from typing import Any

from prismq.domain import events as ev
from prismq.domain.events import Event
from prismq.domain.lease import Lease
from prismq.domain.redaction import Redactor
from prismq.domain.task import json_object
from prismq.observability.json_lines import StraightLines
from prismq.worker.capture import TaskLogHandler
from prismq.worker.context import running_task

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
    ev.WorkersScaled: (logging.INFO, "workers_scaled"),
    ev.Remediated: (logging.WARNING, "remediation"),
    ev.StoreUnavailable: (logging.WARNING, "store_unavailable"),
    ev.StoreRecovered: (logging.INFO, "store_recovered"),
    ev.HintsLost: (logging.WARNING, "hints_lost"),
    ev.HintsRecovered: (logging.INFO, "hints_recovered"),
    ev.ScheduleFired: (logging.INFO, "schedule_fired"),
    ev.TasksPruned: (logging.INFO, "tasks_pruned"),
    ev.BackupMade: (logging.INFO, "backup_made"),
    ev.ChoreFailed: (logging.ERROR, "housekeeping_failed"),
    ev.AlertFired: (logging.WARNING, "alert_fired"),
    ev.AlertResolved: (logging.INFO, "alert_resolved"),
}
_OF_THE_QUEUE = (ev.TaskEnqueued, ev.TasksEnqueued)
_TROUBLED = ("faulty", "stranded", "wedged")  # states of a worker that somebody should know of


class LogListener(ev.Gatherer):
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

    def all(self, events: Sequence[Event]) -> None:
        """Write them; lines of JSON at once."""
        straight, lines, failed = _straight, [], None
        for event in events:
            logger, level, name = self._routes.get(type(event)) or (*self._other, type(event).__name__)
            if isinstance(event, ev.WorkerStateChanged) and event.status in _TROUBLED:
                level = logging.WARNING
            if not logger.isEnabledFor(level):
                continue
            try:
                line = None if straight is None else straight.line_of(event, name, logger, level)
                if line is None:
                    _structured(logger.name).log(level, name, **fields_of(event))
                else:
                    lines.append(line)
            except Exception as error:  # noqa: BLE001 - told by the fanout, once the lines of others are written
                failed = error
        if straight is not None and lines:
            straight.write("".join(lines))
        if failed is not None:
            raise failed


_straight: StraightLines | None = None  # where lines are JSON; for the process, as all that configure_logging sets


@cache
def _structured(name: str) -> Any:
    import structlog

    if structlog.is_configured():
        return structlog.stdlib.get_logger(name)
    # Nobody has set structlog up: plain lines (event='task_retry' task_id=3 ...) to the standard logger, not to stdout.
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[add_trace_fields, structlog.processors.KeyValueRenderer(key_order=["event"])],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def fields_of(event: Event) -> dict[str, Any]:
    """The fields of an event's line; a lease gives task_id, task_name, queue, priority, worker_id and attempt.

    What an attempt bound, and its trace ids, come along; the event's own fields go before them.
    """
    values = vars(event)
    fields: dict[str, Any] = dict(values.get("extra") or ())
    for key, value in values.items():
        if isinstance(value, Lease):
            fields |= {
                "task_id": value.task_id,
                "task_name": value.type,
                "queue": value.queue,
                "priority": value.priority,
                "worker_id": value.worker_id,
                "attempt": value.attempt,
            }
            if value.headers:
                fields |= _of_headers(json_object(value.headers))
        elif key == "headers":
            fields |= _of_headers(value or {}) | _trace_of(value or {})
        elif key == "run_s":
            fields["duration_ms"] = round(value * 1000, 3)
        elif key == "error" and value is not None and not isinstance(value, str):
            fields |= {"error_type": value.type, "error": value.message}
        elif key == "extra":
            continue
        elif isinstance(value, float):
            fields[_NAMES.get((type(event), key), key)] = round(value, 6)
        elif value is not None:
            fields[_NAMES.get((type(event), key), _NAMES_OF_ALL.get(key, key))] = value
    status = _STATUS.get(type(event))
    if status:
        fields["status"] = status
    return fields


# The words of the reference where its and ours differ.
_NAMES_OF_ALL = {"type": "task_name"}
_NAMES: dict[tuple[type, str], str] = {
    (ev.WorkerHeartbeatSent, "busy"): "current_load",
    (ev.WorkerHeartbeatSent, "slots"): "capacity",
    (ev.WorkerHeartbeatSent, "uptime_s"): "uptime_seconds",
    (ev.WorkerRegistered, "slots"): "capacity",
    (ev.WorkerStopped, "uptime_s"): "uptime_seconds",
}


def _of_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    request_id = headers.get("request_id")
    return {} if request_id is None else {"request_id": request_id}


def _trace_of(headers: Mapping[str, Any]) -> dict[str, str]:
    # 00-<trace id>-<span id>-<flags>, w3.org/TR/trace-context
    parts = str(headers.get("traceparent", "")).split("-")
    return {"trace_id": parts[1], "span_id": parts[2]} if len(parts) == 4 else {}


_STATUS: dict[type, str] = {
    ev.TaskCompleted: "COMPLETED",
    ev.TaskFailedForGood: "FAILED",
    ev.TaskDeadLettered: "DEAD_LETTER",
    ev.TaskCancelledEvent: "CANCELLED",
    ev.TaskRetried: "SCHEDULED",
}


def add_task_fields(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: in a task, which task it is, and what it bound."""
    context = running_task()
    if context is not None:
        for key, value in (
            *context.bound.items(),
            ("task_id", context.id),
            ("task_name", context.type),
            ("queue", context.queue),
            ("attempt", context.attempt),
            ("worker_id", context.worker_id),
        ):
            event.setdefault(key, value)
    return event


def add_trace_fields(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: trace_id and span_id of the current OpenTelemetry span, where there is one."""
    api = sys.modules.get("opentelemetry.trace")  # not imported: nobody traces
    if api is not None:
        span = api.get_current_span().get_span_context()
        if span.is_valid:
            event.setdefault("trace_id", f"{span.trace_id:032x}")
            event.setdefault("span_id", f"{span.span_id:016x}")
    return event


def configure_logging(level: str, *, as_json: bool, least: str | None = None, redactor: Redactor | None = None) -> None:
    """Set structlog and the standard library's logging up for a program of ours: lines to stderr, UTC times.

    The standard library's records join in, in the same form. Lines of a running task say which it is; the values of
    keys that name a secret are left out. `least`: records of the program itself from this level on are made, though
    not written here, where it is below `level`.
    """
    import structlog

    redact = (redactor or Redactor()).redact

    def without_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return redact(event)

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        _milliseconds,
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Any] = (
        [structlog.processors.format_exc_info, _upper_level, structlog.processors.JSONRenderer(default=repr)]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler()
    handler.setLevel(level.upper())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                add_task_fields,
                add_trace_fields,
                without_secrets,
                *last,
            ],
        )
    )
    root = logging.getLogger()
    global _straight
    _straight = StraightLines(handler, fields_of) if as_json else None
    _structured.cache_clear()
    root.handlers[:] = [handler, *(kept for kept in root.handlers if isinstance(kept, TaskLogHandler))]
    root.setLevel(min((level.upper(), (least or level).upper()), key=logging.getLevelName))
    # What happens to each task is not even put together below this level.
    logging.getLogger("prismq").setLevel(level.upper())


def _milliseconds(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    seconds, point, fraction = str(event["timestamp"]).partition(".")
    event["timestamp"] = f"{seconds}.{fraction[:3] if point else '000'}Z"
    return event


def _upper_level(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["level"] = str(event.get("level", "")).upper()
    return event
