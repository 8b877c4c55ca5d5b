"""The names and fields of log lines are a promise: programs read them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from typing import Any, get_args
from unittest.mock import MagicMock

import pytest

from prismq.domain import events as ev
from prismq.domain.lease import ErrorInfo, Lease
from prismq.observability.fanout import Fanout
from prismq.observability.logs import LogListener, configure_logging, fields_of

LEASE = Lease(
    7, 2, 3, "orders.charge", "mail", 50, "{}", 2, 5, "w1", 1000.0, 1060.0, 999.0, None, None, None, 0,
    '{"request_id": "req-1", "other": "x"}', None, None,
)  # fmt: skip
ERROR = ErrorInfo("ValueError", "no card", "Traceback …")
IDS = {"trace_id": "a" * 32, "span_id": "b" * 16}
EXTRA = {**IDS, "order": 12}
TASK = {
    "task_id": 7, "task_name": "orders.charge", "queue": "mail", "priority": 50, "worker_id": "w1", "attempt": 2,
    "request_id": "req-1",
}  # fmt: skip
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"

GOLDEN: list[tuple[ev.Event, str, str, dict[str, Any]]] = [
    (
        ev.TaskEnqueued(7, "orders.charge", "mail", 50, True, {"request_id": "req-1", "traceparent": PARENT}),
        "INFO", "task_submitted",
        {"task_id": 7, "task_name": "orders.charge", "queue": "mail", "priority": 50, "created": True,
         "request_id": "req-1", **IDS},
    ),
    (ev.TaskEnqueued(7, "t", "q", 1, False), "INFO", "task_submitted",
     {"task_id": 7, "task_name": "t", "queue": "q", "priority": 1, "created": False}),
    (ev.TasksEnqueued(("a", "b"), 9), "INFO", "tasks_submitted", {"types": ("a", "b"), "count": 9}),
    (ev.TaskClaimed(LEASE), "DEBUG", "task_claimed", TASK),
    (ev.TaskStarted(LEASE, 1000.5), "DEBUG", "task_started", {**TASK, "at": 1000.5}),
    (ev.TaskCompleted(LEASE, 0.25, 4.85, EXTRA), "INFO", "task_execution_complete",
     {**TASK, **EXTRA, "wait_s": 0.25, "duration_ms": 4850.0, "status": "COMPLETED"}),
    (ev.TaskFailedForGood(LEASE, ERROR, 0.001, "permanent", EXTRA), "ERROR", "task_failed",
     {**TASK, **EXTRA, "error_type": "ValueError", "error": "no card", "duration_ms": 1.0, "reason": "permanent",
      "status": "FAILED"}),
    (ev.TaskRetried(LEASE, ERROR, 0.001, 40.0, EXTRA), "WARNING", "task_retry",
     {**TASK, **EXTRA, "error_type": "ValueError", "error": "no card", "duration_ms": 1.0, "delay_s": 40.0,
      "status": "SCHEDULED"}),
    (ev.TaskSnoozed(LEASE, 3.0, "not yet", EXTRA), "INFO", "task_snoozed",
     {**TASK, **EXTRA, "delay_s": 3.0, "reason": "not yet"}),
    (ev.TaskDeadLettered(LEASE, None, 0.5, "used up", EXTRA), "ERROR", "task_dead_lettered",
     {**TASK, **EXTRA, "duration_ms": 500.0, "reason": "used up", "status": "DEAD_LETTER"}),
    (ev.TaskCancelledEvent(LEASE, 0.5, "asked", EXTRA), "WARNING", "task_cancelled",
     {**TASK, **EXTRA, "duration_ms": 500.0, "reason": "asked", "status": "CANCELLED"}),
    (ev.TaskReleased(LEASE, "shutdown", EXTRA), "INFO", "task_released", {**TASK, **EXTRA, "reason": "shutdown"}),
    (ev.TaskStuck(LEASE, "timeout", 10.0), "ERROR", "task_stuck", {**TASK, "why": "timeout", "since_s": 10.0}),
    (ev.LeasesRenewed("w1", 3, 1060.0), "DEBUG", "leases_renewed",
     {"worker_id": "w1", "count": 3, "lease_until": 1060.0}),
    (ev.LeaseLostEvent(LEASE), "WARNING", "lease_lost", TASK),
    (ev.LeaseExpired(7, "t", None, 2, "queued", "its lease ran out"), "WARNING", "lease_expired",
     {"task_id": 7, "task_name": "t", "attempt": 2, "to": "queued", "reason": "its lease ran out"}),
    (ev.WorkerRegistered("w1", "host", 42, 8), "INFO", "worker_registered",
     {"worker_id": "w1", "hostname": "host", "pid": 42, "capacity": 8}),
    (ev.WorkerHeartbeatSent("w1", 3, 5, 86400.0, "paused"), "DEBUG", "worker_heartbeat",
     {"worker_id": "w1", "current_load": 3, "capacity": 5, "uptime_seconds": 86400.0, "status": "paused"}),
    (ev.WorkerStateChanged("w1", "draining", "asked"), "INFO", "worker_state_changed",
     {"worker_id": "w1", "status": "draining", "why": "asked"}),
    (ev.WorkerStopped("w1", 2, 60.0), "INFO", "worker_stopped",
     {"worker_id": "w1", "released": 2, "uptime_seconds": 60.0}),
    (ev.WorkerProcessLost("w1", 42, -9, "killed", 1, 0.1), "ERROR", "worker_process_lost",
     {"worker_id": "w1", "pid": 42, "exit_code": -9, "reason": "killed", "restarts": 1, "replaced_in_s": 0.1}),
    (ev.WorkersScaled("host-1", 3, 8, 1, 8, "5 tasks/s"), "INFO", "workers_scaled",
     {"supervisor_id": "host-1", "processes": 3, "slots": 8, "processes_before": 1, "slots_before": 8,
      "reason": "5 tasks/s"}),
    (ev.Remediated("breaker_open", "mail.send", "9 of 10 failed", 0), "WARNING", "remediation",
     {"act": "breaker_open", "target": "mail.send", "reason": "9 of 10 failed", "tasks": 0}),
    (ev.StoreUnavailable("w1", "locked", 2.0, 0.5), "WARNING", "store_unavailable",
     {"worker_id": "w1", "error": "locked", "since_s": 2.0, "retry_in_s": 0.5}),
    (ev.StoreRecovered("w1", 2.5), "INFO", "store_recovered", {"worker_id": "w1", "down_s": 2.5}),
    (ev.HintsLost("w1", "refused", 1.0), "WARNING", "hints_lost",
     {"worker_id": "w1", "error": "refused", "poll_s": 1.0}),
    (ev.HintsRecovered("w1"), "INFO", "hints_recovered", {"worker_id": "w1"}),
    (ev.ScheduleFired("daily", 7, 1000.0, 0), "INFO", "schedule_fired",
     {"schedule": "daily", "task_id": 7, "due_at": 1000.0, "missed": 0}),
    (ev.TasksPruned(500), "INFO", "tasks_pruned", {"count": 500}),
    (ev.BackupMade("b.db", 100, 0.5), "INFO", "backup_made", {"path": "b.db", "size_bytes": 100, "took_s": 0.5}),
    (ev.AlertFired("NoActiveWorkers", "page", "No worker is active", {"queue": "mail"}), "WARNING", "alert_fired",
     {"rule": "NoActiveWorkers", "severity": "page", "summary": "No worker is active", "labels": {"queue": "mail"}}),
    (ev.AlertResolved("NoActiveWorkers", "page", "No worker is active", 90.0), "INFO", "alert_resolved",
     {"rule": "NoActiveWorkers", "severity": "page", "summary": "No worker is active", "lasted_s": 90.0}),
    (ev.ChoreFailed("backup", "disk full"), "ERROR", "housekeeping_failed", {"chore": "backup", "error": "disk full"}),
]  # fmt: skip


def test_every_event_has_its_golden_line() -> None:
    assert {type(event) for event, *_ in GOLDEN} == set(get_args(ev.Event))


@pytest.mark.parametrize(
    ("event", "level", "name", "fields"), GOLDEN, ids=[f"{name}-{n}" for n, (_, _, name, _) in enumerate(GOLDEN)]
)
def test_an_event_has_its_level_name_and_fields(
    event: ev.Event, level: str, name: str, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert fields_of(event) == fields
    logger = "prismq.queue" if isinstance(event, (ev.TaskEnqueued, ev.TasksEnqueued)) else "prismq.worker"
    with caplog.at_level("DEBUG"):
        LogListener()(event)
    [record] = caplog.records
    assert (record.name, record.levelname) == (logger, level)
    assert record.getMessage().startswith(f"event={name!r}")


def test_what_an_attempt_binds_does_not_hide_the_events_own_fields() -> None:
    event = ev.TaskCompleted(LEASE, 0.0, 0.0, {"task_id": "mine", "status": "mine", "order": 1})
    assert fields_of(event)["task_id"] == 7
    assert fields_of(event)["status"] == "COMPLETED"


_PROGRAM = """
import logging, sys
import structlog
from prismq.observability.logs import LogListener, configure_logging
from prismq.domain import events as ev

configure_logging("INFO", as_json=sys.argv[1] == "json", least="DEBUG")
LogListener()(ev.WorkerStateChanged("w1", "draining", "asked"))
LogListener()(ev.WorkerHeartbeatSent("w1", 3, 5, 86400.0))
logging.getLogger("shop").debug("for the task's log alone")
logging.getLogger("shop").info("paid %d", 7, extra={"order": 12, "card": {"api_key": "k"}})
structlog.contextvars.bind_contextvars(request_id="req-1")
structlog.get_logger("shop.cart").warning("cart_full", items=3, password="hunter2", odd=object)
try:
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("no such order") from error
except ValueError:
    logging.getLogger("shop").exception("it failed")
"""


def _lines(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, form], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_lines_are_those_of_the_reference_with_the_programs_own_among_them() -> None:
    lines = [json.loads(line) for line in _lines("json")]
    stamps = [line.pop("timestamp") for line in lines]
    assert all(len(stamp) == len("2026-01-25T14:00:00.000Z") and stamp.endswith("Z") for stamp in stamps)
    state, paid, cart, failed = lines
    assert state == {
        "level": "INFO", "logger": "prismq.worker", "event": "worker_state_changed", "worker_id": "w1",
        "status": "draining", "why": "asked",
    }  # fmt: skip
    assert paid == {
        "level": "INFO", "logger": "shop", "event": "paid 7", "order": 12, "card": {"api_key": "[redacted]"},
    }  # fmt: skip
    odd = cart.pop("odd")
    assert odd == "<class 'object'>"
    assert cart == {
        "level": "WARNING", "logger": "shop.cart", "event": "cart_full", "items": 3, "password": "[redacted]",
        "request_id": "req-1",
    }  # fmt: skip
    assert failed["event"] == "it failed"
    assert "KeyError: 'missing'" in failed["exception"]
    assert "ValueError: no such order" in failed["exception"]


def test_lines_for_people_say_the_same() -> None:
    text = "\n".join(_lines("console"))
    assert "worker_state_changed" in text
    assert "password=[redacted]" in text
    assert "hunter2" not in text
    assert "for the task's log alone" not in text
    assert "ValueError: no such order" in text


def test_nothing_is_built_for_a_level_that_nobody_hears() -> None:
    logging.getLogger("prismq.worker").setLevel("WARNING")
    try:
        listener = LogListener()
        assert not listener.wants(ev.TaskCompleted)
        assert listener.wants(ev.TaskRetried)
    finally:
        logging.getLogger("prismq.worker").setLevel(logging.NOTSET)


def test_lines_that_are_written_straight_are_those_that_go_the_long_way(capsys: pytest.CaptureFixture[str]) -> None:
    plain = LEASE._replace(headers=None, type='quoted "name"\n', worker_id="ü-1")
    traced = plain._replace(headers='{"traceparent": "00-ab-cd-00"}')
    asked = plain._replace(headers='{"request_id": "r-1"}')
    events = [event for event, *_ in GOLDEN] + [
        *(ev.TaskCompleted(lease, 1e-7, 0.1234567) for lease in (plain, traced, asked)),
        ev.TaskCompleted(plain, 0, 0),
        *(
            ev.TaskCompleted(traced, 0, 1, extra=extra)
            for extra in ({}, {"trace_id": "ab", "order": [1, {"ž": None}]}, {"queue": "another", "at": 7})
        ),
    ]
    configure_logging("DEBUG", as_json=True)
    root = logging.getLogger()

    class Another(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.name)

    heard: list[str] = []
    listener, lines = LogListener(), []
    for others in ([], [Another()]):
        for handler in others:
            root.addHandler(handler)
        for event in events:
            listener(event)
        written = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        for line in written:
            assert len(line.pop("timestamp")) == len("2026-01-25T14:00:00.000Z")
        lines.append(written)
    assert len(heard) == len(events)  # nobody who listens is passed over
    assert lines[0] == lines[1]
    assert len(lines[0]) == len(events)


def test_a_stream_that_is_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("INFO", as_json=True)
    closed = io.StringIO()
    closed.close()
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(closed)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    LogListener()(ev.TaskCompleted(LEASE, 0.0, 0.0))


def test_logging_that_is_set_up_after_the_first_event_counts(capsys: pytest.CaptureFixture[str]) -> None:
    LogListener()(ev.TasksPruned(1))
    capsys.readouterr()
    configure_logging("INFO", as_json=True)
    LogListener()(ev.TaskEnqueued(7, "t", "q", 1, True))
    assert json.loads(capsys.readouterr().err)["task_name"] == "t"


def test_what_happened_together_is_written_at_once_and_an_event_without_a_line_takes_none_along() -> None:
    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    writes: list[str] = []
    configure_logging("INFO", as_json=True)
    root = logging.getLogger()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(Stream())
    together = [
        ev.TaskCompleted(LEASE, 0.1, 0.2),
        ev.TaskClaimed(LEASE),
        ev.TaskCompleted(LEASE, 0.1, 0.2, {"odd": Odd()}),
        ev.TaskRetried(LEASE, ERROR, 0.1, 4.0),
    ]
    Fanout(LogListener()).all(together)
    written, told = writes
    assert [json.loads(line)["event"] for line in written.splitlines()] == ["task_execution_complete", "task_retry"]
    assert "no words" in told
    assert "told once" in told


def test_who_listens_to_single_events_hears_each_of_those_that_happened_together() -> None:
    heard: list[ev.Event] = []
    together = [ev.TasksPruned(1), ev.TasksPruned(2)]
    ev.emit_all(Fanout(heard.append), together)
    ev.emit_all(heard.append, together)
    assert heard == together * 2
    anything = MagicMock()  # has a method of any name
    ev.emit_all(Fanout(anything), together)
    assert [call.args for call in anything.call_args_list] == [(event,) for event in together]
