"""How many processes and slots: the arithmetic, the hysteresis, and whole days in a simulation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq import PrismQ
from prismq.config import WorkerConfig
from prismq.config.alerts import SloConfig
from prismq.domain.errors import ConfigurationError
from prismq.domain.promise import Promise
from prismq.domain.status import TaskStatus
from prismq.storage.contract import Batch
from prismq.worker.autoscaler import EVERY_S, Autoscaler, Bounds, Layout, Steadier, layout_for
from prismq.worker.settings import bounds_of, first_layout
from prismq.worker.supervisor import Supervisor
from tests.helpers.builders import a_report, a_request, a_task, a_worker, settlement
from tests.helpers.clock import FakeClock
from tests.helpers.engines import SqliteEngine, sqlite_engine

A_MINUTE = Promise(60.0, 0.95)
PROCESSES = Bounds(1, 10, 4, 4, A_MINUTE)
BOTH = Bounds(1, 10, 2, 32, A_MINUTE)


@pytest.mark.parametrize(
    ("wanted", "present", "bounds", "cpu_bound", "expected"),
    [
        (9, (1, 4), PROCESSES, False, (3, 4)),
        (8, (3, 4), PROCESSES, False, (2, 4)),
        (999, (1, 4), PROCESSES, False, (10, 4)),
        (0, (10, 4), PROCESSES, False, (1, 4)),
        (20, (1, 4), BOTH, False, (1, 20)),  # slots first: they cost nothing
        (20, (1, 4), BOTH, True, (5, 4)),  # unless the processor is what is short
        (100, (4, 8), BOTH, False, (4, 25)),
        (100, (1, 8), BOTH, False, (4, 32)),
        (100, (1, 8), BOTH, True, (10, 10)),  # no more processes are allowed
        (9999, (1, 8), BOTH, False, (10, 32)),
        (16, (4, 25), BOTH, False, (1, 16)),
        (1, (4, 25), BOTH, False, (1, 2)),
    ],
)
def test_the_layout_that_changes_the_least(
    wanted: int, present: tuple[int, int], bounds: Bounds, cpu_bound: bool, expected: tuple[int, int]
) -> None:
    assert layout_for(wanted, Layout(*present), bounds, cpu_bound=cpu_bound) == expected


@given(st.integers(0, 5000), st.integers(1, 10), st.integers(2, 32), st.booleans())
def test_a_layout_is_within_its_bounds_and_enough_where_they_allow_it(
    wanted: int, processes: int, slots: int, cpu_bound: bool
) -> None:
    present = Layout(processes, slots)

    found = layout_for(wanted, present, BOTH, cpu_bound=cpu_bound)

    assert BOTH.clip(found) == found
    assert found.total >= min(wanted, 320)
    if wanted >= present.total:
        assert found.processes >= processes
        assert found.slots >= slots
    else:
        assert found.processes <= processes
        assert found.slots <= slots


def test_it_grows_at_once_by_double_at_most_and_then_lets_the_figures_come_in() -> None:
    steadier = Steadier()

    assert steadier.decide(4, 100, 0.0) == 8
    steadier.changed(0.0)
    assert steadier.decide(8, 100, 5.0) == 8
    assert steadier.decide(8, 100, 10.0) == 16
    assert steadier.decide(1, 2, 20.0) == 2


def test_it_shrinks_when_fewer_were_enough_for_the_whole_window_and_by_half_at_most() -> None:
    steadier = Steadier()
    found = [steadier.decide(20, 2, float(mono)) for mono in range(0, 125, 5)]

    assert found[:24] == [20] * 24
    assert found[24] == 10


def test_a_peak_within_the_window_keeps_the_slots() -> None:
    steadier = Steadier()
    for mono in range(0, 200, 5):
        assert steadier.decide(20, 18 if mono % 100 == 50 else 2, float(mono)) == 20


def test_a_little_too_many_are_left_as_they_are() -> None:
    steadier = Steadier()

    assert {steadier.decide(10, 8, float(mono)) for mono in range(0, 1000, 5)} == {10}


# -- the whole, over the books of a real store


class Plant:
    """Supervisors as the autoscaler knows them, whose slots do nothing but take time."""

    def __init__(self, engine: SqliteEngine, clock: FakeClock, seed: int, bounds: Bounds, sites: int = 1) -> None:
        self.store, self.clock, self.rng = engine.store, clock, Random(seed)
        self.layouts = {f"site{number}": bounds.clip(Layout(1, 4)) for number in range(sites)}
        self.scalers = {
            site: Autoscaler(
                self.store, clock, bounds, supervisor_id=site, queues=None, present=lambda site=site: self.layouts[site]
            )
            for site in self.layouts
        }
        self.history: list[int] = []
        self.waits: list[float] = []
        self.changes = 0
        self._free_at: list[float] = []

    @property
    def slots(self) -> int:
        return sum(layout.total for layout in self.layouts.values())

    def run(self, seconds: float, per_s: float, service_s: float, step_s: float = 1.0) -> None:
        """Time passes while tasks come; a step is short against what tasks take, which it may add to."""
        owed = 0.0
        for step in range(int(seconds / step_s)):
            now = self.clock.now()
            if step % EVERY_S == 0:
                self._report(now)
            owed += per_s * step_s
            for _ in range(int(owed)):
                self.store.inbox.enqueue(a_task(queue="work"), now)
            owed -= int(owed)
            self._work(now, service_s)
            for site, scaler in self.scalers.items() if step % EVERY_S == 0 else ():
                scaler.step()
                if scaler.decision is not None:
                    self.layouts[site] = scaler.decision.layout
                    scaler.done()
                    self.changes += 1
            self.history.append(self.slots)
            self.clock.advance(step_s)

    def _report(self, now: float) -> None:
        for site, layout in self.layouts.items():
            for number in range(12):
                name = f"{site}-{number}"
                if number < layout.processes:
                    self.store.workers.register(a_worker(name, supervisor_id=site, slots=layout.slots), now)
                    self.store.workers.heartbeat(a_report(name, slots=layout.slots, cpu_percent=5.0), now)
                elif self.store.workers.get(name) is not None:
                    self.store.workers.remove(name)

    def _work(self, now: float, service_s: float) -> None:
        """What the free slots take now is booked as done at once, and its slot as taken for its time."""
        self._free_at = [at for at in self._free_at if at > now]
        room = self.slots - len(self._free_at)
        if room <= 0:
            return
        leases = self.store.work.exchange(Batch(), a_request("w", limit=room), now).leases
        batch = Batch()
        for lease in leases:
            took = service_s * self.rng.uniform(0.8, 1.2)
            self._free_at.append(now + took)
            self.waits.append(now - lease.run_after)
            batch.settlements.append(settlement(lease, TaskStatus.COMPLETED, now + took, started_at=now))
        self.store.work.exchange(batch, None, now)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    with sqlite_engine(tmp_path) as engine:
        yield engine


def test_a_load_step_is_met_and_left_again_without_flapping(engine: SqliteEngine, clock: FakeClock, seed: int) -> None:
    plant = Plant(engine, clock, seed, Bounds(1, 10, 4, 4, A_MINUTE))
    plant.run(300, 0.1, 10.0)  # 1 slot busy
    quiet = plant.slots
    plant.waits.clear()

    plant.run(900, 2.0, 10.0)  # 20 slots busy: a step of twenty times
    busy = plant.history[-300:]
    late = [wait for wait in plant.waits[len(plant.waits) // 2 :] if wait > 60]
    changes = plant.changes
    plant.run(900, 0.1, 10.0)

    assert quiet == 4
    assert min(busy) >= 24  # more than the load
    assert len(set(busy)) == 1, "it flaps under a steady load"
    assert late == []
    assert changes <= 5
    assert plant.slots == 4


def test_a_burst_is_caught_up_with_and_never_past_the_bounds(engine: SqliteEngine, clock: FakeClock, seed: int) -> None:
    plant = Plant(engine, clock, seed, Bounds(1, 5, 4, 4, A_MINUTE))
    plant.run(120, 0.1, 5.0)

    for _ in range(400):
        engine.store.inbox.enqueue(a_task(queue="work"), clock.now())
    plant.run(300, 0.1, 5.0)

    assert max(plant.history) == 20
    assert engine.store.queues.all(clock.now())[0].depth.get("queued", 0) == 0
    plant.run(600, 0.1, 5.0)
    assert plant.slots == 4


def test_two_supervisors_share_the_work_and_do_not_double_it(engine: SqliteEngine, clock: FakeClock, seed: int) -> None:
    plant = Plant(engine, clock, seed, Bounds(1, 10, 4, 4, A_MINUTE), sites=2)

    plant.run(900, 2.0, 10.0)

    # Alone one settles at 24 or 28; each may be one process off.
    assert 24 <= plant.slots <= 36
    assert max(plant.history) <= 40
    last = plant.history[-500:]
    assert sum(one != other for one, other in pairwise(last)) <= 1, "they swing"


def test_slots_grow_within_a_process_before_there_are_more(engine: SqliteEngine, clock: FakeClock, seed: int) -> None:
    plant = Plant(engine, clock, seed, Bounds(1, 4, 4, 64, A_MINUTE))

    plant.run(600, 2.0, 10.0)

    assert plant.layouts["site0"].processes == 1
    assert plant.layouts["site0"].slots >= 22


def test_the_settings_promise_of_a_queue_is_what_a_supervisor_scales_to(
    engine: SqliteEngine, clock: FakeClock, tmp_path: Path
) -> None:
    config = WorkerConfig(max_processes=8, concurrency=4, target_wait_seconds=3600)
    promises = SloConfig(promises={"work": 30}).promises
    for _ in range(30):
        engine.store.inbox.enqueue(a_task(queue="work"), clock.now())
    for lease in engine.store.work.exchange(Batch(), a_request("w", limit=10), clock.now()).leases:
        ended = settlement(lease, TaskStatus.COMPLETED, clock.now() + 60, started_at=clock.now())
        engine.store.work.exchange(Batch(settlements=[ended]), None, clock.now())
    clock.advance(600)  # nothing comes any more, and twenty minutes of work wait
    found = []
    with PrismQ(tmp_path / "unused.db") as q, q.rewired(engine.store, clock):
        for given in ({}, {"promises": promises}):
            supervisor = Supervisor(q, "app:q", config, database=None, log_level="INFO", log_json=False, **given)
            supervisor._autoscaler.step()
            decision = supervisor._autoscaler.decision
            found.append(None if decision is None else decision.layout.total)

    assert found == [None, 8]  # four slots have it done within the hour, and not within half a minute


# -- settings


def test_it_is_off_unless_a_maximum_is_set() -> None:
    assert not bounds_of(WorkerConfig()).is_open
    assert first_layout(WorkerConfig(processes=3)) == (3, 8)


def test_it_begins_with_what_is_set_and_else_with_the_fewest() -> None:
    assert first_layout(WorkerConfig(max_processes=8)) == (1, 8)
    assert first_layout(WorkerConfig(max_processes=8, min_processes=2)) == (2, 8)
    assert first_layout(WorkerConfig(max_processes=8, processes=4)) == (4, 8)
    assert first_layout(WorkerConfig(max_concurrency=32)) == (1, 8)
    assert first_layout(WorkerConfig(max_concurrency=4)) == (1, 4)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"min_processes": 2}, "min_processes"),
        ({"min_processes": 5, "max_processes": 4}, "min_processes"),
        ({"processes": 9, "max_processes": 4}, "processes"),
        ({"min_concurrency": 2}, "min_concurrency"),
        ({"concurrency": 64, "max_concurrency": 32}, "concurrency"),
        ({"max_processes": 0}, "max_processes"),
        ({"target_wait_seconds": 0}, "target_wait_seconds"),
    ],
)
def test_bounds_that_contradict_each_other_are_named(settings: dict[str, object], names: str) -> None:
    with pytest.raises(ConfigurationError, match=names):
        WorkerConfig(**settings)  # type: ignore[arg-type]


def test_a_process_is_started_with_settings_that_hold() -> None:
    config = WorkerConfig(max_processes=4, max_concurrency=32, concurrency=8)
    order = {**config.model_dump(mode="json", exclude_unset=True), "concurrency": 20}

    assert WorkerConfig(**json.loads(json.dumps(order))).concurrency == 20
