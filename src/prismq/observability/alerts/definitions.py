"""Every built-in alert, as data: the evaluator, the reference in docs/alerts.md and Prometheus rules read this table.

The pack is about time and progress before depth, and says of each alert how soon somebody has to come. Thresholds
follow https://sre.google/workbook/alerting-on-slos/ where they are about service levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

RUNBOOKS = "docs/runbooks.md"


class Severity(str, Enum):
    """How soon somebody has to come."""

    PAGE = "page"  # now: work waits in vain, or is about to be lost
    TICKET = "ticket"  # in working hours
    INFO = "info"  # good to know; nobody has to do anything

    def __str__(self) -> str:
        return self.value


class Comparison(str, Enum):
    """On which side of its threshold a figure is a problem."""

    ABOVE = ">"
    BELOW = "<"

    def __str__(self) -> str:
        return self.value


class Alert(NamedTuple):
    """A built-in alert: a figure, its threshold, and how long it has to be past it.

    It is pending as soon as the figure is past `threshold`, fires when that has lasted for `for_s`, and resolves when
    the figure has been on the good side of `clear` for `keep_s`: between the two nothing changes.
    """

    name: str
    group: str  # a key of GROUPS
    severity: Severity
    labels: tuple[str, ...]  # what tells its instances apart; () where there is only one
    comparison: Comparison
    threshold: float
    clear: float  # never on the bad side of `threshold`
    unit: str  # of both: a key of domain.words or a plural noun; seconds, ratio, bytes, times, tasks, workers …
    for_s: float
    keep_s: float
    summary: str  # {label}, {value}, {threshold} and {detail}, the last of which may be empty
    description: str  # what it means and what to do first, with the same placeholders
    params: Mapping[str, float] = MappingProxyType({})  # what else its figure depends on, in seconds, counts or ratios

    @property
    def runbook(self) -> str:
        """Where it is said what to do: a page of the documents, and its heading."""
        return self.runbook_at(RUNBOOKS)

    def runbook_at(self, base: str) -> str:
        """The same, where that page is found at `base`."""
        return f"{base}#{self.name.lower()}"


GROUPS = {
    "queue": "Waiting work",
    "task": "Failing and stuck work",
    "worker": "Workers",
    "schedule": "Schedules and the canary",
    "slo": "Service levels",
    "store": "The database and what it lies on",
}

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0

_PAGE, _TICKET, _INFO = Severity.PAGE, Severity.TICKET, Severity.INFO
_ABOVE, _BELOW = Comparison.ABOVE, Comparison.BELOW
_QUEUE, _TYPE, _WORKER = ("queue",), ("queue", "type"), ("worker_id",)


def _params(**values: float) -> Mapping[str, float]:
    return MappingProxyType(values)


_QUEUES = (
    Alert(
        "OldestTaskOverTarget", "queue", _PAGE, _QUEUE, _ABOVE, 300, 300, "seconds", 1 * MINUTE_S, 2 * MINUTE_S,
        "The oldest ready task of the queue {queue} has waited for {value}; the target is {threshold}",
        "Tasks of this queue start later than promised. Look whether workers serve it and are busy, and add some where "
        "they are. A queue whose name says its promise (within_5_minutes) has that one for its target.",
        # The threshold is that of queues without a promise of their own.
    ),
    Alert(
        "BacklogGrowing", "queue", _TICKET, _QUEUE, _ABOVE, 1800, 1200, "seconds", 15 * MINUTE_S, 5 * MINUTE_S,
        "At the pace of the last minutes it takes {value} to drain the queue {queue}",
        "More comes in than is done, or it is done too slowly. Where it is no passing burst, more workers are needed. "
        "{detail}",
        _params(window_s=10 * MINUTE_S, min_tasks=100),
    ),
    Alert(
        "QueueUnserved", "queue", _PAGE, _QUEUE, _ABOVE, 0, 0, "tasks", 1 * MINUTE_S, 1 * MINUTE_S,
        "{value} of the queue {queue} wait and no live worker takes them",
        "{detail} Start a worker that serves the queue and knows the type, or pause the queue if it is meant to wait.",
    ),
    Alert(
        "HighQueueDepth", "queue", _INFO, (), _ABOVE, 1000, 800, "tasks", 5 * MINUTE_S, 5 * MINUTE_S,
        "{value} wait in all queues together, more than {threshold}",
        "Depth alone says little: what counts is how long tasks wait, see OldestTaskOverTarget and BacklogGrowing.",
    ),
)  # fmt: skip

_TASKS = (
    Alert(
        "HighFailureRate", "task", _TICKET, _QUEUE, _ABOVE, 0.1, 0.08, "ratio", 5 * MINUTE_S, 5 * MINUTE_S,
        "{value} of the tasks of the queue {queue} that ended lately failed",
        "{detail} Look at the errors of the type that fails most, and whether what it depends on is there.",
        _params(window_s=5 * MINUTE_S, min_ended=10),
    ),
    Alert(
        "FailureRateAboveBaseline", "task", _TICKET, _TYPE, _ABOVE, 3, 2, "times", 5 * MINUTE_S, 10 * MINUTE_S,
        "{type} in the queue {queue} fails {value} as often as it did over the day before",
        "{detail} A release or a dependency has changed: compare with what was deployed.",
        # A rate below min_rate is nobody's problem, whatever it was before; base_min stands in for a clean record.
        _params(window_s=15 * MINUTE_S, baseline_s=1 * DAY_S, min_ended=20, min_rate=0.05, base_min=0.01),
    ),
    Alert(
        "DeadLettersGrew", "task", _TICKET, _TYPE, _ABOVE, 0, 0, "tasks", 0, 15 * MINUTE_S,
        "{value} of the type {type} in the queue {queue} became dead letters",
        "Their attempts are used up and nobody will try again. Read the errors, mend the cause, then retry them: "
        "`prismq tasks list --status dead_letter`.",
        _params(window_s=10 * MINUTE_S),
    ),
    Alert(
        "LeasesLost", "task", _INFO, _TYPE, _ABOVE, 0, 0, "attempts", 0, 15 * MINUTE_S,
        "{value} of {type} in the queue {queue}: lost with a worker",
        "A worker died or stood still while it ran them; they have been given to others. Once is an accident.",
        _params(window_s=10 * MINUTE_S),
    ),
    Alert(
        "PoisonTask", "task", _PAGE, _TYPE, _ABOVE, 1, 1, "attempts", 0, 30 * MINUTE_S,
        "A task of {type} in the queue {queue} has been lost with its worker again: {value}",
        "{detail} It probably kills whatever runs it: look for memory, a native crash, or a timeout of the system.",
        _params(window_s=1 * HOUR_S),
    ),
    Alert(
        "TaskRunningLong", "task", _TICKET, _TYPE, _ABOVE, 3, 3, "times", 1 * MINUTE_S, 1 * MINUTE_S,
        "A task of {type} in the queue {queue} has run for {value} what 99 of 100 take",
        "{detail} It may hang: a call without a timeout, a lock. Cancel it, and give the type a timeout.",
        _params(min_run_s=60, min_completed=20, history_s=1 * DAY_S),
    ),
)  # fmt: skip

_WORKERS = (
    Alert(
        "NoActiveWorkers", "worker", _PAGE, (), _BELOW, 1, 1, "workers", 1 * MINUTE_S, 1 * MINUTE_S,
        "No worker is active",
        "Nothing that is enqueued is done. Start one: `prismq worker`. A queue into which nothing was ever enqueued "
        "does not alert.",
    ),
    Alert(
        "WorkerUnhealthy", "worker", _TICKET, _WORKER, _ABOVE, 60, 60, "seconds", 5 * MINUTE_S, 1 * MINUTE_S,
        "The worker {worker_id} was last heard of {value} ago",
        "Its process or its machine is gone, or it cannot reach the database. What it held is given to others when the "
        "lease ends. It stops alerting after a day.",
        _params(forget_s=1 * DAY_S),
    ),
    Alert(
        "WorkerNotConsuming", "worker", _PAGE, _WORKER, _ABOVE, 0, 0, "seconds", 1 * MINUTE_S, 1 * MINUTE_S,
        "The worker {worker_id} is alive and has claimed nothing for {value} while tasks wait",
        "{detail} Restart it; if it was wedged, its log says by what.",
    ),
)  # fmt: skip

_SCHEDULES = (
    Alert(
        "ScheduleMissed", "schedule", _TICKET, ("schedule",), _ABOVE, 2, 2, "times", 1 * MINUTE_S, 1 * MINUTE_S,
        "The schedule {schedule} has not fired for {value} its interval",
        "{detail} A worker fires schedules: look whether one runs that declares this one.",
        # A schedule of every second may be late by more than two of them.
        _params(min_late_s=60),
    ),
    Alert(
        "ScheduleFailing", "schedule", _TICKET, ("schedule",), _ABOVE, 2, 2, "times", 1 * MINUTE_S, 1 * MINUTE_S,
        "No run of the schedule {schedule} has succeeded for {value} its interval",
        "{detail} It fires, and its tasks do not complete.",
        _params(min_late_s=60),
    ),
    Alert(
        "CanaryFailed", "schedule", _PAGE, _QUEUE, _ABOVE, 60, 60, "seconds", 0, 1 * MINUTE_S,
        "The canary task of the queue {queue} is not done after {value}",
        "The whole path is broken somewhere between enqueueing and completing: {detail}",
    ),
)  # fmt: skip

_LEVELS = (
    Alert(
        "ErrorBudgetBurnFast", "slo", _PAGE, ("slo", "queue"), _ABOVE, 14.4, 14.4, "times", 0, 2 * MINUTE_S,
        "The service level {slo} burns its error budget at {value} the pace it can afford",
        "At this pace a 30 days' budget is gone in two days. {detail}",
        _params(long_s=1 * HOUR_S, short_s=5 * MINUTE_S, min_events=50),
    ),
    Alert(
        "ErrorBudgetBurnSlow", "slo", _TICKET, ("slo", "queue"), _ABOVE, 6, 6, "times", 0, 5 * MINUTE_S,
        "The service level {slo} burns its error budget at {value} the pace it can afford",
        "At this pace a 30 days' budget is gone in five days. {detail}",
        _params(long_s=6 * HOUR_S, short_s=30 * MINUTE_S, min_events=50),
    ),
)  # fmt: skip

_STORE = (
    Alert(
        "DatabaseUnreachable", "store", _PAGE, (), _ABOVE, 0, 0, "seconds", 1 * MINUTE_S, 0,
        "The database has not answered for {value}",
        "{detail} Nothing can be enqueued, and workers stop what they run when its lease ends.",
    ),
    Alert(
        "DatabaseSlow", "store", _TICKET, (), _ABOVE, 1, 0.5, "seconds", 5 * MINUTE_S, 5 * MINUTE_S,
        "One small exchange with the database takes {value}",
        "Its disk or its machine is overloaded, or somebody holds its lock for long.",
    ),
    Alert(
        "DatabaseConnectionPoolExhausted", "store", _TICKET, (), _BELOW, 2, 2, "connections", 5 * MINUTE_S,
        2 * MINUTE_S,
        "{value} are left of a server's pool",
        "Requests wait for a connection. Raise `pool_size` in the database URL, or look for slow statements.",
    ),
    Alert(
        "DiskAlmostFull", "store", _PAGE, (), _BELOW, 100 * 1024**2, 200 * 1024**2, "bytes", 0, 1 * MINUTE_S,
        "{value} are free where the database lies",
        "A full disk stops every write. Free some space now: old backups and archives first.",
    ),
    Alert(
        "DiskFillingUp", "store", _TICKET, (), _BELOW, 1024**3, 1280 * 1024**2, "bytes", 5 * MINUTE_S, 5 * MINUTE_S,
        "{value} are free where the database lies, less than {threshold}",
        "A burst of a million small tasks takes half of a GiB. Free some space, or shorten the retention.",
    ),
    Alert(
        "WalTooLarge", "store", _TICKET, (), _ABOVE, 256 * 1024**2, 128 * 1024**2, "bytes", 5 * MINUTE_S, 5 * MINUTE_S,
        "The write-ahead log of the database takes {value}",
        "A reader that does not end keeps SQLite from beginning it anew. Look for programs that hold the file open, "
        "then `prismq maintenance checkpoint --mode TRUNCATE`.",
    ),
    Alert(
        "DatabaseFault", "store", _TICKET, ("fault",), _ABOVE, 0, 0, "faults", 5 * MINUTE_S, 5 * MINUTE_S,
        "The doctor finds a fault of the database: {detail}",
        "`prismq doctor` says what to do. Old transactions that keep rows from being cleared are among what it finds.",
    ),
    Alert(
        "RedisDown", "store", _TICKET, (), _BELOW, 1, 1, "servers", 1 * MINUTE_S, 1 * MINUTE_S,
        "Redis does not answer",
        "{detail} Tasks are in the database and are found by polling, a little later.",
    ),
    Alert(
        "BackupTooOld", "store", _TICKET, (), _ABOVE, 2, 1.5, "times", 0, 0,
        "The newest backup is {value} its interval old",
        "{detail} Look at the workers' log for why, and take one: `prismq backup create`.",
    ),
    Alert(
        "BackupBroken", "store", _PAGE, (), _ABOVE, 0, 0, "backups", 0, 0,
        "The newest backup cannot be restored: {detail}",
        "Take another one and verify it: `prismq backup create`, `prismq backup verify`.",
    ),
    Alert(
        "AlertChannelFailing", "store", _TICKET, ("channel",), _ABOVE, 0, 0, "seconds", 5 * MINUTE_S, 1 * MINUTE_S,
        "The alert channel {channel} has delivered nothing for {value}",
        "{detail} What it should have told is tried again, and shown by `prismq alerts list`.",
    ),
)  # fmt: skip

# While one of these fires, nobody is told of those that follow from it: where the labels that both have are equal.
MUTES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "NoActiveWorkers": frozenset(
            {
                "QueueUnserved", "OldestTaskOverTarget", "BacklogGrowing", "HighQueueDepth", "ScheduleMissed",
                "ScheduleFailing", "ErrorBudgetBurnFast", "ErrorBudgetBurnSlow",
            }
        ),
        "QueueUnserved": frozenset({"OldestTaskOverTarget", "BacklogGrowing"}),
        "OldestTaskOverTarget": frozenset({"BacklogGrowing"}),
        "ErrorBudgetBurnFast": frozenset({"ErrorBudgetBurnSlow"}),
        "PoisonTask": frozenset({"LeasesLost"}),
        "HighFailureRate": frozenset({"FailureRateAboveBaseline", "DeadLettersGrew"}),
        "DiskAlmostFull": frozenset({"DiskFillingUp", "WalTooLarge"}),
    }
)  # fmt: skip

ALERTS: tuple[Alert, ...] = (*_QUEUES, *_TASKS, *_WORKERS, *_SCHEDULES, *_LEVELS, *_STORE)
BY_NAME: Mapping[str, Alert] = MappingProxyType({alert.name: alert for alert in ALERTS})
