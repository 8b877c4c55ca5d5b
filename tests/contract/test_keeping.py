"""Keeping the database itself, and the archive, as far as every engine does it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prismq.domain.errors import QueueMaintenanceError
from prismq.domain.limits import PRUNE_CHUNK
from prismq.domain.span import AttemptSpans
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Batch, Retention, Store, TaskStory
from tests.helpers.builders import (
    LEASE_S,
    a_line,
    a_task,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    settle,
    start,
    status_of,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

RETENTION = Retention(completed_s=100, failed_s=1000, logs_s=1e6, workers_s=1)


def ended(store: Store, clock: FakeClock, to: TaskStatus = TaskStatus.COMPLETED) -> int:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    settle(store, clock, lease, to)
    return lease.task_id


# -- one at a time


def test_one_at_a_time_is_alone(engine: Engine) -> None:
    other = engine.another()
    with engine.store.keeping.alone("backup") as mine, other.keeping.alone("backup") as theirs:
        assert (mine, theirs) == (True, False)
    with other.keeping.alone("backup") as theirs:
        assert theirs


def test_alone_for_one_thing_is_not_alone_for_another(engine: Engine) -> None:
    other = engine.another()
    with engine.store.keeping.alone("backup") as mine, other.keeping.alone("archive") as theirs:
        assert (mine, theirs) == (True, True)


# -- upkeep


def test_a_new_store_is_whole_and_says_how_big_it_is(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    stats = store.keeping.stats()
    assert stats.page_count > 0
    assert stats.total_bytes == stats.page_count * stats.page_size
    assert store.keeping.integrity_check() == ["ok"]


def test_analyze_and_vacuum_change_no_task(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task() for _ in range(50)], clock.now())
    before = store.tasks.find(TaskFilter())
    store.keeping.analyze()
    store.keeping.vacuum()
    assert store.tasks.find(TaskFilter()) == before


def test_the_checks_of_the_engine_have_names_of_their_own_and_find_nothing_in_a_new_store(
    store: Store, clock: FakeClock
) -> None:
    checks = store.keeping.checks()
    assert len({one.name for one in checks}) == len(checks) > 0
    assert [found for one in checks if one.name != "location" for found in one.run(clock.now())] == []


# -- the books


def test_books_that_are_right_have_nothing_to_mend(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task(), a_task()], clock.now())
    assert store.keeping.compare_books() == {}
    ended(store, clock)
    assert store.keeping.compare_books() == {}
    assert store.keeping.mend_books() == 0


def test_books_that_somebody_spoilt_are_found_and_mended(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task(), a_task(), a_task(priority=1)], clock.now())
    store.upkeep.book(clock.now())
    engine.hand("UPDATE queue_depth SET tasks = tasks + 5 WHERE band = 'normal'")
    store.inbox.enqueue(a_task(), clock.now())  # not booked yet: no fault

    assert store.keeping.compare_books() == {("default", "job", "queued", "normal"): -5}
    assert store.keeping.mend_books() == 1
    assert store.keeping.compare_books() == {}
    assert store.insight.depth() == store.insight.recount()


def test_mending_the_books_keeps_what_others_change_meanwhile(engine: Engine, clock: FakeClock) -> None:
    """The count was made before, and is added, not written: what is enqueued in between is not lost."""
    store = engine.store
    store.inbox.enqueue_many([a_task(), a_task()], clock.now())
    store.upkeep.book(clock.now())
    engine.hand("DELETE FROM queue_depth")
    missing = store.keeping.compare_books()
    other = engine.another()
    other.inbox.enqueue(a_task(), clock.now())
    claim_one(other, clock)

    assert sum(missing.values()) == 2
    store.keeping.mend_books()
    assert store.insight.depth() == store.insight.recount()


def test_two_do_not_mend_the_books_at_once(engine: Engine, clock: FakeClock) -> None:
    engine.store.inbox.enqueue(a_task(), clock.now())
    with engine.another().keeping.alone("books"), pytest.raises(QueueMaintenanceError, match="another process"):
        engine.store.keeping.mend_books()


# -- leases that ran out long ago


def test_only_leases_that_are_overdue_by_so_much_are_returned(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    clock.advance(LEASE_S + 299)
    assert store.upkeep.expire_leases(clock.now(), overdue_s=300) == []
    clock.advance(1)
    [lost] = store.upkeep.expire_leases(clock.now(), overdue_s=300)
    assert lost.task_id == lease.task_id
    # What is written is the time of the return, not that of the lease's end.
    assert store.tasks.logs(lease.task_id)[-1].at_utc == store.tasks.get(lease.task_id).updated_at_utc


# -- the archive


class Shelf:
    """An archiver that keeps what it is handed."""

    def __init__(self) -> None:
        self.stories: list[TaskStory] = []

    def __call__(self, stories: Iterator[TaskStory]) -> None:
        self.stories += stories

    @property
    def ids(self) -> list[int]:
        return [story.task["id"] for story in self.stories]


def test_a_task_is_archived_with_its_attempts_log_and_spans_and_then_deleted(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(payload='{"x": 1}', max_attempts=2), clock.now())
    first = claim_one(store, clock)
    start(store, clock, first)
    store.work.exchange(Batch(logs=[a_line(first, "hello", clock)]), None, clock.now())
    retry_later(store, clock, first, delay_s=1)
    clock.advance(1)
    second = claim_one(store, clock)
    dead_letter(store, clock, second)
    for lease in (first, second):
        text = f'[{{"id": "{lease.attempt:016x}", "name": "task:execute", "start": 1.5, "duration_s": 0.25}}]'
        kept = AttemptSpans(lease.task_id, lease.fencing_token, lease.attempt, f"{lease.attempt:032x}", text)
        store.work.exchange(Batch(spans=[kept]), None, clock.now())
    spans = [one.to_dict() for one in store.logs.spans(first.task_id)]
    log = [line.to_dict() for line in store.tasks.logs(first.task_id)]
    attempts = [one.to_dict() for one in store.tasks.attempts(first.task_id)]
    task = store.tasks.get(first.task_id)
    assert task is not None
    clock.advance(1001)
    shelf = Shelf()

    assert store.upkeep.prune(RETENTION, clock.now(), shelf) == 1
    assert shelf.stories == [TaskStory(task.to_dict(), attempts, log, spans)]
    assert [(one["attempt"], one["spans"][0]["name"]) for one in spans] == [(1, "task:execute"), (2, "task:execute")]
    assert len(attempts) == 2
    assert [line["message"] for line in log] == ["hello"]
    assert store.tasks.get(first.task_id) is None
    assert store.upkeep.prune(RETENTION, clock.now(), shelf) == 0


@pytest.mark.parametrize("to", [TaskStatus.COMPLETED, TaskStatus.FAILED], ids=str)
def test_every_kind_of_ended_task_goes_to_the_archive(store: Store, clock: FakeClock, to: TaskStatus) -> None:
    task_id = ended(store, clock, to)
    store.inbox.enqueue(a_task(retention_s=1.0), clock.now())
    own = claim_one(store, clock)
    complete(store, clock, own)
    clock.advance(1001)
    shelf = Shelf()
    assert store.upkeep.prune(RETENTION, clock.now(), shelf) == 2
    assert sorted(shelf.ids) == sorted([task_id, own.task_id])


def test_nothing_is_deleted_when_the_archive_fails(store: Store, clock: FakeClock) -> None:
    task_id = ended(store, clock)
    clock.advance(101)

    def broken(stories: Iterator[TaskStory]) -> None:
        list(stories)
        raise QueueMaintenanceError("the disk is full")

    with pytest.raises(QueueMaintenanceError, match="full"):
        store.upkeep.prune(RETENTION, clock.now(), broken)
    assert status_of(store, task_id) == "completed"


def test_a_task_that_is_retried_while_it_is_archived_stays(engine: Engine, clock: FakeClock) -> None:
    retried, other = ended(engine.store, clock), ended(engine.store, clock)
    clock.advance(101)
    operator = engine.another()

    def meanwhile(stories: Iterator[TaskStory]) -> None:
        list(stories)
        operator.tasks.retry(TaskFilter(ids=(retried,)), clock.now())

    assert engine.store.upkeep.prune(RETENTION, clock.now(), meanwhile) == 1
    assert status_of(engine.store, retried) == "queued"
    assert engine.store.tasks.get(other) is None


def test_a_task_that_is_changed_by_hand_while_it_is_archived_stays(engine: Engine, clock: FakeClock) -> None:
    changed = ended(engine.store, clock)
    clock.advance(101)

    def meanwhile(stories: Iterator[TaskStory]) -> None:
        list(stories)
        engine.hand("UPDATE task_queue SET status = 'failed'")

    assert engine.store.upkeep.prune(RETENTION, clock.now(), meanwhile) == 0
    assert status_of(engine.store, changed) == "failed"


def test_archiving_goes_in_small_batches_and_hands_over_each_task_once(store: Store, clock: FakeClock) -> None:
    count = PRUNE_CHUNK + 7
    store.inbox.enqueue_many([a_task() for _ in range(count)], clock.now())
    store.tasks.cancel(TaskFilter(), clock.now())
    clock.advance(101)
    shelf = Shelf()
    assert [store.upkeep.prune(RETENTION, clock.now(), shelf) for _ in range(3)] == [PRUNE_CHUNK, 7, 0]
    assert len(shelf.ids) == len(set(shelf.ids)) == count


def test_a_row_that_a_hand_has_spoilt_is_archived_as_it_is(engine: Engine, clock: FakeClock) -> None:
    task_id = ended(engine.store, clock)
    engine.hand("UPDATE task_queue SET payload = '[1]', error_message = 'by hand'")
    clock.advance(101)
    shelf = Shelf()
    assert engine.store.upkeep.prune(RETENTION, clock.now(), shelf) == 1
    assert shelf.stories[0].task["id"] == task_id
