"""What the classes of monitoring need of a store: log lines, workers of another making, ends by hand, ages."""

from __future__ import annotations

from collections import Counter

import pytest

from prismq.domain.lease import LogLine
from prismq.domain.limits import BOOK_CHUNK, EXPIRE_CHUNK
from prismq.domain.sketch import Sketch
from prismq.domain.status import TaskStatus
from prismq.domain.times import epoch_to_text, from_epoch
from prismq.domain.worker import WorkerCommand
from prismq.storage.contract import Batch, Outcomes, Store
from tests.helpers.builders import (
    AN_ERROR,
    LEASE_S,
    a_line,
    a_report,
    a_task,
    a_worker,
    claim,
    claim_one,
    complete,
    settle,
    start,
    status_of,
    the_task,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

T = TaskStatus
DAY = 86_400.0


def a_log(task_id: int, message: str, clock: FakeClock, level: str = "INFO") -> LogLine:
    return LogLine(task_id, clock.now(), level, message, '{"n": 1}')


# -- log lines


def test_a_line_is_kept_with_its_task(store: Store, clock: FakeClock) -> None:
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    assert store.logs.add(a_log(task_id, "hello → world", clock, "WARNING"))
    [line] = store.logs.newest(task_id=task_id)

    assert (line.task_id, line.level, line.message, line.attempt) == (task_id, "WARNING", "hello → world", None)
    assert line.get_details_dict() == {"n": 1}
    assert line.at_utc == from_epoch(clock.now())
    assert store.tasks.logs(task_id) == [line]


def test_a_line_of_a_task_that_does_not_exist_is_not_written(store: Store, clock: FakeClock) -> None:
    assert not store.logs.add(a_log(123, "nobody", clock))
    assert store.logs.newest() == []


def test_lines_come_newest_first_by_task_by_level_and_by_number(store: Store, clock: FakeClock) -> None:
    first, second = (store.inbox.enqueue(a_task(), clock.now()).task_id for _ in range(2))
    for n in range(6):
        clock.advance(1)
        store.logs.add(a_log(first if n % 2 else second, f"line {n}", clock, ("DEBUG", "INFO", "ERROR")[n % 3]))

    def messages(**which: object) -> list[int]:
        return [int((line.message or "").split()[1]) for line in store.logs.newest(**which)]  # type: ignore[arg-type]

    assert messages() == [5, 4, 3, 2, 1, 0]
    assert messages(limit=2) == [5, 4]
    assert messages(limit=0) == messages(limit=-1) == []
    assert messages(task_id=first) == [5, 3, 1]
    assert messages(level="ERROR") == [5, 2]
    assert messages(level="DEBUG") == [3, 0]
    assert messages(level="ERROR", limit=1) == [5]
    assert messages(task_id=second, level="ERROR") == [2]
    assert messages(level="NONE") == []


def test_what_a_worker_writes_is_among_the_lines(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    store.work.exchange(Batch(logs=[a_line(lease, "from the worker", clock)]), None, clock.now())
    assert [(line.message, line.attempt) for line in store.logs.newest()] == [("from the worker", 1)]


def test_lines_older_than_a_time_are_deleted_wherever_they_lie(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    store.logs.add(a_log(task_id, "new", clock))
    for n in range(1_500):  # more than one piece
        engine.hand(
            "INSERT INTO task_logs (task_id, at_utc, message) VALUES (1, '{}', 'old')".replace(
                "{}", epoch_to_text(clock.now() - DAY - n)
            )
        )
    store.logs.add(a_log(task_id, "newer", clock))

    assert store.logs.delete_before(clock.now() - DAY) == 1_499
    assert Counter(line.message for line in store.logs.newest()) == {"newer": 1, "old": 1, "new": 1}
    assert store.logs.delete_before(clock.now() - DAY) == 0


# -- workers of another making


def test_a_worker_that_is_touched_with_capabilities_is_there_and_alive(store: Store, clock: FakeClock) -> None:
    assert store.workers.touch("w1", clock.now(), '{"cpu": 8}')
    found = store.workers.get("w1")
    assert found is not None
    assert (found.status, found.get_capabilities_dict()) == ("active", {"cpu": 8})
    assert found.heartbeat_utc == found.started_at_utc == from_epoch(clock.now())


def test_touching_changes_nothing_else_of_a_row(store: Store, clock: FakeClock) -> None:
    store.workers.register(a_worker(hostname="h", pid=7, slots=4, note="n", capabilities='{"a": 1}'), clock.now())
    store.workers.heartbeat(a_report(status="paused", completed=3, slots=4), clock.now())
    before = store.workers.get("w1")
    assert before is not None
    clock.advance(5)

    assert store.workers.touch("w1", clock.now())
    before.heartbeat_utc = from_epoch(clock.now())
    assert store.workers.get("w1") == before
    assert store.workers.touch("w1", clock.now(), '{"b": 2}')
    before.capabilities = '{"b": 2}'
    assert store.workers.get("w1") == before


def test_a_worker_without_a_row_cannot_be_touched_without_capabilities(store: Store, clock: FakeClock) -> None:
    assert not store.workers.touch("nobody", clock.now())
    assert store.workers.all() == []


@pytest.mark.parametrize("ended", ["stopped", "lost"])
def test_a_worker_that_had_ended_and_registers_again_is_active(store: Store, clock: FakeClock, ended: str) -> None:
    store.workers.register(a_worker(), clock.now())
    store.workers.stop("w1", ended, None, clock.now())
    store.workers.touch("w1", clock.advance(1))
    assert store.workers.all()[0].status == ended
    store.workers.touch("w1", clock.advance(1), "{}")
    [found] = store.workers.all()
    assert (found.status, found.stopped_at_utc) == ("active", None)


def test_what_each_worker_has_in_hand_is_counted(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    assert store.workers.in_hand() == {}
    store.inbox.enqueue_many([a_task() for _ in range(6)], clock.now())
    leases = claim(store, clock, "w1", limit=3)
    start(store, clock, leases[0])
    complete(store, clock, leases[1])
    claim(store, clock, "w2", limit=1)
    engine.hand("UPDATE task_queue SET status = 'processing' WHERE id = 6")  # in nobody's name
    assert store.workers.in_hand() == {"w1": 2, "w2": 1}


def test_a_removed_worker_is_gone_with_its_commands_and_its_ends_by_hand(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.workers.touch("w1", clock.now(), "{}")
    store.workers.ask("w1", WorkerCommand.DRAIN, None, "ann", clock.now())
    engine.hand("INSERT INTO task_queue (type, payload, status, locked_by) VALUES ('t', '{}', 'completed', 'w1')")
    assert store.workers.remove("w1")
    assert not store.workers.remove("w1")

    store.workers.touch("w1", clock.now(), "{}")
    assert store.workers.take_commands("w1", clock.now()) == []
    assert [(worker.completed, worker.failed) for worker in store.workers.all()] == [(0, 0)]


def test_forget_takes_workers_that_hold_tasks_only_when_told(store: Store, clock: FakeClock) -> None:
    for worker in ("idle", "holding"):
        store.workers.touch(worker, clock.now(), "{}")
    store.inbox.enqueue(a_task(), clock.now())
    claim_one(store, clock, "holding", lease_s=1e6)
    clock.advance(10)
    store.workers.touch("alive", clock.now(), "{}")

    assert store.workers.forget(clock.now() - 5) == 1
    assert {worker.worker_id for worker in store.workers.all()} == {"holding", "alive"}
    assert store.workers.forget(clock.now() - 5, holders=True) == 1
    assert {worker.worker_id for worker in store.workers.all()} == {"alive"}


# -- taking back


def test_every_lease_of_a_worker_is_taken_back_and_no_other(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task() for _ in range(5)], clock.now())
    first, second = claim(store, clock, "stale", limit=2)
    start(store, clock, first)
    theirs = claim_one(store, clock, "alive")
    engine.hand("UPDATE task_queue SET status = 'processing', locked_by = 'a script' WHERE id = 4")  # without an end
    clock.advance(LEASE_S * 2)  # all have run out: that is not asked here

    assert store.upkeep.take_back([], clock.now(), reason="") == []
    taken = store.upkeep.take_back(["stale", "nobody"], clock.now(), reason="no heartbeat for 300 s")
    assert sorted((one.task_id, one.to) for one in taken) == [(first.task_id, "queued"), (second.task_id, "queued")]
    assert status_of(store, theirs.task_id) == "claimed"
    assert status_of(store, 4) == "processing"
    assert "no heartbeat for 300 s" in (store.tasks.logs(first.task_id)[-1].message or "")
    assert the_task(store, first.task_id).crashes == 1
    assert settle(store, clock, first, T.COMPLETED, was=T.PROCESSING).lost == {(first.task_id, first.fencing_token)}


def test_a_task_taken_back_with_no_attempt_left_is_a_dead_letter(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(max_attempts=1), clock.now())
    start(store, clock, claim_one(store, clock, "stale"))
    [taken] = store.upkeep.take_back(["stale"], clock.now(), reason="it is gone")
    assert taken.to == "dead_letter"
    assert "it is gone" in (the_task(store, taken.task_id).error_message or "")


def test_taking_back_goes_in_bounded_steps(store: Store, clock: FakeClock) -> None:
    count = EXPIRE_CHUNK + 3
    store.inbox.enqueue_many([a_task() for _ in range(count)], clock.now())
    claim(store, clock, "stale", limit=count)
    assert [len(store.upkeep.take_back(["stale"], clock.now(), reason="")) for _ in range(3)] == [EXPIRE_CHUNK, 3, 0]


# -- ends by hand


def text(moment: float) -> str:
    return epoch_to_text(moment)


def ended(store: Store, since: float, until: float) -> dict[str, Outcomes]:
    """By outcome, all queues and types together; without what was enqueued."""
    found: dict[str, Outcomes] = {}
    for row in store.insight.outcomes(since, until):
        if row.outcome == "enqueued":
            continue
        old = found.get(row.outcome, Outcomes("", "", row.outcome, 0, 0, 0, 0.0, 0.0, None, None))
        numbers = [a + b for a, b in zip(old[3:8], row[3:8], strict=True)]
        run = Sketch.merged([old.run_bins, row.run_bins])
        found[row.outcome] = Outcomes("", "", row.outcome, *numbers, None, run.to_json())
    return found


def insert_ended(
    engine: Engine, at: float | None, status: str = "completed", run_s: float | None = 2.0, **more: object
):
    values: dict[str, object] = {"type": "t", "payload": "{}", "status": status, **more}
    if at is not None:
        values["finished_at_utc"] = text(at)
        if run_s is not None:
            values["processing_started_utc"] = text(at - run_s)
    quoted = ", ".join(str(value) if isinstance(value, int) else f"'{value}'" for value in values.values())
    engine.hand(f"INSERT INTO task_queue ({', '.join(values)}) VALUES ({quoted})")


@pytest.mark.parametrize("booked", [True, False], ids=["booked", "new"])
def test_rows_inserted_as_ended_count_at_the_time_they_name(engine: Engine, clock: FakeClock, booked: bool) -> None:
    store, now = engine.store, clock.now()
    insert_ended(engine, now - 60, attempts=3)
    insert_ended(engine, now - 60, run_s=4.0, attempts=1)
    insert_ended(engine, now - 120, "failed", run_s=None, attempts=5)
    insert_ended(engine, now - 120, "dead_letter", attempts=5)
    insert_ended(engine, now - 120, "cancelled")
    insert_ended(engine, now - 2 * DAY)
    insert_ended(engine, None)  # nobody knows when
    insert_ended(engine, None, "queued")
    if booked:
        while store.upkeep.book(now):
            pass

    found = ended(store, now - DAY, now)
    assert {outcome: row.tasks for outcome, row in found.items()} == {
        "completed": 2, "failed": 1, "dead_letter": 1, "cancelled": 1, "used_up": 1,
    }  # fmt: skip
    done = found["completed"]
    assert (done.attempts, done.retried, done.wait_s) == (4, 1, 0.0)
    assert done.run_s == pytest.approx(6.0, abs=0.002)
    assert Sketch.from_json(done.run_bins).count == 2
    assert Sketch.from_json(found["failed"].run_bins).count == 0
    assert ended(store, now - 3 * DAY, now)["completed"].tasks == 3
    assert ended(store, now - 90, now)["completed"].tasks == 2


@pytest.mark.parametrize("booked", [True, False], ids=["booked", "new"])
def test_a_task_that_a_hand_ends_counts_once(engine: Engine, clock: FakeClock, booked: bool) -> None:
    store, now = engine.store, clock.now()
    store.inbox.enqueue_many([a_task(), a_task(), a_task(max_attempts=1)], now)
    if booked:
        store.upkeep.book(now)
    at, began = text(now), text(now - 5)
    engine.hand(
        f"UPDATE task_queue SET status = 'completed', attempts = 2, processing_started_utc = '{began}',"
        f" finished_at_utc = '{at}' WHERE id = 1"
    )
    engine.hand("UPDATE task_queue SET status = 'failed', attempts = 1 WHERE id = 2")
    assert "failed" not in ended(store, now - 60, now)
    engine.hand(f"UPDATE task_queue SET finished_at_utc = '{at}' WHERE id = 2")
    engine.hand(f"UPDATE task_queue SET status = 'failed', attempts = 1, finished_at_utc = '{at}' WHERE id = 3")
    engine.hand("UPDATE task_queue SET priority = 7, finished_at_utc = finished_at_utc")
    engine.hand("DELETE FROM task_queue WHERE id = 1")

    for _ in range(2):
        found = ended(store, now - 60, now)
        assert {outcome: row.tasks for outcome, row in found.items()} == {"completed": 1, "failed": 2, "used_up": 1}
        assert (found["completed"].attempts, found["completed"].retried) == (2, 1)
        assert found["completed"].run_s == pytest.approx(5.0, abs=0.002)
        store.upkeep.book(now)


def test_a_task_that_is_queued_again_by_hand_counts_each_time_it_ends(engine: Engine, clock: FakeClock) -> None:
    store, now = engine.store, clock.now()
    insert_ended(engine, now)
    engine.hand("UPDATE task_queue SET status = 'queued', run_after_utc = '2020-01-01 00:00:00'")
    lease = claim_one(store, clock)
    complete(store, clock, lease)
    assert ended(store, now - 60, now)["completed"].tasks == 2


def test_what_workers_end_is_not_counted_twice(engine: Engine, clock: FakeClock) -> None:
    store, now = engine.store, clock.now()
    store.inbox.enqueue_many([a_task(), a_task(), a_task(max_attempts=1)], now)
    for lease, to in zip(claim(store, clock, limit=3), (T.COMPLETED, T.FAILED, T.FAILED), strict=True):
        settle(store, clock, lease, to, error=AN_ERROR if to is T.FAILED else None)
    engine.hand("UPDATE task_queue SET priority = 3")
    store.upkeep.book(now)
    found = {outcome: row.tasks for outcome, row in ended(store, now - 60, now).items()}
    assert found == {"completed": 1, "failed": 2, "used_up": 1}


@pytest.mark.parametrize("strange", ["", "yesterday", "12:00", "2033-05-18T03:33:20Z"])
def test_a_strange_time_of_an_end_stops_nobody(engine: Engine, clock: FakeClock, strange: str) -> None:
    store = engine.store
    try:
        engine.hand(f"INSERT INTO task_queue (type, payload, status, finished_at_utc) VALUES ('t', '{{}}', 'completed', '{strange}')")  # fmt: skip  # noqa: E501
    except Exception:  # an engine whose column is a time refuses what is none
        assert strange != "2033-05-18T03:33:20Z"
        return
    store.insight.outcomes(0, clock.now() + DAY)
    while store.upkeep.book(clock.now()):
        pass
    clock.advance(2 * DAY)
    store.upkeep.fold(clock.now())
    if strange.endswith("Z"):  # the ISO form of our clock's beginning
        assert ended(store, 0, clock.now())["completed"].tasks == 1


def test_many_ends_by_hand_are_booked_in_bounded_steps(engine: Engine, clock: FakeClock) -> None:
    store, now = engine.store, clock.now()
    store.inbox.enqueue_many([a_task() for _ in range(BOOK_CHUNK + 5)], now)
    while store.upkeep.book(now):
        pass
    engine.hand(f"UPDATE task_queue SET status = 'completed', finished_at_utc = '{text(now)}'")
    steps = list(iter(lambda: store.upkeep.book(now), 0))
    assert max(steps) <= BOOK_CHUNK
    assert len(steps) > 1
    assert ended(store, now - 60, now)["completed"].tasks == BOOK_CHUNK + 5


def test_who_only_reads_has_many_ends_by_hand_booked(engine: Engine, clock: FakeClock) -> None:
    store, now = engine.store, clock.now()
    store.inbox.enqueue_many([a_task() for _ in range(BOOK_CHUNK + 5)], now)
    engine.hand(f"UPDATE task_queue SET status = 'completed', finished_at_utc = '{text(now)}'")
    assert ended(store, now - 60, now)["completed"].tasks == BOOK_CHUNK + 5
    while store.upkeep.book(now):
        pass
    assert ended(store, now - 60, now)["completed"].tasks == BOOK_CHUNK + 5


@pytest.mark.parametrize("booked", [True, False], ids=["booked", "new"])
def test_outcomes_can_be_asked_for_without_bins_or_for_one_only(engine: Engine, clock: FakeClock, booked: bool) -> None:
    store, now = engine.store, clock.now()
    for n in range(5):
        insert_ended(engine, now - 60 * n, run_s=1.0 + n, attempts=n)
        insert_ended(engine, now - 60 * n, "failed", type="other")
    while booked and store.upkeep.book(now):
        pass
    whole = ended(store, now - 600, now)

    def summed(rows: list[Outcomes], *names: str) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for row in rows:
            for name in names:
                found[row.outcome, name] += getattr(row, name)
        del found["enqueued", names[0]]
        return found

    numbers = ("tasks", "attempts", "retried", "run_s")
    without = summed(store.insight.outcomes(now - 600, now, bins=False), *numbers)
    for (outcome, name), value in without.items():
        if outcome != "enqueued":
            assert value == pytest.approx(getattr(whole[outcome], name))
    assert {outcome for outcome, _ in without} - {"enqueued"} == set(whole)
    only = store.insight.outcomes(now - 600, now, only=("completed",))
    assert {row.outcome for row in only} == {"completed"}
    assert Sketch.merged([row.run_bins for row in only]).count == 5
    assert store.insight.outcomes(now - 600, now, only=("snoozed",), bins=False) == []
    without_waits = store.insight.outcomes(now - 600, now, only=("completed",), waits=False)
    assert {row.wait_bins for row in without_waits} == {None}
    assert Sketch.merged([row.run_bins for row in without_waits]).count == 5


def test_what_a_hand_ends_in_a_workers_name_is_the_workers(engine: Engine, clock: FakeClock) -> None:
    store, now = engine.store, clock.now()
    insert_ended(engine, None, locked_by="w1")  # before its row is there
    store.workers.touch("w1", now, "{}")
    store.workers.heartbeat(a_report("w1", completed=10, failed=1), now)
    insert_ended(engine, now, "failed", locked_by="w1")
    insert_ended(engine, now, "dead_letter", locked_by="w1")
    insert_ended(engine, now, "cancelled", locked_by="w1")
    insert_ended(engine, now, locked_by="w2")
    insert_ended(engine, now)
    store.inbox.enqueue(a_task(), now)
    claim_one(store, clock, "w1")
    engine.hand("UPDATE task_queue SET status = 'completed' WHERE status = 'claimed'")
    engine.hand(f"UPDATE task_queue SET finished_at_utc = '{text(now)}' WHERE finished_at_utc IS NULL")

    for _ in range(2):
        [worker] = store.workers.all()
        assert worker == store.workers.get("w1")
        assert (worker.completed, worker.failed) == (12, 3)
        store.upkeep.book(now)


# -- ages


def test_the_oldest_queued_task_counts_since_it_was_enqueued(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    assert store.insight.oldest_queued_s(clock.now()) is None
    store.inbox.enqueue(a_task(run_at=clock.now() + 1e6), clock.now())
    assert store.insight.oldest_queued_s(clock.now()) is None
    store.inbox.enqueue(a_task(queue="q", priority=200), clock.now())
    clock.advance(30)
    store.inbox.enqueue(a_task(priority=1), clock.now())
    clock.advance(10)
    assert store.insight.oldest_queued_s(clock.now()) == 40.0
    engine.hand(f"INSERT INTO task_queue (type, payload, created_at_utc) VALUES ('t', '{{}}', '{text(clock.now() - 99)}')")  # noqa: E501  # fmt: skip
    assert store.insight.oldest_queued_s(clock.now()) == pytest.approx(99.0, abs=0.002)
    assert claim(store, clock)
    assert store.insight.oldest_queued_s(clock.now()) is None
