"""When a slot's thread takes the turn itself, and when it leaves it to the driver's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.worker.bell import Bell
from prismq.worker.driver import Driver


class Scene:
    """A driver whose step only counts, among slots and endings as a test wants them."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.slots: Any = SimpleNamespace(busy=0, waiting=0, on_idle=None)
        self.journal: Any = SimpleNamespace(pending=0)
        self.steps: list[str] = []
        self.answer = 30.0
        self.changed = self.starved = False
        self.calm = threading.Event()
        self.stepped = threading.Event()
        self.driver = Driver(
            self.step, journal=self.journal, slots=self.slots, bell=self.bell, clock=SYSTEM_CLOCK,
            changed=lambda: self.changed, calm=self.calm.set, starved=lambda: self.starved,
        )  # fmt: skip

    def step(self) -> float:
        self.steps.append(threading.current_thread().name)
        self.journal.pending = 0
        self.stepped.set()
        return self.answer


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.bell.close()


@pytest.mark.parametrize(
    ("pending", "waiting", "busy", "helps"),
    [
        (0, 0, 0, False),  # nothing to write
        (1, 0, 0, True),  # the last one: nobody else will come
        (1, 0, 1, False),  # others still run: their endings are waited for
        (16, 0, 1, True),
        (16, 5, 0, False),  # there is more to run first
        (384, 5, 3, True),
    ],
)
def test_a_slots_thread_helps_when_it_has_run_dry(
    scene: Scene, pending: int, waiting: int, busy: int, helps: bool
) -> None:
    scene.journal.pending, scene.slots.waiting, scene.slots.busy = pending, waiting, busy
    scene.driver.help()
    assert bool(scene.steps) is helps


@pytest.mark.parametrize("starved", [True, False])
@pytest.mark.parametrize("where", ["between two tasks", "on the loop"])
def test_whoever_frees_a_slot_that_the_last_step_missed_has_another_step_made(
    scene: Scene, where: str, starved: bool
) -> None:
    """Its ending was written by that step already, so that nothing else would bring the next one before the poll."""
    scene.starved = starved
    if where == "on the loop":
        scene.slots.on_idle()
    else:
        scene.driver.help()
    assert scene.bell.rung is starved
    assert scene.steps == []


def test_nobody_helps_once_it_is_closed(scene: Scene) -> None:
    scene.driver.close()
    scene.journal.pending = 1
    scene.driver.help()
    assert scene.steps == []


def test_the_own_thread_steps_at_once_when_rung_and_ends_after_a_last_step(scene: Scene) -> None:
    done = threading.Event()
    thread = threading.Thread(target=scene.driver.run, args=(done.is_set,), name="own")
    thread.start()
    assert scene.stepped.wait(30)
    scene.stepped.clear()
    done.set()
    scene.bell.ring()
    thread.join(30)
    assert not thread.is_alive()
    assert set(scene.steps) == {"own"}


def test_a_change_that_nobody_hinted_at_is_seen_and_followed_by_calm(scene: Scene) -> None:
    done = threading.Event()
    thread = threading.Thread(target=scene.driver.run, args=(done.is_set,), name="own")
    thread.start()
    assert scene.stepped.wait(30)
    scene.stepped.clear()
    scene.changed = True
    assert scene.stepped.wait(30)
    scene.changed = False
    assert scene.calm.wait(30)
    done.set()
    scene.bell.ring()
    thread.join(30)


def test_a_step_from_outside_waits_for_the_turn_and_no_longer_than_asked(scene: Scene) -> None:
    inside, leave = threading.Event(), threading.Event()
    step = scene.step

    def slow() -> float:
        inside.set()
        leave.wait(30)
        return step()

    scene.driver._step = slow
    thread = threading.Thread(target=scene.driver.step_now, args=(30,), name="slow")
    thread.start()
    assert inside.wait(30)
    scene.driver.step_now(0.01)
    assert scene.steps == []
    leave.set()
    thread.join(30)
    assert scene.steps == ["slow"]
