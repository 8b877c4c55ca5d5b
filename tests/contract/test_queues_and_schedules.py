"""Queues as operators see them, and periodic tasks."""

from __future__ import annotations

from dataclasses import replace
from threading import Barrier, Thread

from prismq.domain.task import TaskFilter, json_object
from prismq.storage.contract import Schedule, Store
from tests.helpers.builders import a_task, claim, claim_one, the_task
from tests.helpers.clock import START, FakeClock
from tests.helpers.engines import Engine

# -- queues


def test_all_queues_with_a_task_or_a_setting_are_listed_by_name(store: Store, clock: FakeClock) -> None:
    assert store.queues.all(clock.now()) == []
    store.inbox.enqueue(a_task(queue="b"), clock.now())
    store.inbox.enqueue(a_task("other", queue="b", priority=1), clock.now())
    store.queues.pause("c", "ann", clock.now())
    store.queues.limit("a", 3)
    clock.advance(5)
    a, b, c = store.queues.all(clock.now())

    assert (a.queue, a.max_running, a.paused_at, dict(a.depth)) == ("a", 3, None, {})
    assert (b.queue, dict(b.depth), b.oldest_ready_s) == ("b", {"queued": 2}, 5.0)
    assert (c.queue, c.paused_at, c.paused_by, c.oldest_ready_s) == ("c", START, "ann", None)


def test_a_queue_without_a_task_or_a_setting_is_no_longer_listed(store: Store, clock: FakeClock) -> None:
    store.queues.pause("a", "ann", clock.now())
    store.queues.limit("a", 3)
    store.queues.resume("a")
    assert [info.queue for info in store.queues.all(clock.now())] == ["a"]
    store.queues.limit("a", None)
    store.queues.limit("never limited", None)
    assert store.queues.all(clock.now()) == []


def test_resume_says_whether_the_queue_was_paused(store: Store, clock: FakeClock) -> None:
    assert not store.queues.resume("q")
    store.queues.limit("q", 1)
    assert not store.queues.resume("q")
    store.queues.pause("q", "ann", clock.now())
    assert store.queues.resume("q")
    assert not store.queues.resume("q")
    [info] = store.queues.all(clock.now())
    assert (info.paused_at, info.paused_by, info.max_running) == (None, None, 1)


def test_pausing_twice_keeps_the_first(store: Store, clock: FakeClock) -> None:
    store.queues.pause("q", "ann", clock.now())
    store.queues.pause("q", "bob", clock.advance(9))
    [info] = store.queues.all(clock.now())
    assert (info.paused_at, info.paused_by) == (START, "ann")


def test_running_tasks_of_a_paused_queue_go_on(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    store.queues.pause("default", "ann", clock.now())
    assert [held.task_id for held in store.work.renew(["w1"], 60, clock.now())] == [lease.task_id]


# -- schedules

MINUTE = 60.0


def a_schedule(name: str = "nightly", **options: object) -> Schedule:
    values: dict[str, object] = {
        "expression": "* * * * *", "timezone": "UTC", "missed": "latest",
        "template": a_task("report", queue="q", headers={"a": "b"}, tags='["x"]', priority=3),
    }  # fmt: skip
    return Schedule(name, **{**values, **options})  # type: ignore[arg-type]


def fired(store: Store) -> int:
    return store.tasks.count(TaskFilter(schedule="nightly"))


def test_declared_schedules_are_listed_by_name_as_they_were_given(store: Store, clock: FakeClock) -> None:
    for name in ("b", "a"):
        store.schedules.declare(a_schedule(name), clock.now())
    assert store.schedules.all() == [a_schedule(name, last_slot=clock.now()) for name in ("a", "b")]


def test_a_new_schedule_fires_no_slot_before_now(store: Store, clock: FakeClock) -> None:
    schedule = a_schedule()
    store.schedules.declare(schedule, clock.now())
    assert store.schedules.fire(schedule, clock.now() - MINUTE, 0, clock.now()) is None
    assert fired(store) == 0


def test_a_slot_fires_its_task_once(store: Store, clock: FakeClock) -> None:
    schedule, slot = a_schedule(), clock.now() + MINUTE
    store.schedules.declare(schedule, clock.now())
    clock.advance(MINUTE)
    task_id = store.schedules.fire(schedule, slot, 0, clock.now())
    again = store.schedules.fire(schedule, slot, 0, clock.now())

    assert task_id is not None
    assert again is None
    task = the_task(store, task_id)
    assert (task.type, task.queue, task.priority, task.schedule, task.tags) == ("report", "q", 3, "nightly", '["x"]')
    assert json_object(task.headers)["a"] == "b"
    assert "prismq.slot" in (task.headers or "")
    [kept] = store.schedules.all()
    assert (kept.last_slot, kept.last_task_id) == (slot, task_id)
    assert fired(store) == 1


def test_a_slot_before_one_that_fired_never_fires(store: Store, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    store.schedules.declare(schedule, now)
    assert store.schedules.fire(schedule, now + 2 * MINUTE, 0, now) is not None
    assert store.schedules.fire(schedule, now + MINUTE, 0, now) is None
    assert store.schedules.all()[0].last_slot == now + 2 * MINUTE


def test_a_slot_fires_once_among_many_who_try_at_the_same_time(engine: Engine, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    engine.store.schedules.declare(schedule, now)
    others = [engine.another() for _ in range(4)]
    barrier = Barrier(8)
    answers: list[int | None] = []

    def fire(store: Store) -> None:
        barrier.wait()
        for n in range(1, 6):
            answers.append(store.schedules.fire(schedule, now + n * MINUTE, 0, now))

    threads = [Thread(target=fire, args=(others[n % 4],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = [answer for answer in answers if answer is not None]
    assert len(answers) == 40
    assert len(ids) == len(set(ids)) == fired(engine.store)
    slots = engine.look("SELECT headers FROM task_queue")
    assert len(set(slots)) == len(slots), "no slot has two tasks"
    assert engine.store.schedules.all()[0].last_slot == now + 5 * MINUTE


def test_a_slot_that_fired_before_a_backup_was_restored_does_not_fire_again(engine: Engine, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    engine.store.schedules.declare(schedule, now)
    engine.store.schedules.fire(schedule, now + MINUTE, 0, now)
    engine.hand("UPDATE schedules SET last_slot_utc = '2026-01-01 00:00:00.000'")
    assert engine.store.schedules.fire(schedule, now + MINUTE, 0, now) is None
    assert fired(engine.store) == 1


def test_how_many_slots_were_missed_is_told_to_the_task(store: Store, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    store.schedules.declare(schedule, now)
    task_id = store.schedules.fire(schedule, now + 3 * MINUTE, 2, now)
    assert json_object(the_task(store, task_id or 0).headers)["prismq.missed"] == "2"


def test_skipped_slots_do_not_fire(store: Store, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    store.schedules.declare(schedule, now)
    store.schedules.skip("nightly", now + 2 * MINUTE)
    store.schedules.skip("nightly", now + MINUTE)
    assert store.schedules.fire(schedule, now + 2 * MINUTE, 0, now) is None
    assert store.schedules.fire(schedule, now + 3 * MINUTE, 0, now) is not None


def test_declaring_the_same_again_changes_nothing(engine: Engine, clock: FakeClock) -> None:
    schedule = a_schedule()
    engine.store.schedules.declare(schedule, clock.now())
    before = engine.look("SELECT * FROM schedules")
    clock.advance(1e5)
    engine.store.schedules.declare(schedule, clock.now())
    assert engine.look("SELECT * FROM schedules") == before


def test_a_changed_template_keeps_what_has_fired(store: Store, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    store.schedules.declare(schedule, now)
    task_id = store.schedules.fire(schedule, now + MINUTE, 0, now)
    changed = replace_template(schedule)
    store.schedules.declare(changed, clock.advance(10 * MINUTE))

    [kept] = store.schedules.all()
    assert (kept.last_slot, kept.last_task_id, kept.template.type) == (now + MINUTE, task_id, "other")
    assert store.schedules.fire(changed, now + 2 * MINUTE, 0, clock.now()) is not None


def replace_template(schedule: Schedule) -> Schedule:
    return schedule._replace(template=replace(schedule.template, type="other"))


def test_a_changed_expression_or_zone_fires_no_slot_before_now(store: Store, clock: FakeClock) -> None:
    now = clock.now()
    store.schedules.declare(a_schedule(), now)
    for change in ({"expression": "*/5 * * * *"}, {"expression": "*/5 * * * *", "timezone": "Europe/Berlin"}):
        at = clock.advance(1e4)
        changed = a_schedule(**change)
        store.schedules.declare(changed, at)
        assert store.schedules.fire(changed, at - MINUTE, 0, at) is None
        assert store.schedules.fire(changed, at + MINUTE, 0, at) is not None


def test_a_paused_schedule_does_not_fire_and_does_not_make_up_for_it(store: Store, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    store.schedules.declare(schedule, now)
    assert store.schedules.pause("nightly", True, now)
    assert store.schedules.fire(schedule, now + MINUTE, 0, now) is None
    assert store.schedules.all()[0].paused_at == now
    resumed_at = clock.advance(10 * MINUTE)
    assert store.schedules.pause("nightly", False, resumed_at)

    assert store.schedules.all()[0].paused_at is None
    assert store.schedules.fire(schedule, resumed_at - MINUTE, 0, resumed_at) is None
    assert store.schedules.fire(schedule, resumed_at + MINUTE, 0, resumed_at) is not None


def test_a_schedule_that_is_gone_does_not_fire(store: Store, clock: FakeClock) -> None:
    schedule, now = a_schedule(), clock.now()
    store.schedules.declare(schedule, now)
    assert store.schedules.remove("nightly")
    assert store.schedules.fire(schedule, now + MINUTE, 0, now) is None
    assert store.schedules.all() == []
    assert claim(store, clock) == []


def test_there_is_no_such_schedule_is_false(store: Store, clock: FakeClock) -> None:
    assert not store.schedules.pause("nightly", True, clock.now())
    assert not store.schedules.pause("nightly", False, clock.now())
    assert not store.schedules.remove("nightly")
    store.schedules.skip("nightly", clock.now())
    assert store.schedules.all() == []
