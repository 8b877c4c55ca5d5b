"""Recording rules: the reference's names, with the meaning that its queries, alerts and service levels give them.

The reference applies rate() to what it calls rates, and takes the result for tasks (in a quotient) or for a share
(`rate(task_queue:failure_rate[5m]) > 0.1` is its "more than 10 %"). So these only grow: submissions and completions by
60 for each task, so that their rate() is tasks per minute; failures, retries and timeouts by the share of a moment
times its length, so that their rate() is the share on average. Such a rule adds to its own last value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prismq.observability.kit.promql import JOB, by, grown, growth, growths_in, on, once, rate, ratio, series, summed

FAILED = 'outcome=~"failed|dead_letter"'
COMPLETED = 'outcome="completed"'
ENDED = 'outcome=~"completed|failed|dead_letter"'  # a cancelled task is neither a success nor a failure


class Recording(NamedTuple):
    """A rule. `labels` are added to what the expression has."""

    name: str
    expression: str
    meaning: str
    labels: tuple[tuple[str, str], ...] = ()


class Group(NamedTuple):
    """Rules that are evaluated one after the other, at one time."""

    name: str
    rules: tuple[Recording, ...]


def _integral(name: str, share: str) -> str:
    """The integral of a share over time: what it was, and the share times the seconds since."""
    return f"{name} + (time() - timestamp({name})) * {share} or 0 * {share}"


def _tasks() -> Group:
    ended = summed(grown("prismq_tasks_finished_total", ENDED))
    attempts = summed(grown("prismq_task_wait_seconds_count"))
    shares = {
        "failure": (summed(grown("prismq_tasks_finished_total", FAILED)), ended, "of the tasks that end, fail"),
        "retry": (summed(grown("prismq_finished_task_retried_total")), ended, "of the tasks that end, were retried"),
        "timeout": (summed(grown("prismq_task_timeouts_total")), attempts, "of the attempts that end, timed out"),
    }
    rules = [
        Recording(
            "task_queue:submission_rate",
            f"60 * {summed(once('prismq_tasks_enqueued_total'))}",
            "Grows by 60 for each task that is enqueued: rate() of it is tasks per minute.",
        ),
        Recording(
            "task_queue:completion_rate",
            f"60 * {summed(once('prismq_tasks_finished_total', COMPLETED))}",
            "Grows by 60 for each task that completes: rate() of it is tasks per minute.",
        ),
    ]
    for name, (part, whole, meaning) in shares.items():
        share = f"task_queue:{name}_ratio_5m"
        rules += [
            Recording(share, ratio(part, whole), f"Which part {meaning}, over 5 minutes; 0 where none ends."),
            Recording(
                f"task_queue:{name}_rate",
                _integral(f"task_queue:{name}_rate", share),
                f"rate() of it: which part {meaning}, on average over the window.",
            ),
        ]
    run_s, runs = (summed(grown(f"prismq_task_run_seconds_{what}")) for what in ("sum", "count"))
    rules += [
        Recording(
            "task_queue:processing_time_seconds_bucket",
            summed(grown("prismq_task_run_seconds_bucket"), "le"),
            "The run times of the last 5 minutes: give it to histogram_quantile() as it is.",
        ),
        Recording(
            "task_queue:processing_time_seconds",
            f"{run_s} / ({runs} > 0)",
            "The average run time of the last 5 minutes; absent where nothing ran.",
        ),
        Recording(
            "task_queue:queue_depth",
            summed(once("prismq_queue_tasks", 'status="queued"'), "priority"),
            "Tasks that are ready, by priority: high, normal or low.",
        ),
    ]
    return Group("prismq_tasks", tuple(rules))


def _workers() -> Group:
    finished = summed(rate("prismq_worker_tasks_finished_total"), "worker_id")
    failed = summed(rate("prismq_worker_tasks_finished_total", 'outcome="failed"'), "worker_id")
    retried = rate("prismq_worker_task_retries_total")
    attempts = f"({finished} + {retried})"
    up = once("prismq_worker_up")
    named = f'label_replace({up}, "instance", "$1", "worker_id", "(.*)")'
    return Group(
        "prismq_workers",
        (
            Recording(
                "workers:total",
                once("prismq_worker_status"),
                "1 for each worker that has not ended, with its status: count() and sum() of it count workers.",
            ),
            Recording(
                "workers:healthy",
                f"{once('prismq_worker_healthy')} == 1",
                "1 for each worker that is well; absent for the others.",
            ),
            Recording(
                "workers:healthy_ratio",
                f"(count {by()} (workers:healthy) or 0 * count {by()} (workers:total)) / count {by()} (workers:total)",
                "Which part of the workers is well: 0 where none is, absent where there are none.",
            ),
            Recording(
                "up",
                named,
                "1 for each worker that is heard of, 0 for one that is silent: workers are not scraped, they report.",
                (("job", "workers"),),
            ),
            Recording(
                "worker:utilization_percent",
                f"100 * {once('prismq_worker_busy_slots')} / ({once('prismq_worker_slots')} > 0)",
                "Which part of its slots is busy, in percent.",
            ),
            Recording("worker:task_rate", f"60 * {finished}", "Tasks that it ends in a minute, over 5 minutes."),
            Recording(
                "worker:avg_duration_seconds",
                f"{rate('prismq_worker_run_seconds_total')} / ({attempts} > 0)",
                "How long an attempt runs on average, over 5 minutes; absent where none ended.",
            ),
            Recording(
                "worker:error_rate",
                ratio(f"({failed} + {retried})", attempts),
                "Which part of its attempts fails, over 5 minutes; 0 where none ended.",
            ),
            Recording(
                "worker:uptime_seconds",
                f"time() - {once('prismq_worker_start_timestamp_seconds')} and {on('worker_id')} {up} == 1",
                "How long it has run; absent for one that is silent.",
            ),
            Recording(
                "worker:restart_count", once("prismq_worker_restarts"), "How often its supervisor has replaced it."
            ),
        ),
    )


def _machines() -> Group:
    cpu = "prismq_system_cpu_seconds_total"
    here = "instance"  # each server tells of the machine it runs on

    def of(name: str) -> str:
        return f"max {by(here)} ({series(name)})"

    def used(left: str, size: str) -> str:
        return f"100 * (1 - {of(left)} / {of(size)})"

    resting = series(cpu, 'mode="idle"')
    idle = f"sum {by(here)} (rate({resting}[2m]))"
    return Group(
        "prismq_system",
        (
            Recording(
                "system:cpu_usage_percent",
                f"100 * (1 - {idle} / sum {by(here)} (rate({series(cpu)}[2m])))",
                "How busy the processors of a server's machine are, over 2 minutes.",
            ),
            Recording(
                "system:memory_usage_percent",
                used("prismq_system_memory_available_bytes", "prismq_system_memory_size_bytes"),
                "Memory that programs could not have.",
            ),
            Recording(
                "system:disk_usage_percent",
                used("prismq_system_disk_free_bytes", "prismq_system_disk_size_bytes"),
                "Of the volume that a SQLite database lies on.",
            ),
            *(
                Recording(f"system:{name}", of(f"prismq_system_{source}"), f"Bytes {meaning} so far; take its rate().")
                for name, source, meaning in (
                    ("network_in_bytes", "network_receive_bytes_total", "received over all interfaces"),
                    ("network_out_bytes", "network_transmit_bytes_total", "sent over all interfaces"),
                    ("disk_read_bytes", "disk_read_bytes_total", "read from all disks"),
                    ("disk_write_bytes", "disk_write_bytes_total", "written to all disks"),
                )
            ),
        ),
    )


_IN_USE, _AVAILABLE = 'state="in_use"', 'state="available"'
_ACCOUNTABLE = 'route=~"/api/.*|/metrics",status=~"2..|5.."'
_LOST = 'api:requests{status="unreachable"}'


def _stores() -> Group:
    here = "instance"
    pool = "prismq_database_pool_connections"
    redis = ("connected_clients", "memory_bytes", "commands_total")
    return Group(
        "prismq_stores",
        (
            Recording(
                "database:pool_connections_in_use",
                f"max {by(here)} ({series(pool, _IN_USE)})",
                "Connections of a server that are in use.",
            ),
            Recording(
                "database:pool_connections_available",
                f"max {by(here)} ({series(pool, _AVAILABLE)})",
                "Connections that it could use besides.",
            ),
            Recording(
                "database:query_duration_seconds_bucket",
                f"sum {by('le')} (increase({series('prismq_database_query_seconds_bucket')}[5m]))",
                "The statements of the servers in the last 5 minutes: give it to histogram_quantile() as it is.",
            ),
            Recording(
                "database:queries_total",
                f"sum {by(here, 'type')} ({series('prismq_database_query_seconds_count')})",
                "Statements of a server so far: select, insert, update, delete or other.",
            ),
            *(
                Recording(f"redis:{name}", once(f"prismq_redis_{name}"), meaning)
                for name, meaning in zip(
                    redis,
                    ("Clients of Redis.", "Memory of Redis.", "Commands of Redis so far; rate() of it is a second's."),
                    strict=True,
                )
            ),
            Recording("redis:keys_by_type", once("prismq_redis_keys"), "Keys in its database."),
        ),
    )


def _api(scrape_interval_s: float) -> Group:
    requests = series("prismq_http_requests_total", _ACCOUNTABLE)
    up = f'max {by("instance")} (up{{job="{JOB}"}})'
    since = f"sum {by('instance')} (time() - timestamp({_LOST}))"
    return Group(
        "prismq_api",
        (
            Recording(
                "api:requests",
                f"sum {by('instance', 'status')} ({requests})",
                "Requests to the API (a scrape is one) that the server answered, or failed to. What the caller did "
                "wrong (4xx), and 3xx, say nothing of its availability and are left out.",
            ),
            Recording(
                "api:requests",
                f"sum {by('instance')} ({_LOST}) + {since} / {scrape_interval_s:g} * (1 - {up}) or 0 * {up}",
                "Scrapes that found no server, or none that could answer.",
                (("status", "unreachable"),),
            ),
        ),
    )


def _upkeep() -> Group:
    success = once("prismq_schedule_last_success_timestamp_seconds")
    known = once("prismq_schedule_interval_seconds")
    return Group(
        "prismq_upkeep",
        (
            Recording(
                "schedule:last_success_timestamp_seconds",
                f"({success} or schedule:last_success_timestamp_seconds) and {on('schedule')} {known}",
                "When the schedule last succeeded, as long as anybody looked; absent where it never did.",
            ),
        ),
    )


def growth_group(expressions: Iterable[str]) -> Group:
    """The growths that these expressions ask for. Each is evaluated once, whoever asks."""
    return Group(
        "prismq_growth",
        tuple(
            Recording(
                asked.record,
                growth(asked),
                "By how much the counter grew within the window.",
                (("window", asked.window),),
            )
            for asked in growths_in(expressions)
        ),
    )


def recording_groups(*, scrape_interval_s: float) -> tuple[Group, ...]:
    """Every group of recording rules, those of the service levels aside."""
    return (_tasks(), _workers(), _machines(), _stores(), _api(scrape_interval_s), _upkeep())
