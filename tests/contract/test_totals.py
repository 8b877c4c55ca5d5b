"""Totals since the beginning: what Prometheus takes for counters, so they must never fall."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prismq.domain.sketch import Sketch
from prismq.domain.status import TaskStatus as T
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Retention, Store
from tests.contract.test_upkeep_and_insight import leased, outcomes
from tests.helpers.builders import (
    AN_ERROR,
    a_task,
    claim,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    settle,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import ENGINES, Engine

DAY = 86_400.0
NOTHING_KEPT = Retention(completed_s=0, failed_s=0, logs_s=0, workers_s=0)

Key = tuple[str, str, str]


class Total(NamedTuple):
    tasks: int
    attempts: int
    retried: int
    wait_us: int
    run_us: int
    wait: dict[int, int]
    run: dict[int, int]


def totals(store: Store, clock: FakeClock) -> dict[Key, Total]:
    """Added up, with times in whole microseconds: so must everybody who compares them."""
    entries: dict[Key, list[Any]] = {}
    for one in store.insight.totals(clock.now()):
        entries.setdefault(one[:3], []).append(one)
    return {
        key: Total(
            *(sum(one[column] for one in some) for column in (3, 4, 5)),
            *(sum(round(one[column] * 1e6) for one in some) for column in (6, 7)),
            *(Sketch.merged(one[column] for one in some).bins for column in (8, 9)),
        )
        for key, some in entries.items()
    }


def assert_no_less(after: dict[Key, Total], before: dict[Key, Total]) -> None:
    for key, old in before.items():
        new = after[key]
        assert all(a >= b for a, b in zip(new[:5], old[:5], strict=True)), (key, old, new)
        assert all(new.wait.get(number, 0) >= n for number, n in old.wait.items()), key
        assert all(new.run.get(number, 0) >= n for number, n in old.run.items()), key


def upkeep(store: Store, clock: FakeClock) -> None:
    while store.upkeep.book(clock.now()):
        pass
    while store.upkeep.fold(clock.now()):
        pass


def test_totals_are_the_sums_of_all_that_happened(store: Store, clock: FakeClock) -> None:
    assert store.insight.totals(clock.now()) == []
    lease = leased(store, clock)
    clock.advance(4)
    settle(store, clock, lease, T.SCHEDULED, run_after=clock.now(), error=AN_ERROR, started_at=clock.now() - 3)
    clock.advance(120)
    lease = claim_one(store, clock)
    clock.advance(2)
    complete(store, clock, lease, started_at=clock.now() - 1)
    dead_letter(store, clock, leased(store, clock, queue="q"))
    found = totals(store, clock)

    assert {key: one.tasks for key, one in found.items()} == {
        ("default", "job", "enqueued"): 1,
        ("default", "job", "retried"): 1,
        ("default", "job", "completed"): 1,
        ("q", "job", "enqueued"): 1,
        ("q", "job", "dead_letter"): 1,
    }
    done = found["default", "job", "completed"]
    assert (done.attempts, done.retried, done.wait_us, done.run_us) == (2, 1, 121_000_000, 1_000_000)
    assert sum(done.run.values()) == sum(done.wait.values()) == 1


def test_new_tasks_count_at_once_where_nobody_works(store: Store, clock: FakeClock) -> None:
    for n in (1, 2):
        store.inbox.enqueue(a_task(), clock.now())
        assert totals(store, clock)["default", "job", "enqueued"].tasks == n


def test_totals_equal_the_windows_while_those_are_kept(store: Store, clock: FakeClock) -> None:
    for n in range(60):
        clock.advance(47)
        lease = leased(store, clock, queue=f"q{n % 2}")
        clock.advance(n % 5 + 0.1234567)
        (complete if n % 3 else retry_later)(store, clock, lease)
        if n % 7 == 0:
            upkeep(store, clock)
        if n % 10 == 0:
            found, windows = totals(store, clock), outcomes(store, clock)
            assert {key: one[:3] for key, one in found.items()} == {key: one[3:6] for key, one in windows.items()}
            for key, one in windows.items():
                assert (found[key].wait_us / 1e6, found[key].run_us / 1e6) == pytest.approx(one[6:8], abs=1e-4)
                assert found[key].run == Sketch.from_json(one.run_bins).bins


def test_totals_stay_when_statistics_are_merged_and_dropped(store: Store, clock: FakeClock) -> None:
    for n in range(30):
        lease = leased(store, clock, queue=f"q{n % 2}")
        clock.advance(0.1 * n + 0.7654321)
        (complete if n % 3 else dead_letter)(store, clock, lease)
        clock.advance(40)
    before = totals(store, clock)
    for days in (0, 1, 3, 20, 500):
        clock.advance(days * DAY)
        for _ in range(2):
            upkeep(store, clock)
            assert totals(store, clock) == before
    assert store.insight.outcomes(0, clock.now()) == []

    complete(store, clock, leased(store, clock))
    after = totals(store, clock)
    assert after == before | {key: after[key] for key in after if key[0] == "default"}
    assert after["default", "job", "completed"].tasks == 1


def test_totals_stay_when_tasks_are_deleted(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task(), a_task(), a_task()], clock.now())
    before = totals(store, clock)
    engine.hand("DELETE FROM task_queue WHERE id = 1")
    store.tasks.delete(TaskFilter())
    assert totals(store, clock) == before
    complete(store, clock, leased(store, clock))
    before = totals(store, clock)
    clock.advance(1)
    assert store.upkeep.prune(NOTHING_KEPT, clock.now()) == 1
    assert totals(store, clock) == before


def test_a_task_that_another_one_enqueued_and_deleted_before_it_was_booked_takes_nothing_away(
    engine: Engine, clock: FakeClock
) -> None:
    store, other = engine.store, engine.another()
    complete(store, clock, leased(store, clock))
    before = totals(store, clock)
    other.inbox.enqueue(a_task(), clock.now())
    engine.hand("DELETE FROM task_queue WHERE status = 'queued'")
    assert_no_less(totals(store, clock), before)


def test_what_is_counted_late_into_an_old_minute_is_counted_once(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    at = clock.now()
    complete(store, clock, leased(store, clock))
    clock.advance(70)
    upkeep(store, clock)
    before = totals(store, clock)
    # Claimed by a worker whose clock is a minute behind: it falls into the minute that was added up.
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    late = FakeClock(at)
    complete(store, late, lease)
    once = totals(store, clock)
    assert once["default", "job", "completed"].tasks == before["default", "job", "completed"].tasks + 1
    upkeep(store, clock)
    assert totals(store, clock) == once
    windows = outcomes(store, clock)
    assert windows["default", "job", "completed"].tasks == 2


def test_tasks_ended_by_hand_count_and_never_fall(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task() for _ in range(4)], clock.now())
    engine.hand("UPDATE task_queue SET status = 'completed', finished_at_utc = '2026-01-01 00:00:00' WHERE id = 1")
    engine.hand("UPDATE task_queue SET status = 'failed' WHERE id = 2")  # nobody says when
    before = totals(store, clock)
    assert before["default", "job", "completed"].tasks == 1
    upkeep(store, clock)
    assert_no_less(totals(store, clock), before)
    engine.hand("UPDATE task_queue SET status = 'queued', finished_at_utc = NULL WHERE id = 1")
    engine.hand("UPDATE task_queue SET queue = 'elsewhere', type = 'other'")
    engine.hand("DELETE FROM task_queue WHERE id = 2")
    assert_no_less(totals(store, clock), before)
    claim(store, clock)
    upkeep(store, clock)
    assert_no_less(totals(store, clock), before)


def test_pairs_come_in_the_order_in_which_they_were_first_booked(store: Store, clock: FakeClock) -> None:
    names = ["m", "z", "a", "k", "b"]
    seen: list[str] = []
    for name in names:
        complete(store, clock, leased(store, clock, queue=name))
        if name in "zk":
            upkeep(store, clock)
            clock.advance(60)
        seen = list(dict.fromkeys(one.queue for one in store.insight.totals(clock.now())))
    assert sorted(seen) == sorted(names)
    clock.advance(500 * DAY)
    upkeep(store, clock)
    assert list(dict.fromkeys(one.queue for one in store.insight.totals(clock.now())))[:4] == seen[:4] == names[:4]


def test_a_worker_reports_how_long_its_attempts_ran(store: Store, clock: FakeClock) -> None:
    from tests.helpers.builders import a_report, a_worker

    store.workers.register(a_worker("w1"), clock.now())
    for run_s in (1.5, 0.25):
        assert store.workers.heartbeat(a_report("w1", completed=1, run_s=run_s), clock.now())
    worker = store.workers.get("w1")
    assert worker is not None
    assert worker.run_s == 1.75
    assert [one.run_s for one in store.workers.all()] == [1.75]


# -- windows, whatever they are read from


@pytest.mark.parametrize("engine_name", list(ENGINES))
@settings(max_examples=25, deadline=None)
@given(
    waits=st.lists(st.sampled_from([0, 20, 61, 700, 3000, 9000, DAY, 6 * DAY]), min_size=1, max_size=12),
    windows=st.lists(st.tuples(st.floats(0, 400), st.floats(0, 1)), min_size=1, max_size=8),
    kept_up=st.booleans(),
)
def test_a_window_holds_what_ended_in_it_and_at_most_a_slot_more(
    tmp_path_factory: pytest.TempPathFactory,
    engine_name: str,
    waits: list[float],
    windows: list[tuple[float, float]],
    kept_up: bool,
) -> None:
    clock = FakeClock()
    with ENGINES[engine_name](tmp_path_factory.mktemp("windows")) as engine:
        store, ends = engine.store, []
        for wait_s in waits:
            clock.advance(wait_s)
            complete(store, clock, leased(store, clock))
            ends.append(clock.now())
            if kept_up:
                upkeep(store, clock)
        if not kept_up and len(waits) % 2:
            upkeep(store, clock)
        now = clock.now()
        for age_h, part in windows:
            since = now - age_h * 3600
            until = since + part * (now - since)
            for bins in (True, False):
                found = sum(one.tasks for one in store.insight.outcomes(since, until, only=("completed",), bins=bins))
                surely = sum(since <= at <= until for at in ends)
                # Hours after 14 days, before that ten minutes at most.
                slot_s = 3600 if now - since > 13 * DAY else 600
                perhaps = sum(since - slot_s < at < until + slot_s for at in ends)
                assert surely <= found <= perhaps, (since, until)
        assert sum(one.tasks for one in store.insight.outcomes(0, now, only=("completed",))) == len(ends)


def test_statistics_that_are_old_before_they_are_added_up_count_all_the_same(store: Store, clock: FakeClock) -> None:
    """More of them than one transaction takes in, after a long time in which nobody looked after the queue."""
    many, late = 330, FakeClock(clock.now())
    clock.advance(DAY)
    for one in [clock] * 250 + [late] * 80:  # the oldest come last
        store.inbox.enqueue(a_task(), one.now())
        one.advance(60)
        if one is late:
            store.upkeep.book(one.now())
    clock.advance(500 * DAY)
    while store.upkeep.book(clock.now()):
        pass
    store.upkeep.fold(clock.now())
    assert totals(store, clock)["default", "job", "enqueued"].tasks == many
    upkeep(store, clock)
    assert totals(store, clock)["default", "job", "enqueued"].tasks == many
