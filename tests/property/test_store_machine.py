"""Whatever is done to a store, in whatever order, by us and by hand: what must always hold, holds."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from prismq.domain.lease import Lease, Settlement
from prismq.domain.status import TaskStatus
from prismq.domain.strategy import Candidate, SchedulingStrategy, choose
from prismq.domain.task import TaskFilter
from prismq.domain.times import epoch_to_text
from prismq.storage.contract import Batch, Retention
from tests.contract.test_totals import Key, Total, assert_no_less, totals
from tests.helpers.builders import AN_ERROR, LEASE_S, a_request, a_task
from tests.helpers.clock import FakeClock
from tests.helpers.engines import ENGINES
from tests.property.model import ENDED, LEASED, WAITING, Model, ModelTask

QUEUES = st.sampled_from(["a", "b"])
TYPES = st.sampled_from(["x", "y"])
PRIORITIES = st.sampled_from([1, 100, 101])
WORKERS = st.sampled_from(["w1", "w2", "w3"])
DELAYS = st.sampled_from([0.0, 0.0, 5.0, 40.0])
MAX_ATTEMPTS = st.integers(1, 3)
SETTLED_TO = st.sampled_from([s for s in TaskStatus if s is not TaskStatus.CLAIMED])
ANY = st.integers(0, 10**6)  # which of what there is
KEPT = Retention(completed_s=30, failed_s=60, logs_s=30, workers_s=30)

NEW = st.tuples(QUEUES, TYPES, PRIORITIES, DELAYS, MAX_ATTEMPTS)


class StoreMachine(RuleBasedStateMachine):
    """The store beside its model; two stores over one place, as two processes have them."""

    engine_name = "sqlite"

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="prismq-property-"))
        self.context = ENGINES[self.engine_name](self.folder)
        self.engine = self.context.__enter__()
        self.stores = [self.engine.store, self.engine.another()]
        self.clock = FakeClock()
        self.model = Model()
        self.leases: list[Lease] = []  # every one that was ever given out
        self.started: set[tuple[int, int]] = set()
        self.totals: dict[Key, Total] = {}

    def teardown(self) -> None:
        if hasattr(self, "context"):
            self.context.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    @property
    def store(self):
        self.stores.reverse()
        return self.stores[0]

    def _added(self, task_id: int, new: tuple[str, str, int, float, int]) -> None:
        queue, type_, priority, delay, most = new
        now = self.clock.now()
        assert task_id not in self.model.tasks
        status = "scheduled" if delay else "queued"
        self.model.tasks[task_id] = ModelTask(queue, type_, priority, status, most, now + delay)

    def _new(self, new: tuple[str, str, int, float, int]):
        queue, type_, priority, delay, most = new
        return a_task(type_, queue=queue, priority=priority, run_at=self.clock.now() + delay, max_attempts=most)

    # -- putting in

    @rule(new=NEW)
    def enqueue(self, new: tuple[str, str, int, float, int]) -> None:
        self._added(self.store.inbox.enqueue(self._new(new), self.clock.now()).task_id, new)

    @rule(news=st.lists(NEW, min_size=1, max_size=5))
    def enqueue_many(self, news: list[tuple[str, str, int, float, int]]) -> None:
        done = self.store.inbox.enqueue_many([self._new(new) for new in news], self.clock.now())
        for one, new in zip(done, news, strict=True):
            self._added(one.task_id, new)

    @rule(new=NEW, commit=st.booleans())
    def enqueue_in_the_callers_transaction(self, new: tuple[str, str, int, float, int], commit: bool) -> None:
        connection = self.engine.callers_connection()
        with self.store.inbox.transaction(connection):
            task_id = self.store_bound(connection, new)
        if commit:
            connection.commit()
            self._added(task_id, new)
        else:
            connection.rollback()

    def store_bound(self, connection: object, new: tuple[str, str, int, float, int]) -> int:
        for store in self.stores:
            if store.inbox.bound():
                return store.inbox.enqueue(self._new(new), self.clock.now()).task_id
        raise AssertionError("no store is bound")

    # -- by hand

    @rule(type_=TYPES)
    def insert_by_hand(self, type_: str) -> None:
        self.engine.hand("INSERT INTO task_queue (type, payload) VALUES (?, '{}')", (type_,))
        [(task_id,)] = self.engine.look("SELECT max(id) FROM task_queue")
        # The database's own clock is long before ours.
        self.model.tasks[task_id] = ModelTask("default", type_, 100, "queued", 5, 0.0)

    @rule(type_=TYPES, iso=st.booleans())
    def insert_by_hand_for_later(self, type_: str, iso: bool) -> None:
        run_after = self.clock.now() + 20
        text = epoch_to_text(run_after)
        text = text.replace(" ", "T") + "Z" if iso else text
        self.engine.hand("INSERT INTO task_queue (type, payload, run_after_utc) VALUES (?, '{}', ?)", (type_, text))
        [(task_id,)] = self.engine.look("SELECT max(id) FROM task_queue")
        self.model.tasks[task_id] = ModelTask("default", type_, 100, "queued or scheduled", 5, run_after)

    @rule(which=ANY, status=st.sampled_from([*WAITING, *ENDED, *LEASED]))
    def change_a_status_by_hand(self, which: int, status: str) -> None:
        if not self.model.tasks:
            return
        task_id = sorted(self.model.tasks)[which % len(self.model.tasks)]
        self.engine.hand(f"UPDATE task_queue SET status = '{status}' WHERE id = {task_id}")
        task = self.model.tasks[task_id]
        task.status, task.touched = status, True
        self._database_decides(task)

    @rule(which=ANY, queue=QUEUES, priority=PRIORITIES)
    def move_by_hand(self, which: int, queue: str, priority: int) -> None:
        if not self.model.tasks:
            return
        task_id = sorted(self.model.tasks)[which % len(self.model.tasks)]
        self.engine.hand(f"UPDATE task_queue SET queue = '{queue}', priority = {priority} WHERE id = {task_id}")
        self.model.tasks[task_id].queue, self.model.tasks[task_id].priority = queue, priority
        self._database_decides(self.model.tasks[task_id])

    def _database_decides(self, task: ModelTask) -> None:
        """Whether a row changed by hand is due is judged by the database's own clock, which is not ours."""
        if task.status == "queued":
            task.status = "queued or scheduled"

    @rule(which=ANY)
    def delete_by_hand(self, which: int) -> None:
        if not self.model.tasks:
            return
        task_id = sorted(self.model.tasks)[which % len(self.model.tasks)]
        self.engine.hand(f"DELETE FROM task_queue WHERE id = {task_id}")
        del self.model.tasks[task_id]

    # -- taking out

    @rule(
        worker=WORKERS, limit=st.integers(1, 4), strategy=st.sampled_from(list(SchedulingStrategy)),
        queues=st.sampled_from([None, None, ("a",), ("b", "default")]), types=st.sampled_from(["xy", "xy", "x"]),
        seed=st.integers(0, 3),
    )  # fmt: skip
    def claim(
        self,
        worker: str,
        limit: int,
        strategy: SchedulingStrategy,
        queues: tuple[str, ...] | None,
        types: str,
        seed: int,
    ) -> None:
        now, model = self.clock.now(), self.model
        request = a_request(
            worker, limit=limit, strategy=strategy, queues=queues, rng=Random(seed), can_serve=lambda t, _: t in types
        )
        leases = self.store.work.exchange(Batch(), request, now).leases
        model.promote(now)
        ready = model.ready(now, queues, frozenset(types))
        candidates = [Candidate(task_id, task.priority) for task_id, task in sorted(ready.items())]
        expected = choose(candidates, strategy, limit, Random(seed))
        assert [lease.task_id for lease in leases] == [candidate.task_id for candidate in expected]
        for lease in leases:
            task = model.tasks[lease.task_id]
            assert lease.fencing_token == task.token + 1
            assert lease.attempt == task.attempts + 1
            task.token, task.attempts, task.status = lease.fencing_token, lease.attempt, "claimed"
            task.worker, task.lease_until = worker, now + LEASE_S
            self.leases.append(lease)

    def _settle_strange_times(self) -> None:
        """A row written by hand for later is `scheduled` once we have looked at it."""
        for task in self.model.tasks.values():
            if task.status == "queued or scheduled":
                task.status = "queued" if task.run_after <= self.clock.now() else "scheduled"

    @rule(
        which=ANY, to=SETTLED_TO, was=st.sampled_from([TaskStatus.CLAIMED, TaskStatus.PROCESSING]), counts=st.booleans()
    )
    def settle(self, which: int, to: TaskStatus, was: TaskStatus, counts: bool) -> None:
        """Under any lease there ever was, stale ones included, and by holders who are wrong about the past."""
        if not self.leases:
            return
        lease, now = self.leases[-1 - which % min(len(self.leases), 6)], self.clock.now()
        counts = counts or to.value not in WAITING
        if to.value in WAITING and counts and lease.attempt >= lease.max_attempts:
            to = TaskStatus.DEAD_LETTER  # as domain.outcome.judge has it
        entry = Settlement(
            lease, was, to, now, now, now + 10, AN_ERROR if to is not TaskStatus.COMPLETED else None, None, counts
        )
        before = self.engine.look("SELECT * FROM task_queue WHERE id = ?", (lease.task_id,))
        answer = self.store.work.exchange(Batch([entry]), None, now)
        verdict = self.model.settle(lease.task_id, lease.fencing_token, to.value, now, now + 10, counts)
        assert (answer.lost == {(lease.task_id, lease.fencing_token)}) == (verdict == "lost")
        if verdict != "written":
            assert self.engine.look("SELECT * FROM task_queue WHERE id = ?", (lease.task_id,)) == before

    @rule(workers=st.lists(WORKERS, max_size=3, unique=True))
    def renew(self, workers: list[str]) -> None:
        now = self.clock.now()
        answer = self.store.work.renew(workers, LEASE_S, now)
        held = {
            (task_id, task.token)
            for task_id, task in self.model.tasks.items()
            if task.status in LEASED and task.worker in workers
        }
        assert {(one.task_id, one.fencing_token) for one in answer} == held
        for task_id, _ in held:
            self.model.tasks[task_id].lease_until = now + LEASE_S

    # -- time and upkeep

    @rule(seconds=st.sampled_from([1.0, 9.0, 15.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(dead=st.lists(WORKERS, max_size=1))
    def expire(self, dead: list[str]) -> None:
        now = self.clock.now()
        ended = self.store.upkeep.expire_leases(now, dead_workers=dead)
        assert sorted(one.task_id for one in ended) == sorted(self.model.expire(now, tuple(dead)))

    @rule()
    def prune(self) -> None:
        now = self.clock.now()
        gone = [
            task_id
            for task_id, task in self.model.tasks.items()
            if task.finished_at is not None
            and (
                (task.status in ("completed", "cancelled") and task.finished_at < now - KEPT.completed_s)
                or (task.status in ("failed", "dead_letter") and task.finished_at < now - KEPT.failed_s)
            )
        ]
        assert self.store.upkeep.prune(KEPT, now) == len(gone)
        for task_id in gone:
            del self.model.tasks[task_id]

    @rule()
    def book(self) -> None:
        self.store.upkeep.book(self.clock.now())

    @rule(days=st.sampled_from([0, 1, 20, 500]))
    def fold(self, days: int) -> None:
        self.store.upkeep.fold(self.clock.now() + days * 86_400)

    @rule()
    def look_at_the_totals(self) -> None:
        found = totals(self.store, self.clock)
        assert_no_less(found, self.totals)
        self.totals = found
        # Every task that is there was enqueued; where it is now does not matter, for a hand may have moved it.
        assert sum(one.tasks for key, one in found.items() if key[2] == "enqueued") >= len(self.model.tasks)

    # -- operators

    def _act(self, which: TaskFilter, statuses: tuple[str, ...]) -> list[ModelTask]:
        self._settle_strange_times()
        return self._matching(which, statuses)

    def _matching(self, which: TaskFilter, statuses: tuple[str, ...]) -> list[ModelTask]:
        return [
            task
            for task_id, task in self.model.tasks.items()
            if task.status in statuses
            and (not which.ids or task_id in which.ids)
            and (which.queue is None or task.queue == which.queue)
        ]

    FILTERS = st.one_of(
        st.builds(lambda q: TaskFilter(queue=q), QUEUES), st.builds(lambda n: TaskFilter(ids=(n,)), st.integers(1, 12))
    )

    @rule(which=FILTERS)
    def cancel(self, which: TaskFilter) -> None:
        now = self.clock.now()
        done = self.store.tasks.cancel(which, now)
        waiting, leased = self._act(which, WAITING), self._act(which, LEASED)
        assert done == (len(waiting), len(leased))
        for task in waiting:
            task.status, task.finished_at = "cancelled", now
        for task in leased:
            task.asked_to_stop = True

    @rule(which=FILTERS)
    def retry(self, which: TaskFilter) -> None:
        now = self.clock.now()
        done = self.store.tasks.retry(which, now)
        tasks = self._act(which, ENDED)
        assert done == len(tasks)
        for task in tasks:
            task.status, task.attempts, task.crashes, task.run_after = "queued", 0, 0, now
            task.finished_at, task.asked_to_stop, task.worker, task.lease_until = None, False, None, None

    @rule(which=FILTERS)
    def run_now(self, which: TaskFilter) -> None:
        now = self.clock.now()
        done = self.store.tasks.run_now(which, now)
        tasks = self._act(which, ("scheduled",))
        assert done == len(tasks)
        for task in tasks:
            task.status, task.run_after = "queued", now

    @rule(which=FILTERS, priority=PRIORITIES)
    def reprioritise(self, which: TaskFilter, priority: int) -> None:
        done = self.store.tasks.reprioritise(which, priority, self.clock.now())
        tasks = [task for task in self._act(which, WAITING) if task.priority != priority]
        assert done == len(tasks)
        for task in tasks:
            task.priority = priority

    @rule(which=FILTERS)
    def delete(self, which: TaskFilter) -> None:
        done = self.store.tasks.delete(which)
        tasks = self._matching(which, (*WAITING, *ENDED, "queued or scheduled"))
        assert done == len(tasks)
        self.model.tasks = {task_id: task for task_id, task in self.model.tasks.items() if task not in tasks}

    @rule(queue=QUEUES, paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        if paused:
            self.store.queues.pause(queue, "ann", self.clock.now())
            self.model.paused.add(queue)
        else:
            assert self.store.queues.resume(queue) == (queue in self.model.paused)
            self.model.paused.discard(queue)

    # -- what must always hold

    @invariant()
    def every_task_is_there_in_the_status_it_must_have(self) -> None:
        if not hasattr(self, "model"):
            return
        rows = self.engine.look(
            "SELECT id, status, queue, priority, attempts, fencing_token FROM task_queue ORDER BY id"
        )
        for task_id, status, *_ in rows:
            task = self.model.tasks.get(task_id)
            if task is not None and task.status == "queued or scheduled":
                assert status in WAITING
                # Queued before its time it stays until somebody of ours has looked at it.
                if status == "scheduled" or task.run_after <= self.clock.now():
                    task.status = status
        assert [
            (task_id, "queued or scheduled" if self._is_unsettled(task_id) else status, *rest)
            for task_id, status, *rest in rows
        ] == [
            (task_id, task.status, task.queue, task.priority, task.attempts, task.token)
            for task_id, task in sorted(self.model.tasks.items())
        ]

    def _is_unsettled(self, task_id: int) -> bool:
        task = self.model.tasks.get(task_id)
        return task is not None and task.status == "queued or scheduled"

    @invariant()
    def attempts_stay_within_their_maximum(self) -> None:
        if not hasattr(self, "model"):
            return
        for task in self.model.tasks.values():
            assert task.touched or 0 <= task.attempts <= task.max_attempts

    @invariant()
    def the_books_equal_the_table(self) -> None:
        if hasattr(self, "model"):
            assert self.engine.store.insight.depth() == self.engine.store.insight.recount()


StoreMachine.TestCase.settings = settings(
    # Without `explain`: it costs minutes where a step costs a transaction, and says little of a sequence.
    max_examples=60, stateful_step_count=40, deadline=None, phases=[Phase.reuse, Phase.generate, Phase.shrink]
)  # fmt: skip
TestStoreMachine = pytest.mark.timeout(400)(StoreMachine.TestCase)


class PostgresStoreMachine(StoreMachine):
    """The same on a server, with fewer examples: a step costs a round trip there."""

    engine_name = "postgres"


PostgresStoreMachine.TestCase.settings = settings(
    StoreMachine.TestCase.settings, max_examples=15, stateful_step_count=30
)
TestPostgresStoreMachine = pytest.mark.timeout(400)(PostgresStoreMachine.TestCase)
