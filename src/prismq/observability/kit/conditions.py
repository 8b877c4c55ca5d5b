"""The figure of each built-in alert in PromQL: name, severity, threshold and time come from the table of alerts.

Where Prometheus cannot have the figure, it is said why; prismq's own alerts have it all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from prismq.observability.alerts.definitions import DAY_S, HOUR_S, MINUTE_S, Alert
from prismq.observability.kit.promql import by, grown, on, once, series, summed
from prismq.observability.kit.recording import ENDED, FAILED

INSTANCE = "instance"


class Figure(NamedTuple):
    """What is compared with the threshold, for each set of the labels `per`; `only` has to hold besides."""

    expression: str
    per: tuple[str, ...]
    only: str = ""  # `and …` or `unless …`
    past: str = ""  # where one threshold for all will not do: the comparison itself


def window(seconds: float) -> str:
    """A length of time as Prometheus writes it: whole seconds, minutes, hours or days."""
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def number(value: float) -> str:
    """A number as people write it."""
    return str(int(value)) if value == int(value) else repr(value)


def said(alert: Alert, name: str) -> str:
    """What the table says of the alert besides, as a number."""
    return number(alert.params[name])


def span(alert: Alert, name: str) -> str:
    """The same as a length of time."""
    return window(alert.params[name])


# -- waiting work

_READY = 'status="queued"'


def _oldest(alert: Alert) -> Figure:
    oldest, promise = once("prismq_queue_oldest_ready_seconds"), once("prismq_queue_promise_seconds")
    late = (
        f"({oldest} > {on('queue')} {promise} or ({oldest} unless {on('queue')} {promise}) > {number(alert.threshold)})"
    )
    return Figure("", ("queue",), f"unless {on('queue')} {once('prismq_queue_paused')} == 1", late)


def _backlog(alert: Alert) -> Figure:
    depth = summed(once("prismq_queue_tasks", _READY), "queue")
    done = summed(grown("prismq_tasks_finished_total", ENDED, span(alert, "window_s")), "queue")
    return Figure(
        # Where nothing is done the pace says nothing, and other alerts say why.
        f"{depth} / ({done} / {said(alert, 'window_s')} > 0)",
        ("queue",),
        f"and {on('queue')} {depth} >= {said(alert, 'min_tasks')} "
        f"unless {on('queue')} {once('prismq_queue_paused')} == 1",
    )


def _unserved(alert: Alert) -> Figure:
    return Figure(once("prismq_queue_unserved_tasks"), ("queue",))


def _depth(alert: Alert) -> Figure:
    return Figure(f"sum {by()} (task_queue:queue_depth)", ())


# -- failing work


def _failures(alert: Alert) -> Figure:
    over = span(alert, "window_s")
    failed = summed(grown("prismq_tasks_finished_total", FAILED, over), "queue")
    ended = summed(grown("prismq_tasks_finished_total", ENDED, over), "queue")
    return Figure(f"{failed} / ({ended} >= {said(alert, 'min_ended')})", ("queue",))


def _baseline(alert: Alert) -> Figure:
    now, before = span(alert, "window_s"), span(alert, "baseline_s")
    keys = ("queue", "type")

    def share(over: str, at_least: str) -> str:
        failed = summed(grown("prismq_tasks_finished_total", FAILED, over), *keys)
        return f"({failed} / ({summed(grown('prismq_tasks_finished_total', ENDED, over), *keys)} {at_least}))"

    recent = share(now, f">= {said(alert, 'min_ended')}")
    return Figure(
        f"({recent} >= {said(alert, 'min_rate')}) / clamp_min({share(before, '> 0')}, {said(alert, 'base_min')})",
        keys,
    )


def _more(name: str, selector: str = "") -> Callable[[Alert], Figure]:
    keys = ("queue", "type")
    return lambda alert: Figure(summed(grown(name, selector, span(alert, "window_s")), *keys), keys)


def _poison(alert: Alert) -> Figure:
    return Figure(once("prismq_task_crashes_max"), ("queue", "type"))


def _running_long(alert: Alert) -> Figure:
    keys, over = ("queue", "type"), span(alert, "history_s")

    def lately(name: str, *labels: str) -> str:
        # Whoever did not look a day ago takes all that the queue has ever counted.
        total, before = once(name), once(name, over=f"{{}} offset {over}")
        return summed(f"({total} - ({before} or 0 * {total}))", *keys, *labels)

    longest = once("prismq_task_longest_run_seconds")
    usual = f"histogram_quantile(0.99, {lately('prismq_task_run_seconds_bucket', 'le')})"
    return Figure(
        f"({longest} >= {said(alert, 'min_run_s')}) / clamp_min({usual}, 0.001)",
        keys,
        f"and {on(*keys)} {lately('prismq_task_run_seconds_count')} >= {said(alert, 'min_completed')}",
    )


# -- workers and schedules


def _none_active(alert: Alert) -> Figure:
    used = summed(once("prismq_tasks_enqueued_total"))
    active = summed(once("prismq_workers", 'status="active"'))
    return Figure(active, (), f"and {on()} {used} > 0")


def _silent(alert: Alert) -> Figure:
    ago = f"time() - {once('prismq_worker_heartbeat_timestamp_seconds')}"
    return Figure(
        f"({ago})",
        ("worker_id",),
        f'and {on("worker_id")} up{{job="workers"}} == 0 and {on("worker_id")} {ago} < {said(alert, "forget_s")}',
    )


def _not_consuming(alert: Alert) -> Figure:
    return Figure(once("prismq_worker_not_consuming_seconds"), ("worker_id",))


def _missed(alert: Alert) -> Figure:
    interval = once("prismq_schedule_interval_seconds")
    late = f"time() - {once('prismq_schedule_next_due_timestamp_seconds')}"
    # Due for one interval is two since it fired.
    return Figure(
        f"(({late}) / {interval} + 1)",
        ("schedule",),
        f"and {on('schedule')} {late} > {said(alert, 'min_late_s')}",
    )


def _failing(alert: Alert) -> Figure:
    interval = once("prismq_schedule_interval_seconds")
    since = f"time() - max {by('schedule')} (schedule:last_success_timestamp_seconds)"
    late = f"{since} - {interval}"
    return Figure(
        f"(({since}) / {interval})",
        ("schedule",),
        f"and {on('schedule')} {late} > {said(alert, 'min_late_s')} "
        f"unless {on('schedule')} {once('prismq_schedule_paused')} == 1",
    )


def _canary(alert: Alert) -> Figure:
    return Figure(once("prismq_canary_waiting_seconds"), ("queue",))


# -- service levels


def _burn(alert: Alert) -> Figure:
    long, short = span(alert, "long_s"), span(alert, "short_s")
    rates = 'slo:burn_rate{window="%s"}'
    few = f'slo:events{{window="{long}"}} < {said(alert, "min_events")}'
    keys = ("slo", "queue")  # the levels of all queues together have no queue
    return Figure(
        f"max {by(*keys)} ({rates % long})",
        keys,
        f"and {on(*keys)} {rates % short} > {number(alert.threshold)} unless {on(*keys)} {few}",
    )


# -- the database


def _of_server(name: str) -> Callable[[Alert], Figure]:
    return lambda alert: Figure(f"max {by(INSTANCE)} ({series(name)})", (INSTANCE,))


def _wal(alert: Alert) -> Figure:
    # PostgreSQL keeps as much of its log as it was told to; there the server's disk cannot be seen from here either.
    log = f"max {by(INSTANCE)} ({series('prismq_database_wal_bytes')})"
    return Figure(log, (INSTANCE,), f"and {on(INSTANCE)} {series('prismq_system_disk_size_bytes')}")


def _disk_free(alert: Alert) -> Figure:
    return Figure(f"min {by(INSTANCE)} ({series('prismq_system_disk_free_bytes')})", (INSTANCE,))


def _pool(alert: Alert) -> Figure:
    # A pool of one or two has never more to spare: only one that is in use can be exhausted.
    return Figure(
        "database:pool_connections_available",
        (INSTANCE,),
        f"and {on(INSTANCE)} database:pool_connections_in_use > 1",
    )


def _redis(alert: Alert) -> Figure:
    return Figure(f"min {by()} ({series('prismq_redis_up')})", ())


def _told(alert: Alert) -> Figure:
    # What takes long to find out prismq's own alerts find out, now and then; who is told, Alertmanager decides.
    selector = f'alert="{alert.name}"'
    return Figure(f"max {by()} ({series('prismq_alert_instances', selector)})", ())


def _backup(alert: Alert) -> Figure:
    # The interval is the workers' setting, which the kit was made with.
    return Figure(f"((time() - {once('prismq_backup_last_success_timestamp_seconds')}) / BACKUP_INTERVAL_S)", ())


FIGURES: Mapping[str, Callable[[Alert], Figure]] = {
    "OldestTaskOverTarget": _oldest,
    "BacklogGrowing": _backlog,
    "QueueUnserved": _unserved,
    "HighQueueDepth": _depth,
    "HighFailureRate": _failures,
    "FailureRateAboveBaseline": _baseline,
    "DeadLettersGrew": _more("prismq_tasks_finished_total", 'outcome="dead_letter"'),
    "LeasesLost": _more("prismq_task_leases_lost_total"),
    "PoisonTask": _poison,
    "TaskRunningLong": _running_long,
    "NoActiveWorkers": _none_active,
    "WorkerUnhealthy": _silent,
    "WorkerNotConsuming": _not_consuming,
    "ScheduleMissed": _missed,
    "ScheduleFailing": _failing,
    "CanaryFailed": _canary,
    "ErrorBudgetBurnFast": _burn,
    "ErrorBudgetBurnSlow": _burn,
    "DatabaseSlow": _of_server("prismq_database_response_seconds"),
    "DatabaseConnectionPoolExhausted": _pool,
    "DiskAlmostFull": _disk_free,
    "DiskFillingUp": _disk_free,
    "WalTooLarge": _wal,
    "DatabaseFault": _told,
    "RedisDown": _redis,
    "BackupTooOld": _backup,
    "BackupBroken": _told,
}

REASONS: Mapping[str, str] = {
    "DatabaseUnreachable": "the page of metrics cannot be had then: MetricsUnreachable fires",
    "AlertChannelFailing": "it is about prismq's own channels; Alertmanager tells of its own by its metrics",
}


def condition(alert: Alert, backup_interval_s: float) -> str:
    """The expression that is true as long as the alert is to be pending or firing.

    Where the table has another value to clear it, a firing one stays until that: Prometheus keeps what fires in the
    series ALERTS.
    """
    figure = FIGURES[alert.name](alert)
    value = figure.expression.replace("BACKUP_INTERVAL_S", f"{number(backup_interval_s)}")
    only = f" {figure.only}" if figure.only else ""
    past = f"{figure.past or f'{value} {alert.comparison} {number(alert.threshold)}'}{only}"
    if alert.clear == alert.threshold:
        return past
    firing = f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}'
    return f"({past}) or ({value} {alert.comparison} {number(alert.clear)} and {on(*figure.per)} {firing})"
