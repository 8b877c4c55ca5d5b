"""What is served from the books equals its definition over the rows: the views, and windows of time of any length."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from prismq.domain.sketch import Sketch
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Store
from tests.helpers.builders import a_task, claim, complete, dead_letter, retry_later, settle, start
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

# The views as the reference defines them.
LITERALLY = {
    "v_queue_status_summary": "SELECT status, count(*) AS task_count, avg(attempts) AS avg_attempts,"
    " min(created_at_utc) AS oldest_task, max(created_at_utc) AS newest_task FROM task_queue GROUP BY status",
    "v_queue_type_summary": "SELECT type, status, count(*) AS task_count, avg(priority) AS avg_priority"
    " FROM task_queue GROUP BY type, status",
}
COUNTS = {
    "v_queue_status_summary": ("status, task_count", "SELECT status, count(*) FROM task_queue GROUP BY status"),
    "v_queue_type_summary": ("status, sum(task_count)", "SELECT status, count(*) FROM task_queue GROUP BY status"),
}
HOUR_S, DAY_S = 3600.0, 86_400.0


def rows(engine: Engine, sql: str) -> list[tuple[object, ...]]:
    """Sorted, numbers as floats: averages are decimals on one engine."""
    found = engine.look(sql)
    plain = [tuple(one if isinstance(one, str) or hasattr(one, "year") else float(one) for one in row) for row in found]
    return sorted(plain, key=str)


def views_are_right(engine: Engine) -> None:
    for view, literally in LITERALLY.items():
        assert rows(engine, f"SELECT * FROM {view}") == rows(engine, literally), view
    by_type = "v_queue_type_summary"
    for view, (columns, literally) in COUNTS.items():
        grouped = " GROUP BY status" if view == by_type else ""
        assert rows(engine, f"SELECT {columns} FROM {view}{grouped}") == rows(engine, literally), view


def disturb(engine: Engine, clock: FakeClock, rng: Random, number: int) -> None:
    """Something that workers, operators, upkeep or hands do."""
    store = engine.store
    type_, priority = rng.choice("abc"), rng.choice((100, 100, 100, 5, 200))
    match rng.randrange(12):
        case 0 | 1 | 2:
            store.inbox.enqueue(a_task(type_, queue=rng.choice("xy"), priority=priority), clock.now())
        case 3:
            store.inbox.enqueue_many([a_task(type_, priority=priority) for _ in range(5)], clock.now())
        case 4 | 5:
            for lease in claim(store, clock, limit=rng.randrange(1, 4)):
                rng.choice((complete, dead_letter, retry_later, start))(store, clock, lease)
        case 6:
            engine.hand("INSERT INTO task_queue (type, payload, priority) VALUES (?, '{}', ?)", (type_, priority))
        case 7:
            engine.hand("UPDATE task_queue SET priority = ? WHERE type = ? AND status = 'queued'", (priority, type_))
        case 8:
            engine.hand("UPDATE task_queue SET attempts = attempts + 1 WHERE id = ?", (rng.randrange(1, number + 2),))
        case 9:
            store.tasks.cancel(TaskFilter(type=type_, queue="x"), clock.now())
        case 10:
            store.tasks.delete(TaskFilter(type=type_, statuses=("completed", "cancelled")))
        case _:
            store.upkeep.book(clock.now())
            store.upkeep.fold(clock.now())
            store.upkeep.expire_leases(clock.now())
    clock.advance(rng.choice((0.0, 1.0, 20.0)))


def test_the_views_equal_their_definitions_whatever_happens(engine: Engine, clock: FakeClock, seed: int) -> None:
    rng = Random(seed)
    views_are_right(engine)
    for number in range(150):
        disturb(engine, clock, rng, number)
        if number % 3 == 0:
            views_are_right(engine)
    views_are_right(engine)


def test_a_view_may_be_joined_filtered_and_counted(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task("a", priority=7), a_task("a"), a_task("b")], clock.now())
    settle(store, clock, claim(store, clock, limit=1)[0], TaskStatus.FAILED)
    assert rows(engine, "SELECT count(*) FROM v_queue_status_summary") == [(2.0,)]
    assert rows(engine, "SELECT avg_priority FROM v_queue_type_summary WHERE type = 'a'") == [(100.0,), (7.0,)]
    joined = (
        "SELECT t.type, s.task_count FROM v_queue_type_summary t JOIN v_queue_status_summary s"
        " ON s.status = t.status WHERE t.status = 'failed'"
    )
    assert rows(engine, joined) == [("a", 1.0)]


class Diary:
    """What ended in which minute, kept beside the store."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[float, str]] = Counter()
        self.run_s: Counter[tuple[float, str]] = Counter()

    def note(self, at: float, outcome: str, run_s: float = 0.0) -> None:
        key = (at - at % 60, outcome)
        self.ended[key] += 1
        self.run_s[key] += run_s

    def window(self, since: float, until: float) -> dict[str, tuple[int, float]]:
        found: dict[str, tuple[int, float]] = {}
        for (slot, outcome), tasks in self.ended.items():
            if since <= slot <= until:
                before = found.get(outcome, (0, 0.0))
                found[outcome] = (before[0] + tasks, before[1] + self.run_s[slot, outcome])
        return {outcome: (tasks, pytest.approx(run_s)) for outcome, (tasks, run_s) in found.items()}


def windowed(store: Store, since: float, until: float, *, bins: bool, **which: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, tuple[int, float]] = {}
    for one in store.insight.outcomes(since, until, bins=bins, only=which.get("only"), queues=which.get("queues")):
        if bins and one.outcome == "completed":
            assert Sketch.from_json(one.run_bins).count == one.tasks
        before = found.get(one.outcome, (0, 0.0))
        found[one.outcome] = (before[0] + one.tasks, before[1] + one.run_s)
    return {outcome: sums for outcome, sums in found.items() if sums[0]}


def windows(now: float, rng: Random) -> list[tuple[float, float]]:
    """Windows whose ends lie between slots, however long those have become."""
    hour = now - now % HOUR_S
    recent = now - now % 60
    return [
        (recent - 60 * rng.randrange(1, 120), now),
        (recent - 60 * rng.randrange(60, 170), recent - 60 * rng.randrange(1, 59)),
        (hour - HOUR_S * rng.randrange(1, 40), now),
        (hour - HOUR_S * rng.randrange(200, 500), now),
        (hour - HOUR_S * rng.randrange(30, 450), hour - HOUR_S * rng.randrange(1, 29) - 1),
        (now - 400 * DAY_S, now),
    ]


def test_windows_of_any_length_equal_what_ended_however_old_it_is(store: Store, clock: FakeClock, seed: int) -> None:
    rng, diary = Random(seed), Diary()
    for number in range(260):
        for _ in range(rng.randrange(3)):
            store.inbox.enqueue(a_task(rng.choice("ab")), clock.now())
            diary.note(clock.now(), "enqueued")
        for lease in claim(store, clock, limit=rng.randrange(1, 3)):
            clock.advance(rng.choice((0.5, 2.0)))
            took_s = clock.now() - lease.claimed_at
            if rng.random() < 0.8:
                complete(store, clock, lease)
                diary.note(clock.now(), "completed", took_s)
            else:
                dead_letter(store, clock, lease)
                diary.note(clock.now(), "dead_letter", took_s)
        store.upkeep.book(clock.now())
        if number % 4:  # at times what was appended waits for a reader
            while store.upkeep.fold(clock.now()):
                pass
        if number % 13 == 0:
            for since, until in windows(clock.now(), rng):
                expected = diary.window(since, until)
                assert windowed(store, since, until, bins=True) == expected, (since, until)
                assert windowed(store, since, until, bins=False) == expected, (since, until)
                of_one = {key: value for key, value in expected.items() if key == "completed"}
                assert windowed(store, since, until, bins=True, only=("completed",)) == of_one
                for bins in (True, False):
                    assert windowed(store, since, until, bins=bins, only=("completed", "lost")) == of_one
                    assert windowed(store, since, until, bins=bins, queues=("default", "mail")) == expected
                    assert windowed(store, since, until, bins=bins, queues=("mail",)) == {}
        clock.advance(rng.choice((5.0, 70.0, 2000.0, 4 * HOUR_S, 6 * HOUR_S)))
