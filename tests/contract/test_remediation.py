"""Breakers judged, tried and closed; backlogs shed; acts told: driven step by step, on every engine."""

from __future__ import annotations

from random import Random

import pytest

from prismq.domain import events as ev
from prismq.domain.breaker import BreakerRule, BreakerState
from prismq.domain.errors import InvalidArgument
from prismq.domain.status import TaskStatus
from prismq.observability.remediation.board import board
from prismq.observability.remediation.by_hand import close_breaker, open_breaker
from prismq.observability.why import explain
from prismq.storage.contract import Retention, Store
from prismq.worker.acts import ENTRIES_A_MINUTE, Acts
from prismq.worker.housekeeper import Housekeeper
from prismq.worker.reaper import Reaper
from prismq.worker.remedy import Remedy, RemedyPlan, ShedRule
from tests.helpers.builders import (
    AN_ERROR,
    a_report,
    a_task,
    a_worker,
    claim,
    claim_one,
    complete,
    retry_later,
    settle,
    start,
    status_of,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

RULE = BreakerRule(failure_ratio=0.9, attempts_min=10, window_s=120, crashes=3, open_s=60, open_s_max=900)


class Scene:
    """A queue of mails, and what puts it right."""

    def __init__(self, store: Store, clock: FakeClock, plan: RemedyPlan | None = None) -> None:
        self.store, self.clock = store, clock
        self.events: list[ev.Event] = []
        self.acts = Acts(store.remedies, clock, self.events.append)
        self.remedy = Remedy(store, clock, self.acts, plan or RemedyPlan(RULE))
        clock.advance(60 - clock.now() % 60)

    def enqueue(self, number: int, type_: str = "mail", **options: object) -> list[int]:
        return [self.store.inbox.enqueue(a_task(type_, **options), self.clock.now()).task_id for _ in range(number)]

    def fail(self, number: int, type_: str = "mail") -> None:
        self.enqueue(number, type_, max_attempts=1)
        for lease in claim(self.store, self.clock, limit=number, can_serve=lambda name, _: name == type_):
            settle(self.store, self.clock, lease, TaskStatus.DEAD_LETTER, error=AN_ERROR)

    @property
    def breaker(self) -> BreakerState | None:
        found = self.store.remedies.breaker("mail")
        return None if found is None else found.state

    def acts_told(self) -> list[tuple[str, str]]:
        return [(one.act, one.target) for one in self.events if isinstance(one, ev.Remediated)]


@pytest.fixture
def scene(store: Store, clock: FakeClock) -> Scene:
    return Scene(store, clock)


@pytest.mark.parametrize("how", ["its lease runs out", "its supervisor saw it end"])
def test_what_lost_workers_held_stays_where_reclaiming_is_switched_off(scene: Scene, how: str) -> None:
    scene.enqueue(1)
    [lease] = claim(scene.store, scene.clock, "w1")
    off, on = (
        Housekeeper(
            scene.store, scene.clock, Random(1), scene.events.append, lease_s=30,
            retention=Retention(1e9, 1e9, 1e9, 1e9), remedies=RemedyPlan(reclaim=reclaims),
        )
        for reclaims in (False, True)
    )  # fmt: skip
    scene.clock.advance(200 if how == "its lease runs out" else 1)
    for keeper, status in ((off, "claimed"), (on, "queued")):
        for _ in range(60):
            if how == "its lease runs out":
                keeper.step()
            else:
                keeper.reaper.bury(["w1"], "it ended")
            scene.clock.advance(1)
        assert status_of(scene.store, lease.task_id) == status


def test_a_type_that_fails_all_at_once_is_tried_later_and_goes_on(scene: Scene) -> None:
    scene.fail(12)
    scene.fail(12, "other")
    scene.enqueue(5)
    scene.remedy.step()
    assert scene.breaker is BreakerState.OPEN
    assert claim(scene.store, scene.clock) == []

    scene.clock.advance(59)
    scene.remedy.step()
    assert claim(scene.store, scene.clock) == []
    scene.clock.advance(1)
    scene.remedy.step()
    probe = claim_one(scene.store, scene.clock, limit=10)
    scene.remedy.step()
    assert scene.breaker is BreakerState.PROBING
    complete(scene.store, scene.clock, probe)
    scene.remedy.step()

    assert scene.breaker is BreakerState.CLOSED
    assert len(claim(scene.store, scene.clock)) == 4
    assert [act for act, target in scene.acts_told() if target == "mail"] == [
        "breaker_open", "breaker_probe", "breaker_close"
    ]  # fmt: skip
    assert [one.action for one in scene.store.audit.find(target="mail")] == [
        "remediation.breaker_close", "remediation.breaker_probe", "remediation.breaker_open"
    ]  # fmt: skip


def test_a_probe_that_fails_opens_it_again_for_longer(scene: Scene) -> None:
    scene.fail(12)
    scene.enqueue(5)
    scene.remedy.step()
    scene.clock.advance(60)
    scene.remedy.step()
    retry_later(scene.store, scene.clock, claim_one(scene.store, scene.clock))
    scene.clock.advance(5)
    scene.remedy.step()

    breaker = scene.store.remedies.breaker("mail")
    assert breaker is not None
    assert (breaker.state, breaker.trips) == (BreakerState.OPEN, 2)
    assert breaker.probe_at == pytest.approx(scene.clock.now() + 120)


def test_a_probe_that_is_given_back_or_deleted_is_taken_again(scene: Scene) -> None:
    scene.fail(12)
    scene.enqueue(5)
    scene.remedy.step()
    scene.clock.advance(60)
    scene.remedy.step()
    probe = claim_one(scene.store, scene.clock)
    settle(scene.store, scene.clock, probe, TaskStatus.QUEUED, counts=False, started_at=None)
    scene.clock.advance(5)
    scene.remedy.step()

    assert scene.breaker is BreakerState.HALF_OPEN
    assert len(claim(scene.store, scene.clock)) == 1


def test_a_type_whose_tasks_kill_their_workers_waits(scene: Scene) -> None:
    scene.enqueue(4, max_attempts=5)
    reaper = Reaper(scene.store.upkeep, scene.clock, scene.events.append, lease_s=30, acts=scene.acts)
    for lease in claim(scene.store, scene.clock):
        start(scene.store, scene.clock, lease)
    reaper.bury(["w1"], "its process was killed")
    scene.remedy.step()

    assert scene.breaker is BreakerState.OPEN
    assert "lost with their workers" in scene.store.remedies.breaker("mail").reason  # type: ignore[union-attr]


def test_without_the_setting_nothing_opens_by_itself(store: Store, clock: FakeClock) -> None:
    scene = Scene(store, clock, RemedyPlan())
    scene.fail(100)
    scene.remedy.step()

    assert scene.breaker is None
    assert scene.acts_told() == []


def test_of_several_processes_one_judges_and_another_follows_when_it_is_gone(scene: Scene, clock: FakeClock) -> None:
    other = Remedy(scene.store, clock, scene.acts, RemedyPlan(RULE))
    scene.remedy.step()
    scene.fail(12)
    other.step()
    assert scene.breaker is None, "it has not the duty"
    scene.remedy.close()
    other.step()

    assert scene.breaker is BreakerState.OPEN


def test_one_opened_by_hand_waits_for_a_hand_or_for_its_time(scene: Scene) -> None:
    store, clock = scene.store, scene.clock
    [task_id] = scene.enqueue(1)
    store.workers.register(a_worker(slots=4), clock.now())
    open_breaker(store, clock.now(), "mail", by="ada", via="cli", reason="the provider is down")
    clock.advance(1e6)
    scene.remedy.step()
    assert claim(store, clock) == []
    found = explain(store, task_id, clock.now())
    assert found.reasons[0].code == "breaker_open"
    assert "the provider is down" in found.sentence
    assert found.blocked

    assert close_breaker(store, clock.now(), "mail", by="ada", via="cli") is not None
    assert close_breaker(store, clock.now(), "mail", by="ada", via="cli") is None
    open_breaker(store, clock.now(), "mail", by="ada", via="cli", for_s=300)
    store.workers.heartbeat(a_report(), clock.now())
    why = explain(store, task_id, clock.now())
    assert "next probe in 5 m" in why.sentence
    assert (why.expected, why.expected_at) == ("not_before", pytest.approx(clock.now() + 300))
    clock.advance(300)
    scene.remedy.step()
    assert [lease.task_id for lease in claim(store, clock)] == [task_id]
    assert [one.actor for one in store.audit.find(action="remediation.breaker_open")] == ["ada", "ada"]


@pytest.mark.parametrize(
    ("type_", "for_s"), [("", None), ("a" * 300, None), ("a\nb", None), ("mail", 0), ("mail", 1e12)]
)
def test_what_cannot_be_opened_is_refused(store: Store, clock: FakeClock, type_: str, for_s: float | None) -> None:
    with pytest.raises(InvalidArgument):
        open_breaker(store, clock.now(), type_, by="ada", via="cli", for_s=for_s)
    assert store.remedies.breakers() == []


# -- lost workers


def test_what_a_lost_worker_held_is_reclaimed_once_and_told_by_worker(scene: Scene) -> None:
    scene.enqueue(3)
    claim(scene.store, scene.clock, "w1", limit=2)
    claim(scene.store, scene.clock, "w2", limit=2)
    reaper = Reaper(scene.store.upkeep, scene.clock, scene.events.append, lease_s=30, acts=scene.acts)
    for _ in range(16):
        scene.clock.advance(2)
        reaper.step()

    assert sorted(scene.acts_told()) == [("reclaim", "w1"), ("reclaim", "w2")]
    [total] = scene.store.remedies.totals()
    assert (total.act, total.times, total.tasks) == ("reclaim", 2, 3)
    assert {one.target: one.tasks for one in scene.store.audit.find(action="remediation")} == {"w1": 2, "w2": 1}


def test_a_poison_task_is_told_by_its_id(scene: Scene) -> None:
    [task_id] = scene.enqueue(1, max_attempts=1)
    start(scene.store, scene.clock, claim_one(scene.store, scene.clock))
    reaper = Reaper(scene.store.upkeep, scene.clock, scene.events.append, lease_s=30, acts=scene.acts)
    reaper.bury(["w1"], "its process was killed by SIGSEGV")

    assert ("quarantine", str(task_id)) in scene.acts_told()
    assert status_of(scene.store, task_id) == "dead_letter"


def test_a_flood_of_acts_is_counted_whole_and_written_in_part(scene: Scene) -> None:
    for number in range(ENTRIES_A_MINUTE + 10):
        scene.acts.note("restart", f"w{number}", "it was killed")

    [total] = scene.store.remedies.totals()
    assert total.times == ENTRIES_A_MINUTE + 10
    assert len(scene.store.audit.find(action="remediation", limit=100)) == ENTRIES_A_MINUTE
    scene.clock.advance(60)
    scene.acts.note("restart", "later", "it was killed")
    assert scene.store.audit.find(action="remediation")[0].target == "later"


# -- shedding


@pytest.mark.parametrize("drop", ["oldest", "lowest"])
def test_a_backlog_beyond_its_bound_is_cancelled_from_the_end_that_was_asked_for(
    store: Store, clock: FakeClock, drop: str
) -> None:
    scene = Scene(store, clock, RemedyPlan(shed={"default": ShedRule(3, drop)}))  # type: ignore[arg-type]
    low = scene.enqueue(3, priority=200)
    high = scene.enqueue(3, priority=5)
    later = scene.enqueue(1, run_at=clock.now() + 60)
    elsewhere = scene.enqueue(9, queue="other")

    scene.remedy.step()

    cancelled = {task for task in [*low, *high, *later, *elsewhere] if status_of(store, task) == "cancelled"}
    assert cancelled == set(low)  # the oldest, and of the lowest priority, too
    scene.remedy.step()
    [total] = store.remedies.totals()
    assert (total.act, total.times, total.tasks) == ("shed", 1, 3)
    [entry] = store.audit.find(action="remediation.shed")
    assert (entry.target, entry.tasks, entry.which["drop"]) == ("default", 3, drop)


def test_the_oldest_and_the_lowest_are_not_the_same(store: Store, clock: FakeClock) -> None:
    scene = Scene(store, clock, RemedyPlan(shed={"default": ShedRule(2, "lowest")}))
    first = scene.enqueue(2, priority=5)
    last = scene.enqueue(2, priority=200)

    scene.remedy.step()

    assert [status_of(store, task) for task in [*first, *last]] == ["queued", "queued", "cancelled", "cancelled"]


# -- seen


def test_the_board_has_breakers_totals_and_pages_of_acts(scene: Scene) -> None:
    store, clock = scene.store, scene.clock
    for number in range(5):
        scene.acts.note("restart", f"w{number}", "it grew")
    open_breaker(store, clock.now(), "mail", by="ada", via="cli")
    open_breaker(store, clock.now(), "a.closed", by="ada", via="cli")
    close_breaker(store, clock.now(), "a.closed", by="ada", via="cli")

    first = board(store, clock.now(), limit=4)
    second = board(store, clock.now(), limit=4, before_id=first.next_before_id)

    assert [one.type for one in first.breakers] == ["mail", "a.closed"]
    assert [one.type for one in first.shut] == ["mail"]
    assert {one.act: one.times for one in first.totals} == {"restart": 5, "breaker_open": 2, "breaker_close": 1}
    assert [len(one.acts) for one in (first, second)] == [4, 4]
    assert second.next_before_id is None
    document = first.to_dict()
    assert document["acts"][0]["act"] == "breaker_close"
    assert document["breakers"][0]["probe_at"] is None


def test_a_task_that_runs_is_explained_as_before_while_its_type_waits(engine: Engine, scene: Scene) -> None:
    store, clock = scene.store, scene.clock
    store.workers.register(a_worker(slots=4), clock.now())
    store.workers.heartbeat(a_report(), clock.now())
    [task_id] = scene.enqueue(1)
    start(store, clock, claim_one(store, clock))
    open_breaker(store, clock.now(), "mail", by="ada", via="cli")

    assert explain(store, task_id, clock.now()).reasons[0].code == "running"
