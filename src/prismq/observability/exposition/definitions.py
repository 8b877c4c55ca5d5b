"""Every metric that is shown, as data: the text, the reference in docs/metrics.md and rules are made from this table.

Names follow https://prometheus.io/docs/practices/naming/: one prefix, base units, `_total` for counters.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from prismq.storage.measuring import BOUNDARIES_S as QUICK_BUCKETS_S


class Kind(str, Enum):
    """The type of a metric, in the words of OpenMetrics."""

    COUNTER = "counter"  # only grows
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"  # 1, with what there is to know as labels

    def __str__(self) -> str:
        return self.value


class Metric(NamedTuple):
    """A metric. `name` as in a query: with `_total` for a counter, `_info` for an info; without `_bucket`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""  # the last word of the name, but for `_total`: what OpenMetrics calls the unit
    group: str = ""
    buckets: tuple[float, ...] = ()  # of a histogram: its boundaries

    @property
    def family(self) -> str:
        """The name without the suffix that its kind adds."""
        suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind, "")
        return self.name.removesuffix(suffix)


# Where the bins of a sketch are cut for a histogram, in seconds: from tasks that do next to nothing to those that run
# for hours, with the promises that queues are named after (30 seconds, 5 minutes, 1 hour) among them.
BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
    14400.0,
)  # fmt: skip

_PAIR = ("queue", "type")
_QUEUE = ("queue",)
_WORKER = ("worker_id",)
_SCHEDULE = ("schedule",)
_C, _G, _H, _I = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.INFO

_TASKS = (
    Metric("prismq_tasks_enqueued_total", _C, "Tasks that were enqueued, by whatever means.", _PAIR),
    Metric(
        "prismq_tasks_finished_total",
        _C,
        "Tasks that ended, by how: completed, failed, dead_letter or cancelled. One that was queued again and ended "
        "again counts twice.",
        (*_PAIR, "outcome"),
    ),
    Metric("prismq_task_retries_total", _C, "Attempts that failed and were put back for another.", _PAIR),
    Metric(
        "prismq_task_timeouts_total", _C, "Attempts that ran into their timeout, whatever became of the task.", _PAIR
    ),
    Metric(
        "prismq_task_leases_lost_total",
        _C,
        "Attempts whose lease ran out or whose worker was lost, whatever became of the task.",
        _PAIR,
    ),
    Metric(
        "prismq_task_crashes_max",
        _G,
        "How often the one task was lost with its worker that was lost most often: of those that workers hold, and of "
        "those that failed within the last hour. 0 where none was lost.",
        _PAIR,
    ),
    Metric(
        "prismq_task_longest_run_seconds",
        _G,
        "How long the attempt has run that was started first of those that run now; 0 where none runs.",
        _PAIR,
        "seconds",
    ),
    Metric("prismq_task_snoozes_total", _C, "Attempts that put their task off without counting as one.", _PAIR),
    Metric("prismq_task_releases_total", _C, "Claimed tasks that a worker gave back unfinished as it stopped.", _PAIR),
    Metric(
        "prismq_finished_task_attempts_total",
        _C,
        "Attempts of the tasks that ended. Divided by prismq_tasks_finished_total: attempts per task.",
        _PAIR,
    ),
    Metric(
        "prismq_finished_task_retried_total",
        _C,
        "Tasks that ended and had needed more than one attempt.",
        _PAIR,
    ),
    Metric(
        "prismq_task_run_seconds",
        _H,
        "How long the last attempt of completed tasks ran. A value within 2 % of a boundary may be counted on either "
        "side of it.",
        _PAIR,
        "seconds",
    ),
    Metric(
        "prismq_task_wait_seconds",
        _H,
        "How long an attempt waited from when the task was ready to its start; every attempt that started and ended, "
        "whatever its end. Boundaries as in prismq_task_run_seconds.",
        _PAIR,
        "seconds",
    ),
    Metric(
        "prismq_queue_oldest_ready_seconds",
        _G,
        "How long the longest-waiting ready task has been ready; 0 where none is. Judged by the first hundred of each "
        "priority.",
        _QUEUE,
        "seconds",
    ),
    Metric(
        "prismq_queue_tasks",
        _G,
        "Tasks in the queue now, by status and by priority: high (below 100), normal (100) or low. Ended tasks count "
        "until they are pruned.",
        ("queue", "status", "priority"),
    ),
    Metric(
        "prismq_type_tasks",
        _G,
        "Tasks of the type now, by status. The same tasks as prismq_queue_tasks.",
        (*_PAIR, "status"),
    ),
    Metric(
        "prismq_queue_unserved_tasks",
        _G,
        "Ready tasks that no live worker takes: none runs, serves the queue, knows the type or offers what they need. "
        "0 where the queue is paused.",
        _QUEUE,
    ),
    Metric(
        "prismq_queue_promise_seconds",
        _G,
        "Within how many seconds the tasks of the queue are promised to start, by the settings ([slo].promises) or by "
        "its name (within_5_minutes); absent where neither says it.",
        _QUEUE,
        "seconds",
    ),
    Metric(
        "prismq_queue_starts_in_time_total",
        _C,
        "Attempts that started within prismq_queue_promise_seconds, of those that prismq_task_wait_seconds_count "
        "counts; one within 2 % of the promise may be on either side. Absent where nothing is promised. After another "
        "promise was made, what was before is counted by that one, too.",
        _QUEUE,
    ),
    Metric("prismq_queue_paused", _G, "1 where the queue is paused.", _QUEUE),
    Metric(
        "prismq_queue_running_limit", _G, "How many tasks of the queue may run at once; absent without a limit.", _QUEUE
    ),
    Metric(
        "prismq_scheduled_overdue_seconds",
        _G,
        "How long the first delayed or retried task has been due without being made ready; 0 where none is. More than "
        "a few seconds: no worker is running.",
        (),
        "seconds",
    ),
)

_UPKEEP = (
    Metric(
        "prismq_schedule_next_due_timestamp_seconds",
        _G,
        "When the schedule fires next, in seconds since 1970; in the past where nobody has fired it yet. Absent while "
        "it is paused.",
        _SCHEDULE,
        "seconds",
    ),
    Metric(
        "prismq_schedule_interval_seconds",
        _G,
        "How long from that time to the one after it.",
        _SCHEDULE,
        "seconds",
    ),
    Metric("prismq_schedule_paused", _G, "1 where the schedule is paused.", _SCHEDULE),
    Metric(
        "prismq_schedule_last_fire_timestamp_seconds",
        _G,
        "When its last task was enqueued; absent where it never fired, or where that task is gone.",
        _SCHEDULE,
        "seconds",
    ),
    Metric(
        "prismq_schedule_last_success_timestamp_seconds",
        _G,
        "When its last task completed; absent while that one waits or runs, and where it failed.",
        _SCHEDULE,
        "seconds",
    ),
    Metric(
        "prismq_backup_last_success_timestamp_seconds",
        _G,
        "When the newest backup was made. Absent where there is none in the folder that the answering process knows.",
        (),
        "seconds",
    ),
    Metric(
        "prismq_canary_waiting_seconds",
        _G,
        "How long no canary task of the queue has been done although one was sent; 0 where the last one was. Absent "
        "where none is sent.",
        _QUEUE,
        "seconds",
    ),
    Metric(
        "prismq_canary_last_success_timestamp_seconds",
        _G,
        "When the last canary task of the queue was done; absent where none was yet.",
        _QUEUE,
        "seconds",
    ),
    Metric("prismq_backup_size_bytes", _G, "How large that backup is.", (), "bytes"),
)

_HTTP = (
    Metric(
        "prismq_http_requests_total",
        _C,
        "Requests that this server answered, by method, route (as the API's reference writes it; `unmatched` for paths "
        "that lead nowhere) and status. 499: the caller had gone.",
        ("method", "route", "status"),
    ),
    Metric(
        "prismq_http_request_seconds",
        _H,
        "How long they took, from the head of the request to the end of the answer. WebSockets are left out.",
        ("method", "route"),
        "seconds",
        buckets=QUICK_BUCKETS_S,
    ),
)

_WORKERS = (
    Metric(
        "prismq_workers",
        _G,
        "Workers by status: active, paused or draining where their heartbeat is recent; silent where it is not; "
        "stopped or lost where they ended. Rows of ended ones are removed after a while.",
        ("status",),
    ),
    Metric(
        "prismq_workers_not_consuming",
        _G,
        "Workers that are alive and have free slots, and claim nothing while tasks wait that they could take.",
    ),
    Metric(
        "prismq_worker_info",
        _I,
        "What there is to know of a worker. Those that ended are left out here and below.",
        ("worker_id", "hostname", "version"),
    ),
    Metric("prismq_worker_up", _G, "1 where the last heartbeat is recent.", _WORKER),
    Metric(
        "prismq_worker_status",
        _G,
        "1, with the status that the worker is counted under in prismq_workers.",
        ("worker_id", "status"),
    ),
    Metric(
        "prismq_worker_healthy",
        _G,
        "1 where its heartbeat is in time, and it takes what it could take; as in `/api/v1/health/workers`.",
        _WORKER,
    ),
    Metric(
        "prismq_worker_not_consuming_seconds",
        _G,
        "How long it has claimed nothing although it is alive, has free slots, and tasks wait that it could take; 0 "
        "where that is not so.",
        _WORKER,
        "seconds",
    ),
    Metric("prismq_worker_slots", _G, "How many tasks the worker may run at once.", _WORKER),
    Metric(
        "prismq_worker_busy_slots",
        _G,
        "How many tasks it runs. Divided by prismq_worker_slots: its utilisation.",
        _WORKER,
    ),
    Metric("prismq_worker_held_tasks", _G, "How many tasks it has claimed, those that run among them.", _WORKER),
    Metric(
        "prismq_worker_tasks_finished_total",
        _C,
        "Tasks that it ended: completed, or failed (dead letters among them). Reported with each heartbeat.",
        ("worker_id", "outcome"),
    ),
    Metric("prismq_worker_task_retries_total", _C, "Attempts of it that failed and were put back.", _WORKER),
    Metric(
        "prismq_worker_run_seconds_total",
        _C,
        "How long its attempts ran in all. Its rate divided by that of the tasks and retries: the average duration.",
        _WORKER,
        "seconds",
    ),
    Metric("prismq_worker_restarts", _G, "How often its supervisor has replaced this process.", _WORKER),
    Metric("prismq_worker_start_timestamp_seconds", _G, "When it started, in seconds since 1970.", _WORKER, "seconds"),
    Metric(
        "prismq_worker_heartbeat_timestamp_seconds",
        _G,
        "When it was last heard of. Less prismq_worker_start_timestamp_seconds: its uptime.",
        _WORKER,
        "seconds",
    ),
    Metric(
        "prismq_worker_claim_timestamp_seconds",
        _G,
        "When it last claimed a task; absent where it never did.",
        _WORKER,
        "seconds",
    ),
    Metric("prismq_worker_cpu_usage_ratio", _G, "Processor that it uses, in cores.", _WORKER, "ratio"),
    Metric("prismq_worker_memory_bytes", _G, "Resident memory of its process.", _WORKER, "bytes"),
)

_SYSTEM = (
    Metric(
        "prismq_system_cpu_seconds_total",
        _C,
        "Processor time of the machine that answers, all cores together: user, system, idle or other.",
        ("mode",),
        "seconds",
    ),
    Metric("prismq_system_cpus", _G, "Logical processors of that machine."),
    Metric("prismq_system_load1", _G, "Load average of the last minute."),
    Metric("prismq_system_load5", _G, "Load average of the last 5 minutes."),
    Metric("prismq_system_load15", _G, "Load average of the last 15 minutes."),
    Metric("prismq_system_memory_size_bytes", _G, "Memory of that machine.", (), "bytes"),
    Metric("prismq_system_memory_available_bytes", _G, "Memory that programs could still have.", (), "bytes"),
    Metric(
        "prismq_system_disk_size_bytes",
        _G,
        "The volume that the database lies on; absent where it cannot be seen from here.",
        (),
        "bytes",
    ),
    Metric("prismq_system_disk_free_bytes", _G, "What is free there.", (), "bytes"),
    Metric("prismq_system_disk_read_bytes_total", _C, "Read from all disks of that machine.", (), "bytes"),
    Metric("prismq_system_disk_write_bytes_total", _C, "Written to all disks of that machine.", (), "bytes"),
    Metric(
        "prismq_system_network_receive_bytes_total", _C, "Received over all interfaces of that machine.", (), "bytes"
    ),
    Metric("prismq_system_network_transmit_bytes_total", _C, "Sent over all interfaces of that machine.", (), "bytes"),
)

_DATABASE = (
    Metric("prismq_database_size_bytes", _G, "What the database takes, its log among it.", (), "bytes"),
    Metric("prismq_database_wal_bytes", _G, "Its write-ahead log.", (), "bytes"),
    Metric("prismq_database_unused_bytes", _G, "Pages of it that hold nothing.", (), "bytes"),
    Metric(
        "prismq_database_connections",
        _G,
        "Connections of the process that answers: active (inside a transaction or a statement) or idle.",
        ("state",),
    ),
    Metric(
        "prismq_database_response_seconds",
        _G,
        "How long one look into an index took just now.",
        (),
        "seconds",
    ),
    Metric(
        "prismq_database_pool_connections",
        _G,
        "Connections that the process that answers uses (in_use), and could use besides (available). On PostgreSQL of "
        "its pool; on SQLite, where each thread has its own, threads of the server. Absent where neither is bounded.",
        ("state",),
    ),
    Metric(
        "prismq_database_query_seconds",
        _H,
        "Statements of the server that answers, until their first row, by what they do: select, insert, update, delete "
        "or other.",
        ("type",),
        "seconds",
        buckets=QUICK_BUCKETS_S,
    ),
    Metric(
        "prismq_database_transaction_seconds",
        _H,
        "Transactions of the server that answers, from when they had their lock, by how they ended: committed or "
        "rolled_back.",
        ("outcome",),
        "seconds",
        buckets=QUICK_BUCKETS_S,
    ),
    Metric(
        "prismq_database_lock_wait_seconds_total",
        _C,
        "How long that server waited for the lock of SQLite's one writer, or for a connection of its pool.",
        (),
        "seconds",
    ),
    Metric(
        "prismq_database_busy_total",
        _C,
        "How often it gave up: a lock or a connection that did not come free in time, a statement that was broken off.",
    ),
)

_REDIS = (
    Metric("prismq_redis_up", _G, "1 where Redis answers. Where none is configured the whole group is absent."),
    Metric("prismq_redis_response_seconds", _G, "How long it took to answer just now.", (), "seconds"),
    Metric("prismq_redis_connected_clients", _G, "Clients that are connected to it."),
    Metric("prismq_redis_memory_bytes", _G, "Memory that it uses.", (), "bytes"),
    Metric("prismq_redis_commands_total", _C, "Commands that it has processed since it was started."),
    Metric(
        "prismq_redis_keys",
        _G,
        "Keys in its database, by type. Of more than 2,000 the shares are those of a sample of 1,000.",
        ("type",),
    ),
)

_SELF = (
    Metric("prismq_build_info", _I, "The version of prismq that answers.", ("version",)),
    Metric(
        "prismq_metrics_left_out",
        _G,
        "Label values beyond the bound: pairs of queue and type that are counted under `other`, queues likewise, and "
        "workers and schedules that are left out.",
        ("label",),
    ),
    Metric(
        "prismq_alert_instances",
        _G,
        "How many things one of prismq's own alerts is about: those past its threshold, whether it fires yet or not, "
        "as whoever evaluates them saw it within two minutes. 0 where nobody does.",
        ("alert",),
    ),
    Metric("prismq_metrics_collect_seconds", _G, "How long it took to collect these figures.", (), "seconds"),
)

_STEERING = (
    Metric(
        "prismq_slots_wanted",
        _G,
        "Slots that hold the promises of all queues together and catch up with what waits; an autoscaler divides them "
        "by the slots of a pod. See docs/scaling.md.",
    ),
    Metric("prismq_remediation_total", _C, "What was put right without anybody's doing, by act.", ("act",)),
    Metric("prismq_remediation_tasks_total", _C, "Tasks that it concerned.", ("act",)),
    Metric(
        "prismq_breaker_state",
        _G,
        "The circuit breaker of a task type that was ever opened: 0 closed, 1 a task is tried, 2 open.",
        ("type",),
    ),
)

GROUPS = {
    "task": "Tasks and queues",
    "worker": "Workers",
    "upkeep": "Schedules, canaries and backups",
    "steering": "Scaling and remediation",
    "http": "The HTTP server",
    "system": "The machine that answers",
    "database": "The database",
    "redis": "Redis",
    "self": "The figures themselves",
}

METRICS: tuple[Metric, ...] = tuple(
    metric._replace(group=group, buckets=metric.buckets or (BUCKETS_S if metric.kind is Kind.HISTOGRAM else ()))
    for group, metrics in zip(
        GROUPS, (_TASKS, _WORKERS, _UPKEEP, _STEERING, _HTTP, _SYSTEM, _DATABASE, _REDIS, _SELF), strict=True
    )
    for metric in metrics
)
BY_NAME = {metric.name: metric for metric in METRICS}
