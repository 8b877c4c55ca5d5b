"""Operators, workers and supervisors at the same time, each with a store of its own, as processes have."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from threading import Barrier, Thread

from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Batch, Retention, Store
from tests.helpers.builders import AN_ERROR, a_request, a_task, settlement
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

ALL = TaskFilter()
AT_ONCE = Retention(completed_s=-1.0, failed_s=-1.0, logs_s=1e9, workers_s=1e9)


def together(*acts: Callable[[], None]) -> None:
    """All at the same time; what one raises is raised here."""
    barrier, raised = Barrier(len(acts)), []

    def run(act: Callable[[], None]) -> None:
        barrier.wait()
        try:
            act()
        except BaseException as error:
            raised.append(error)

    threads = [Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def work(store: Store, clock: FakeClock, worker: str, rounds: int) -> None:
    """Claim, and settle in whatever order: some complete, some come back, some end otherwise."""
    rng = Random(worker)
    for _ in range(rounds):
        leases = store.work.exchange(Batch(), a_request(worker, limit=30, lease_s=1e6), clock.now()).leases
        rng.shuffle(leases)
        ends = []
        for lease in leases:
            to = rng.choice([TaskStatus.COMPLETED, TaskStatus.SCHEDULED, TaskStatus.FAILED, TaskStatus.QUEUED])
            options = {"run_after": clock.now()} if to is TaskStatus.SCHEDULED else {}
            error = AN_ERROR if to in (TaskStatus.SCHEDULED, TaskStatus.FAILED) else None
            ends.append(settlement(lease, to, clock.now(), error=error, counts=False, **options))
        store.work.exchange(Batch(settlements=ends), None, clock.now())


def operate(store: Store, clock: FakeClock, seed: int, rounds: int) -> None:
    """Act on everything, again and again."""
    rng, now = Random(seed), clock.now()
    acts: list[Callable[[], object]] = [
        lambda: store.tasks.cancel(ALL, now),
        lambda: store.tasks.retry(ALL, now),
        lambda: store.tasks.run_now(ALL, now),
        lambda: store.tasks.reprioritise(ALL, rng.randrange(200), now),
        lambda: store.tasks.cancel(TaskFilter(ids=tuple(rng.sample(range(1, 201), 50))), now),
    ]
    for _ in range(rounds):
        rng.choice(acts)()


def keep_up(store: Store, clock: FakeClock, rounds: int) -> None:
    """What supervisors do."""
    for _ in range(rounds):
        store.upkeep.expire_leases(clock.now(), dead_workers=["w0"], reason="killed")
        store.upkeep.book(clock.now())
        store.upkeep.fold(clock.now())
        store.insight.depth()


def test_operators_workers_and_supervisors_do_not_stand_in_each_others_way(engine: Engine, clock: FakeClock) -> None:
    count = 200
    engine.store.inbox.enqueue_many([a_task(queue=f"q{n % 3}") for n in range(count)], clock.now())
    stores = [engine.another() for _ in range(6)]
    together(
        lambda: work(stores[0], clock, "w0", 25),
        lambda: work(stores[1], clock, "w1", 25),
        lambda: operate(stores[2], clock, 1, 12),
        lambda: operate(stores[3], clock, 2, 12),
        lambda: keep_up(stores[4], clock, 15),
        lambda: keep_up(stores[5], clock, 15),
    )
    assert engine.store.tasks.count(ALL) == count
    assert engine.store.insight.depth() == engine.store.insight.recount()


def test_what_many_prune_and_delete_at_once_goes_once(engine: Engine, clock: FakeClock) -> None:
    count = 900
    engine.store.inbox.enqueue_many([a_task() for _ in range(count)], clock.now())
    engine.store.tasks.cancel(ALL, clock.now())
    stores = [engine.another() for _ in range(4)]
    gone: list[int] = []

    def prune(store: Store) -> None:
        gone.extend(store.upkeep.prune(AT_ONCE, clock.now()) for _ in range(6))

    together(
        lambda: prune(stores[0]),
        lambda: prune(stores[1]),
        lambda: gone.append(stores[2].tasks.delete(ALL)),
        lambda: gone.append(stores[3].tasks.delete(ALL)),
    )
    gone.append(engine.store.tasks.delete(ALL))
    assert sum(gone) == count
    assert engine.store.insight.recount() == {}


def test_each_lost_lease_is_ended_by_one_of_many_reapers(engine: Engine, clock: FakeClock) -> None:
    engine.store.inbox.enqueue_many([a_task() for _ in range(300)], clock.now())
    leases = engine.store.work.exchange(Batch(), a_request("w1", limit=300), clock.now()).leases
    stores = [engine.another() for _ in range(4)]
    clock.advance(1e6)
    ended: list[int] = []

    def reap(store: Store, dead: tuple[str, ...]) -> None:
        for _ in range(3):
            ended.extend(end.task_id for end in store.upkeep.expire_leases(clock.now(), dead_workers=dead))

    together(*(lambda s=store, n=n: reap(s, ("w1",) if n % 2 else ()) for n, store in enumerate(stores)))
    assert sorted(ended) == sorted(lease.task_id for lease in leases)


def test_what_many_fold_at_once_is_counted_once(engine: Engine, clock: FakeClock) -> None:
    stores = [engine.another() for _ in range(4)]

    def enqueue(store: Store) -> None:
        for _ in range(30):
            store.inbox.enqueue_many([a_task() for _ in range(5)], clock.now())

    def fold(store: Store) -> None:
        for _ in range(20):
            store.upkeep.book(clock.now())
            store.upkeep.fold(clock.now())

    together(*(lambda s=s: enqueue(s) for s in stores[:2]), *(lambda s=s: fold(s) for s in stores[2:]))
    while engine.store.upkeep.book(clock.now()):
        pass
    enqueued = [row.tasks for row in engine.store.insight.outcomes(0, clock.now() + 60) if row.outcome == "enqueued"]
    assert sum(enqueued) == 300
