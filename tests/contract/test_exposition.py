"""The figures as Prometheus reads them, on every engine."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from prismq.config.alerts import SloConfig
from prismq.domain.breaker import Breaker, BreakerState
from prismq.domain.limits import METRIC_PAIRS_MAX, METRIC_QUEUES_MAX, METRIC_WORKERS_MAX
from prismq.domain.sketch import RELATIVE_ERROR
from prismq.domain.status import TaskStatus as T
from prismq.domain.task import TaskFilter
from prismq.observability.alerts.canary import Canaries
from prismq.observability.alerts.definitions import ALERTS
from prismq.observability.exposition import METRICS, Format, Kind, RedisMetrics, collect, render, render_metrics
from prismq.observability.exposition.metric import BUCKETS_S
from prismq.observability.exposition.samples import Histogram, Samples
from prismq.observability.slo.counting import tally
from prismq.observability.slo.levels import levels_of
from prismq.server.requests import RequestCounter
from prismq.storage.contract import Retention, Schedule, Store
from prismq.storage.contract.alerts import DUTY, AlertChange, AlertRecord
from tests.contract.test_upkeep_and_insight import leased
from tests.helpers.builders import (
    AN_ERROR,
    LEASE_S,
    a_report,
    a_task,
    a_worker,
    claim,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    settle,
    start,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import ENGINES, Engine
from tests.helpers.packages import require

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]
GAUGES = {metric.name for metric in METRICS if metric.kind is Kind.GAUGE}
HOSTILE = 'a"b\\c\nd{e="f"} 1 # é\u2028𝄞'
REDIS = RedisMetrics(0.002, 3, 1_000_000, 12_345, {"string": 4, "list": 1})


def text_of(store: Store, clock: FakeClock, form: Format = Format.OPENMETRICS) -> str:
    return render(collect(store, clock, redis=lambda: REDIS), form)


def answered() -> Samples:
    """What a server says of its requests."""
    counter = RequestCounter()
    counter.add("GET", f"/{HOSTILE}", 200, 0.02)
    return counter.samples()


def values_of(store: Store, clock: FakeClock) -> Values:
    """What the library's own parser reads from the text."""
    families: Iterator[Family] = parse_openmetrics(text_of(store, clock))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(values: Values, name: str, **labels: str) -> float:
    return values[name, frozenset(labels.items())]


def by_label(values: Values, name: str, label: str) -> dict[str, float]:
    found: Counter[str] = Counter()
    for (its_name, labels), number in values.items():
        if its_name == name:
            found[dict(labels)[label]] += number
    return dict(found)


def a_history(store: Store, clock: FakeClock) -> None:
    """Something of everything."""
    store.workers.register(a_worker("w1", slots=4, hostname=HOSTILE, version="1"), clock.now())
    store.workers.heartbeat(
        a_report(
            "w1", busy=2, completed=7, failed=1, run_s=2.5, cpu_percent=150.0, memory_bytes=5, last_claim_at=clock.now()
        ),
        clock.now(),
    )
    complete(store, clock, leased(store, clock, queue="q", type_=HOSTILE))
    clock.advance(1)
    retry_later(store, clock, leased(store, clock))
    dead_letter(store, clock, leased(store, clock))
    settle(store, clock, leased(store, clock, "w9"), T.SCHEDULED, run_after=clock.now() + 1e6, counts=False)
    store.inbox.enqueue(a_task("waits", queue="empty later"), clock.now())
    store.queues.pause("paused", "ann", clock.now())
    store.queues.limit("q", 5)


def everything(store: Store, clock: FakeClock) -> None:
    """The same, and what only some queues have."""
    a_history(store, clock)
    store.inbox.enqueue(a_task("promised", queue="within_5_minutes"), clock.now())
    hourly = a_schedule("hourly", "0 * * * *")
    store.schedules.declare(hourly, clock.now())
    store.schedules.fire(hourly, clock.now() + 1, 0, clock.now() + 1)
    clock.advance(2)
    complete(store, clock, claim_one(store, clock, queues=("ticks",)))
    canaries = Canaries(store, clock, ["mail"], 60.0)
    canaries.step()
    complete(store, clock, claim_one(store, clock, queues=("mail",)))
    canaries.step()
    store.insight.measure()
    breaker = Breaker("failing", BreakerState.OPEN, clock.now(), "it failed", "test")
    assert store.remedies.put_breaker(breaker, instead_of=store.remedies.breaker("failing"))


def a_schedule(name: str, expression: str) -> Schedule:
    return Schedule(name, expression, "UTC", "latest", a_task("tick", queue="ticks"))


# -- the forms


def test_the_text_is_what_the_parsers_of_prometheus_read(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    everything(store, clock)
    (tmp_path / f"queue_backup_20240101T000000.000000Z{store.keeping.backup_suffix}").write_bytes(b"copy")
    snapshot = collect(
        store, clock, redis=lambda: REDIS, backup_dir=str(tmp_path), slots=lambda: (1, 8), more=[answered]
    )
    opened = {family.name: family for family in parse_openmetrics(render(snapshot, Format.OPENMETRICS))}
    plain = {family.name: family for family in parse_prometheus(render(snapshot, Format.PROMETHEUS))}
    for metric in METRICS:
        if metric.name.startswith("prismq_system_disk") and store.insight.space().total is None:
            continue  # a server's disk cannot be seen from here
        family = opened[metric.family]
        assert family.type == metric.kind.value
        assert family.documentation == metric.help
        assert family.unit == metric.unit
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), sample
        assert {one[:3] for one in map(_hashable, family.samples)} == {
            one[:3] for one in map(_hashable, plain[metric.family if metric.kind != "info" else metric.name].samples)
        }


def _hashable(sample: object) -> tuple[object, ...]:
    name, labels, number, *_ = sample  # type: ignore[misc]
    volatile = "system" in name or ("seconds" in name and not labels) or "database" in name
    return name, tuple(sorted(labels.items())), None if volatile else number


def test_promtool_finds_nothing_to_complain_of(store: Store, clock: FakeClock) -> None:
    promtool = require("promtool", package="prometheus")
    everything(store, clock)
    snapshot = collect(store, clock, redis=lambda: REDIS, slots=lambda: (1, 8), more=[answered])
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=render(snapshot, Format.PROMETHEUS),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    broken = subprocess.run(
        [promtool, "check", "metrics"], input="no metrics at all\n", capture_output=True, text=True, check=False
    )
    assert broken.returncode != 0


def test_names_of_any_kind_come_through_unchanged(engine: Engine, clock: FakeClock) -> None:
    engine.hand("INSERT INTO task_queue (type, queue, payload) VALUES (?, ?, '{}')", (HOSTILE, f"q{HOSTILE}"))
    values = values_of(engine.store, clock)
    assert value(values, "prismq_tasks_enqueued_total", queue=f"q{HOSTILE}", type=HOSTILE) == 1
    assert by_label(values, "prismq_type_tasks", "type") == {HOSTILE: 1}


def test_json_says_the_same(store: Store, clock: FakeClock) -> None:
    a_history(store, clock)
    found = json.loads(text_of(store, clock, Format.JSON))
    [finished] = [one for one in found["metrics"] if one["name"] == "prismq_tasks_finished_total"]
    assert {"labels": {"queue": "q", "type": HOSTILE, "outcome": "completed"}, "value": 1} in finished["samples"]
    [run] = [one for one in found["metrics"] if one["name"] == "prismq_task_run_seconds"]
    assert all(one["buckets"]["+Inf"] == one["count"] for one in run["samples"])


def test_the_answer_has_the_form_that_was_asked_for(store: Store, clock: FakeClock) -> None:
    body, content_type = render_metrics(store, clock, "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    body, content_type = render_metrics(store, clock)
    assert content_type.startswith("text/plain")
    assert b"# EOF" not in body
    assert b"# UNIT" not in body


def test_an_empty_queue_has_figures_too(store: Store, clock: FakeClock) -> None:
    values = values_of(store, clock)
    assert by_label(values, "prismq_workers", "status") == dict.fromkeys(
        ["active", "paused", "draining", "silent", "stopped", "lost"], 0
    )
    assert value(values, "prismq_scheduled_overdue_seconds") == 0
    assert value(values, "prismq_database_size_bytes") > 0


# -- what they say


def test_counts_are_those_of_what_happened(store: Store, clock: FakeClock) -> None:
    a_history(store, clock)
    values = values_of(store, clock)
    assert by_label(values, "prismq_tasks_enqueued_total", "queue") == {"q": 1, "default": 3, "empty later": 1}
    assert by_label(values, "prismq_tasks_finished_total", "outcome") == {
        "completed": 1, "failed": 0, "dead_letter": 1, "cancelled": 0,
    }  # fmt: skip
    assert sum(by_label(values, "prismq_task_retries_total", "type").values()) == 1
    assert sum(by_label(values, "prismq_task_snoozes_total", "type").values()) == 1
    assert by_label(values, "prismq_queue_paused", "queue") == {"q": 0, "default": 0, "empty later": 0, "paused": 1}
    assert by_label(values, "prismq_queue_running_limit", "queue") == {"q": 5}
    assert by_label(values, "prismq_queue_tasks", "status")["queued"] == 1


def test_the_age_of_the_oldest_ready_task_is_there_for_every_queue_and_falls_to_0(
    store: Store, clock: FakeClock
) -> None:
    store.inbox.enqueue(a_task(queue="a"), clock.now())
    store.inbox.enqueue(a_task(queue="b", run_at=clock.now() + 1e6), clock.now())
    clock.advance(30)
    name = "prismq_queue_oldest_ready_seconds"
    assert by_label(values_of(store, clock), name, "queue") == {"a": 30, "b": 0}
    complete(store, clock, claim_one(store, clock))
    assert by_label(values_of(store, clock), name, "queue") == {"a": 0, "b": 0}
    store.upkeep.prune(Retention(0, 0, 0, 0), clock.now() + 1)
    assert by_label(values_of(store, clock), name, "queue") == {"a": 0, "b": 0}


def test_ready_tasks_that_nobody_takes_are_told(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task(), a_task(), a_task(queue="served")], clock.now())
    assert by_label(values_of(store, clock), "prismq_queue_unserved_tasks", "queue") == {"default": 2, "served": 1}
    store.workers.register(a_worker("w1", queues='["served"]', slots=1), clock.now())
    assert by_label(values_of(store, clock), "prismq_queue_unserved_tasks", "queue") == {"default": 2, "served": 0}


def test_a_scheduled_task_that_nobody_makes_ready_is_overdue(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(run_at=clock.now() + 10), clock.now())
    assert value(values_of(store, clock), "prismq_scheduled_overdue_seconds") == 0
    clock.advance(25)
    assert value(values_of(store, clock), "prismq_scheduled_overdue_seconds") == 15


def test_workers_say_what_they_do(store: Store, clock: FakeClock) -> None:
    store.workers.register(a_worker("w1", slots=4, hostname="h", version="9", restarts=2), clock.now())
    started = clock.now()
    clock.advance(10)
    store.workers.heartbeat(
        a_report("w1", slots=4, busy=3, held=5, completed=7, failed=1, retried=2, run_s=2.5, cpu_percent=150.0,
                 memory_bytes=1 << 20, last_claim_at=clock.now()), clock.now(),
    )  # fmt: skip
    store.workers.register(a_worker("w2", status="paused"), clock.now())
    store.workers.register(a_worker("gone"), clock.now())
    store.workers.stop("gone", "stopped", None, clock.now())
    clock.advance(5)
    values = values_of(store, clock)
    me = {"worker_id": "w1"}
    assert value(values, "prismq_worker_info", hostname="h", version="9", **me) == 1
    for name, expected in {
        "up": 1, "slots": 4, "busy_slots": 3, "held_tasks": 5, "task_retries_total": 2, "run_seconds_total": 2.5,
        "restarts": 2, "cpu_usage_ratio": 1.5, "memory_bytes": 1 << 20,
        "start_timestamp_seconds": started, "heartbeat_timestamp_seconds": started + 10,
        "claim_timestamp_seconds": started + 10,
    }.items():  # fmt: skip
        assert value(values, f"prismq_worker_{name}", **me) == pytest.approx(expected, abs=0.002), name
    assert value(values, "prismq_worker_tasks_finished_total", outcome="completed", **me) == 7
    assert value(values, "prismq_worker_tasks_finished_total", outcome="failed", **me) == 1
    statuses = by_label(values, "prismq_workers", "status")
    assert {status: n for status, n in statuses.items() if n} == {"active": 1, "paused": 1, "stopped": 1}
    assert by_label(values, "prismq_worker_up", "worker_id") == {"w1": 1, "w2": 1}

    clock.advance(300)
    values = values_of(store, clock)
    statuses = by_label(values, "prismq_workers", "status")
    assert {status: n for status, n in statuses.items() if n} == {"silent": 2, "stopped": 1}
    assert by_label(values, "prismq_worker_up", "worker_id") == {"w1": 0, "w2": 0}


def test_each_worker_says_how_it_is(store: Store, clock: FakeClock) -> None:
    store.workers.register(a_worker("idle", slots=4), clock.now())
    store.workers.register(a_worker("rests", status="paused"), clock.now())
    store.workers.register(a_worker("gone"), clock.now() - 1000)
    store.inbox.enqueue(a_task(), clock.now())
    for _ in range(12):  # it reports, and takes nothing
        clock.advance(10)
        for name, status in (("idle", "active"), ("rests", "paused")):
            store.workers.heartbeat(a_report(name, status=status, slots=4), clock.now())
    values = values_of(store, clock)
    found = {name: by_label(values, f"prismq_worker_{name}", "worker_id") for name in ("healthy", "up")}
    assert found["healthy"] == {"idle": 0, "rests": 1, "gone": 0}
    assert found["up"] == {"idle": 1, "rests": 1, "gone": 0}
    for name, status in (("idle", "active"), ("rests", "paused"), ("gone", "silent")):
        assert value(values, "prismq_worker_status", worker_id=name, status=status) == 1
    unmoved = by_label(values, "prismq_worker_not_consuming_seconds", "worker_id")
    assert unmoved["idle"] >= 60
    assert (unmoved["rests"], unmoved["gone"]) == (0, 0)
    assert value(values, "prismq_workers_not_consuming") == 1


def test_a_queue_that_is_named_after_its_promise_shows_it(store: Store, clock: FakeClock) -> None:
    for queue in ("within_5_minutes", "mail", "mail_within_2_hours"):
        store.inbox.enqueue(a_task(queue=queue), clock.now())
    found = by_label(values_of(store, clock), "prismq_queue_promise_seconds", "queue")
    assert found == {"within_5_minutes": 300, "mail_within_2_hours": 7200}


def test_what_the_settings_promise_of_a_queue_is_shown_and_wants_slots(store: Store, clock: FakeClock) -> None:
    promises = SloConfig(promises={"mail": 0.5, "within_5_minutes": 10, "unused": 1}).promises
    store.inbox.enqueue_many([a_task(queue="mail") for _ in range(300)], clock.now())
    for lease in claim(store, clock, limit=300):
        complete(store, clock, lease, started_at=clock.now() - 4)
    store.inbox.enqueue(a_task(queue="within_5_minutes"), clock.now())
    store.inbox.enqueue(a_task(queue="other"), clock.now())
    told = json.loads(render_metrics(store, clock, "application/json", promises=promises)[0])["metrics"]
    plain, own = collect(store, clock).samples, collect(store, clock, promises=promises).samples
    assert dict(own["prismq_queue_promise_seconds"]) == {("mail",): 0.5, ("within_5_minutes",): 10}
    assert dict(plain["prismq_queue_promise_seconds"]) == {("within_5_minutes",): 300}
    assert own["prismq_slots_wanted"][0][1] > plain["prismq_slots_wanted"][0][1]
    assert "prismq_queue_promise_seconds" in json.dumps(told)


def test_the_most_losses_of_one_task_are_told_and_not_those_of_all_together(store: Store, clock: FakeClock) -> None:
    """Eight tasks whose worker died at once are no poison; one that was lost twice may be."""

    def found() -> dict[str, float]:
        return by_label(values_of(store, clock), "prismq_task_crashes_max", "type")

    store.inbox.enqueue_many([a_task("many", max_attempts=2) for _ in range(8)], clock.now())
    store.inbox.enqueue(a_task("one", max_attempts=2), clock.now())
    for lease in claim(store, clock, limit=10, worker="gone"):
        start(store, clock, lease)
    assert found() == {"many": 0, "one": 0}
    clock.advance(LEASE_S + 1)
    store.upkeep.expire_leases(clock.now())
    again = claim(store, clock, limit=10, worker="gone")
    assert found() == {"many": 1, "one": 1}
    for lease in again:
        start(store, clock, lease)
        if lease.type == "many":
            complete(store, clock, lease)
    clock.advance(LEASE_S + 1)
    store.upkeep.expire_leases(clock.now())
    assert found() == {"many": 0, "one": 2}, "it is a dead letter now"
    clock.advance(3601)
    assert found() == {"many": 0, "one": 0}


def test_the_longest_run_is_that_of_what_runs_now(store: Store, clock: FakeClock) -> None:
    def found() -> dict[str, float]:
        return by_label(values_of(store, clock), "prismq_task_longest_run_seconds", "type")

    store.inbox.enqueue_many([a_task("a"), a_task("a"), a_task("b")], clock.now())
    first, second, _ = claim(store, clock, limit=3, lease_s=1e6)
    start(store, clock, first)
    clock.advance(40)
    start(store, clock, second)
    clock.advance(20)
    assert found() == {"a": pytest.approx(60, abs=0.01), "b": 0}
    complete(store, clock, first)
    assert found() == {"a": pytest.approx(20, abs=0.01), "b": 0}
    complete(store, clock, second)
    assert found() == {"a": 0, "b": 0}


def test_starts_in_time_are_those_that_the_service_levels_count(store: Store, clock: FakeClock) -> None:
    """90 seconds are no boundary of the histogram."""
    queue = "mail_within_90_seconds"
    for waits_s in (1, 60, 80, 100, 500):
        store.inbox.enqueue_many([a_task(queue=queue), a_task(queue="mail")], clock.now())
        clock.advance(waits_s)
        for lease in claim(store, clock, limit=2, queues=(queue, "mail")):
            complete(store, clock, lease)
    values = values_of(store, clock)
    assert by_label(values, "prismq_queue_starts_in_time_total", "queue") == {queue: 3}
    assert by_label(values, "prismq_task_wait_seconds_count", "queue") == {queue: 5, "mail": 5}
    [level] = [one for one in levels_of(SloConfig(), [queue]) if one.name == "start"]
    assert tally(level, store.insight.outcomes(0, clock.now() + 1), []) == (3, 5)


def test_a_canary_that_does_not_come_back_is_told(store: Store, clock: FakeClock) -> None:
    def figures() -> list[dict[str, float]]:
        values = values_of(store, clock)
        names = ("prismq_canary_waiting_seconds", "prismq_canary_last_success_timestamp_seconds")
        return [by_label(values, name, "queue") for name in names]

    assert figures() == [{}, {}]
    canaries = Canaries(store, clock, ["mail"], 60.0)
    canaries.step()
    clock.advance(45)
    assert figures() == [{"mail": pytest.approx(45, abs=0.01)}, {}]
    complete(store, clock, claim_one(store, clock, queues=("mail",)))
    done = clock.now()
    clock.advance(15)
    assert figures() == [{"mail": 0}, {}], "it is done, though nobody has looked after it since"
    canaries.step()
    clock.advance(5)
    assert figures() == [{"mail": pytest.approx(5, abs=0.01)}, {"mail": pytest.approx(done, abs=0.01)}]


def test_what_the_alerts_are_about_is_told_as_long_as_somebody_looks(store: Store, clock: FakeClock) -> None:
    def told() -> dict[str, float]:
        found = by_label(values_of(store, clock), "prismq_alert_instances", "alert")
        assert set(found) == {alert.name for alert in ALERTS}
        return {name: number for name, number in found.items() if number}

    def alert(rule: str, thing: str, state: str = "firing", clear_since: float | None = None) -> AlertChange:
        now, labels = clock.now(), {"fault": thing}
        return AlertChange(
            AlertRecord(rule, labels, "page", state, 1.0, 0.0, "", "", now, now, clear_since=clear_since, fired_at=now)
        )

    assert told() == {}
    assert store.duties.take(DUTY, "me", 1e6, clock.now())
    changes = [
        alert("DatabaseFault", "bloat"),
        alert("DatabaseFault", "snapshots", "pending"),
        alert("BackupBroken", ""),
        alert("RedisDown", "", clear_since=clock.now()),  # it is well again, and told of for a while
    ]
    assert store.alerts.record(changes, "me", clock.now())
    assert told() == {"DatabaseFault": 2, "BackupBroken": 1}
    clock.advance(121)
    assert told() == {}


def test_what_is_in_hand_or_lost_is_asked_for_only_where_anything_is(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def watch(name: str) -> None:
        real = getattr(store.insight, name)

        def asking(*arguments: Any) -> Any:
            asked.append(name)
            return real(*arguments)

        monkeypatch.setattr(store.insight, name, asking)

    watch("held_tasks")
    watch("crashed_lately")

    def looked() -> list[str]:
        asked.clear()
        collect(store, clock)
        return list(asked)

    complete(store, clock, leased(store, clock))
    assert looked() == []
    store.inbox.enqueue(a_task(max_attempts=1), clock.now())
    start(store, clock, claim_one(store, clock))
    assert looked() == ["held_tasks"]
    clock.advance(LEASE_S + 1)
    store.upkeep.expire_leases(clock.now())
    assert looked() == ["crashed_lately"]


def test_schedules_say_when_they_are_due_and_when_they_last_went_well(store: Store, clock: FakeClock) -> None:
    start = clock.now()
    for name, expression in (("hourly", "0 * * * *"), ("off", "@daily"), ("daily", "30 6 * * *")):
        store.schedules.declare(a_schedule(name, expression), start)
    store.schedules.pause("off", True, start)
    hour = start - start % 3600 + 3600
    values = values_of(store, clock)
    assert value(values, "prismq_schedule_next_due_timestamp_seconds", schedule="hourly") == hour
    assert by_label(values, "prismq_schedule_interval_seconds", "schedule") == {
        "hourly": 3600, "off": 86_400, "daily": 86_400,
    }  # fmt: skip
    assert by_label(values, "prismq_schedule_paused", "schedule") == {"hourly": 0, "off": 1, "daily": 0}
    assert set(by_label(values, "prismq_schedule_next_due_timestamp_seconds", "schedule")) == {"hourly", "daily"}
    assert not by_label(values, "prismq_schedule_last_fire_timestamp_seconds", "schedule")

    clock.advance(hour - start + 5)
    assert value(values_of(store, clock), "prismq_schedule_next_due_timestamp_seconds", schedule="hourly") == hour
    store.schedules.fire(a_schedule("hourly", "0 * * * *"), hour, 0, clock.now())
    values = values_of(store, clock)
    assert value(values, "prismq_schedule_next_due_timestamp_seconds", schedule="hourly") == hour + 3600
    fired = value(values, "prismq_schedule_last_fire_timestamp_seconds", schedule="hourly")
    assert fired == pytest.approx(hour + 5, abs=0.01)
    assert not by_label(values, "prismq_schedule_last_success_timestamp_seconds", "schedule")

    clock.advance(10)
    complete(store, clock, claim_one(store, clock, queues=("ticks",)))
    succeeded = value(values_of(store, clock), "prismq_schedule_last_success_timestamp_seconds", schedule="hourly")
    assert succeeded == pytest.approx(hour + 15, abs=0.01)


def test_a_schedule_whose_run_failed_shows_no_success(store: Store, clock: FakeClock) -> None:
    store.schedules.declare(a_schedule("hourly", "0 * * * *"), clock.now())
    store.schedules.fire(a_schedule("hourly", "0 * * * *"), clock.now() + 1, 0, clock.now() + 1)
    clock.advance(2)
    dead_letter(store, clock, claim_one(store, clock, queues=("ticks",)))
    values = values_of(store, clock)
    assert by_label(values, "prismq_schedule_last_fire_timestamp_seconds", "schedule")
    assert not by_label(values, "prismq_schedule_last_success_timestamp_seconds", "schedule")


def test_the_newest_backup_is_told_of(store: Store, clock: FakeClock, tmp_path: Path) -> None:
    def figures() -> dict[str, float | Histogram]:
        found = collect(store, clock, backup_dir=str(tmp_path)).samples
        return {name: values[0][1] for name, values in found.items() if name.startswith("prismq_backup")}

    assert figures() == {}
    suffix = store.keeping.backup_suffix
    (tmp_path / f"queue_backup_20240101T000000.000000Z{suffix}").write_bytes(b"old")
    (tmp_path / f"queue_backup_scheduled_20240102T000000.000000Z{suffix}").write_bytes(b"newer")
    assert figures() == {
        "prismq_backup_last_success_timestamp_seconds": 1_704_153_600,
        "prismq_backup_size_bytes": 5,
    }


def test_what_is_left_of_the_pool_is_told_on_both_engines(engine: Engine, clock: FakeClock) -> None:
    """PostgreSQL has a pool of its own; on SQLite it is the threads of whoever asks."""
    most = engine.store.insight.connections_max()
    found = collect(engine.store, clock, slots=lambda: (3, 8)).samples["prismq_database_pool_connections"]
    in_use, available = (number for _, number in found)
    if most is None:
        assert (in_use, available) == (3, 5)
        assert "prismq_database_pool_connections" not in collect(engine.store, clock).samples
    else:
        assert isinstance(in_use, int)
        assert available == most - in_use > 0


def test_redis_that_does_not_answer_is_a_figure(store: Store, clock: FakeClock) -> None:
    def down() -> RedisMetrics:
        raise OSError("refused")

    samples = collect(store, clock, redis=down).samples
    assert samples["prismq_redis_up"] == [((), 0)]
    assert "prismq_redis_memory_bytes" not in samples
    assert not any(name.startswith("prismq_redis") for name in collect(store, clock).samples)
    assert by_label(values_of(store, clock), "prismq_redis_keys", "type") == {"string": 4, "list": 1}


# -- histograms


@pytest.mark.parametrize("engine_name", list(ENGINES))
@settings(max_examples=8, deadline=None)
@given(runs=st.lists(st.floats(0.0002, 20_000), min_size=1, max_size=25))
def test_a_histogram_has_each_value_on_its_side_of_every_boundary(
    tmp_path_factory: pytest.TempPathFactory, engine_name: str, runs: list[float]
) -> None:
    clock = FakeClock()
    with ENGINES[engine_name](tmp_path_factory.mktemp("histogram")) as engine:
        store = engine.store
        for run_s in runs:
            lease = leased(store, clock)
            complete(store, clock, lease, started_at=clock.now() - run_s)
        values = values_of(store, clock)
    pair = {"queue": "default", "type": "job"}
    counts = [
        value(values, "prismq_task_run_seconds_bucket", le=str(float(boundary)), **pair) for boundary in BUCKETS_S
    ]
    assert counts == sorted(counts)
    for boundary, count in zip(BUCKETS_S, counts, strict=True):
        surely = sum(run_s <= boundary * (1 - 1.01 * RELATIVE_ERROR) for run_s in runs)
        perhaps = sum(run_s <= boundary * (1 + 1.01 * RELATIVE_ERROR) for run_s in runs)
        assert surely <= count <= perhaps, boundary
    assert value(values, "prismq_task_run_seconds_count", **pair) == len(runs)
    assert value(values, "prismq_task_run_seconds_bucket", le="+Inf", **pair) == len(runs)
    assert value(values, "prismq_task_run_seconds_sum", **pair) == pytest.approx(sum(runs), rel=1e-6, abs=1e-4)


def test_run_times_are_those_of_completed_tasks_and_waits_those_of_every_attempt(
    store: Store, clock: FakeClock
) -> None:
    for end in (complete, dead_letter, retry_later):
        lease = leased(store, clock)
        clock.advance(3)
        end(store, clock, lease)
    values = values_of(store, clock)
    pair = {"queue": "default", "type": "job"}
    assert value(values, "prismq_task_run_seconds_count", **pair) == 1
    assert value(values, "prismq_task_run_seconds_sum", **pair) == 3
    assert value(values, "prismq_task_wait_seconds_count", **pair) == 3


# -- bounds


def test_labels_are_bounded_and_what_is_beyond_is_counted_as_other(store: Store, clock: FakeClock) -> None:
    many = METRIC_PAIRS_MAX + 20
    complete(store, clock, leased(store, clock, queue="zz first"))
    store.upkeep.book(clock.now())
    store.upkeep.fold(clock.now())
    store.inbox.enqueue_many([a_task(f"t{n:04}", queue=f"q{n:04}") for n in range(many)], clock.now())
    values = values_of(store, clock)
    pairs = by_label(values, "prismq_tasks_enqueued_total", "queue")
    assert len(pairs) == METRIC_PAIRS_MAX + 1
    assert pairs["zz first"] == 1  # who was there first keeps its series
    assert pairs["other"] == 21
    queues = by_label(values, "prismq_queue_tasks", "queue")
    assert len(queues) == METRIC_QUEUES_MAX + 1
    assert sum(queues.values()) == many + 1
    assert sum(by_label(values, "prismq_type_tasks", "type").values()) == many + 1
    assert by_label(values, "prismq_metrics_left_out", "label") == {
        "type": 21,
        "queue": 21,
        "worker_id": 0,
        "schedule": 0,
    }

    for n in range(METRIC_WORKERS_MAX + 3):
        store.workers.register(a_worker(f"w{n}"), clock.now())
    values = values_of(store, clock)
    assert len(by_label(values, "prismq_worker_up", "worker_id")) == METRIC_WORKERS_MAX
    assert by_label(values, "prismq_metrics_left_out", "label")["worker_id"] == 3


# -- counters


STEPS = st.sampled_from(
    ["enqueue", "claim", "complete", "retry", "bury", "expire", "hand", "unhand", "delete", "prune", "book", "fold",
     "requeue", "later"]
)  # fmt: skip


@pytest.mark.parametrize("engine_name", list(ENGINES))
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
def test_counters_never_fall_and_gauges_equal_a_recount(
    tmp_path_factory: pytest.TempPathFactory, engine_name: str, steps: list[str]
) -> None:
    """Whatever happens, by workers and by hand, and however old it becomes."""
    clock = FakeClock()
    held = []
    ended: Counter[str] = Counter()
    seen: Values = {}
    with ENGINES[engine_name](tmp_path_factory.mktemp("counters")) as engine:
        store = engine.store
        for number, step in enumerate(steps):
            if step == "enqueue":
                store.inbox.enqueue_many([a_task(queue=f"q{number % 3}", max_attempts=2)] * 3, clock.now())
            elif step == "claim":
                held += claim(store, clock, limit=2)
            elif step in ("complete", "retry", "bury") and held:
                lease = held.pop(0)
                to = {"complete": T.COMPLETED, "retry": T.SCHEDULED, "bury": T.DEAD_LETTER}[step]
                done = settle(store, clock, lease, to, run_after=clock.now() + 5, error=AN_ERROR)
                ended[to.value] += not done.lost
            elif step == "expire":
                clock.advance(LEASE_S)
                for one in store.upkeep.expire_leases(clock.now()):
                    ended["lost"] += 1
                    ended[one.to] += 1
            elif step == "hand":
                at = "'2026-01-01 00:00:00'"
                engine.hand(f"UPDATE task_queue SET status = 'failed', finished_at_utc = {at} WHERE status = 'queued'")
            elif step == "unhand":
                engine.hand("UPDATE task_queue SET status = 'queued', finished_at_utc = NULL WHERE status = 'failed'")
            elif step == "delete":
                store.tasks.delete(TaskFilter(queue="q1"))
            elif step == "prune":
                store.upkeep.prune(Retention(0, 0, 0, 0), clock.now() + 1)
            elif step == "book":
                store.upkeep.book(clock.now())
            elif step == "fold":
                store.upkeep.fold(clock.now() + 500 * 86_400 * (number % 2))
            elif step == "requeue":
                store.tasks.retry(TaskFilter(), clock.now())
            elif step == "later":
                clock.advance(3601)
            values = values_of(store, clock)
            for key, before in seen.items():
                if key[0].startswith(("prismq_task", "prismq_finished")) and key[0] not in GAUGES:
                    assert values[key] >= before, (step, key)
            seen = values
            depth = store.insight.recount()
            statuses = Counter[str]()
            for (_, _, status, _), tasks in depth.items():
                statuses[status] += tasks
            for name in ("prismq_queue_tasks", "prismq_type_tasks"):
                assert {k: v for k, v in by_label(values, name, "status").items() if v} == dict(statuses)
            finished = by_label(values, "prismq_tasks_finished_total", "outcome")
            for outcome in ("completed", "dead_letter"):
                assert finished.get(outcome, 0) == ended[outcome]
            assert sum(by_label(values, "prismq_task_retries_total", "type").values()) == ended["scheduled"]
            assert sum(by_label(values, "prismq_task_leases_lost_total", "type").values()) == ended["lost"]
