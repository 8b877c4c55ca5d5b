"""The metrics of tasks, of those who work on them, and of what happens by itself."""

from __future__ import annotations

from prismq.observability.exposition.metric import Kind, Metric

_PAIR = ("queue", "type")
_QUEUE = ("queue",)
_WORKER = ("worker_id",)
_SCHEDULE = ("schedule",)
_C, _G, _H, _I = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.INFO

TASKS = (
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

WORKERS = (
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

UPKEEP = (
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

STEERING = (
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
