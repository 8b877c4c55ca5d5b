"""A move that is killed with SIGKILL, anywhere, and run again: every row arrives as it was, once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import NewTask
from prismq.storage.contract import Store
from prismq.storage.contract.transfer import MoveState
from prismq.storage.open import open_store
from tests.helpers.moving import differences, fill, rows_of
from tests.helpers.postgres import server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 12  # a direction
ROOT = Path(__file__).parents[2]
Place = tuple[str, str]


def mover(source: Place, target: Place, step: int = 0, delay_s: float = 0.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.move.mover", *source, *target, str(step), str(delay_s)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def origin(folder: Path) -> Place:
    place = ("sqlite", str(folder / "origin.db"))
    store = open_store(*place)
    store.prepare()
    with store.database.transaction() as connection:  # type: ignore[attr-defined]
        fill(connection, 120, big=20_000)
    store.upkeep.book(SYSTEM_CLOCK.now())
    store.close()
    return place


def new_place(kind: str, folder: Path) -> Place:
    if kind == "sqlite":
        return ("sqlite", str(folder / f"new-{len(list(folder.iterdir()))}.db"))
    return ("postgresql", server().url(server().new_database()))


def copy_of(place: Place, folder: Path) -> Place:
    """Another database with the same in it, to be moved once more."""
    if place[0] == "sqlite":
        copy = folder / f"copy-{len(list(folder.iterdir()))}.db"
        store = open_store(*place)
        store.keeping.back_up(copy)
        store.close()
        return ("sqlite", str(copy))
    name = place[1].rpartition("/")[2]
    return ("postgresql", server().url(server().new_database(template=name)))


@pytest.mark.parametrize(("kind", "to"), [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite")])
def test_killed_at_any_moment_and_run_again_it_is_complete(kind: str, to: str, tmp_path: Path) -> None:
    first = origin(tmp_path)
    if kind == "postgres":
        there = new_place("postgres", tmp_path)
        assert mover(first, there).returncode == 0
        store = open_store(*there)
        store.transfer.reopen(None)  # as if it had always been there
        store.close()
        first = there
    undisturbed = mover(copy_of(first, tmp_path), new_place(to, tmp_path))
    assert undisturbed.returncode == 0, undisturbed.stderr
    steps = int(undisturbed.stdout)

    rng = Random(20250131)
    killed_in: list[MoveState | None] = []
    for number in range(4 * KILLS):
        if len(killed_in) == KILLS:
            break
        source, target = copy_of(first, tmp_path), new_place(to, tmp_path)
        here = open_store(*source)
        before = rows_of(here)
        # Spread over the whole of it, the first step and the last among them; and then at any moment of what follows.
        done = mover(source, target, 1 + round((steps - 1) * (number % KILLS) / (KILLS - 1)), rng.uniform(0, 0.02))
        if done.returncode == 0:  # it was over before
            here.close()
            continue
        assert done.returncode == -signal.SIGKILL, done.stderr
        mark = here.transfer.mark()
        killed_in.append(mark.state if mark is not None else None)
        check_guard(here, killed_in[-1])
        again = mover(source, target, rng.randint(1, steps) if number % 3 == 0 else 0, 0.005)  # some are killed twice
        if again.returncode == -signal.SIGKILL:
            again = mover(source, target)
        assert again.returncode == 0 or "already been moved" in again.stderr, again.stderr

        arrived = open_store(*target)
        assert differences(rows_of(here, arrived), rows_of(arrived, here)) == [], f"killed in {killed_in[-1]}"
        now = rows_of(here)
        assert differences({n: r for n, r in before.items() if n not in BOOKED}, now) == []
        assert arrived.insight.depth() == arrived.insight.recount()
        assert arrived.transfer.mark().state is MoveState.RECEIVED  # type: ignore[union-attr]
        here.close()
        arrived.close()
    assert len(killed_in) == KILLS
    assert {MoveState.COPYING, MoveState.STOPPED} <= set(killed_in)


# What is booked when the source is stopped; the tasks, and everything of them, stay as they are.
BOOKED = {"task_stats", "task_totals"}


def check_guard(source: Store, state: MoveState | None) -> None:
    """A source that was killed while it was stopped stays so; one that was being copied takes writes."""
    try:
        with source.inbox.transaction():
            source.inbox.enqueue(NewTask(type="t", payload="{}"), SYSTEM_CLOCK.now())
            raise _TakenBack
    except _TakenBack:
        assert state in (None, MoveState.COPYING)
    except QueueDatabaseError as error:
        refusal = str(error)
        assert refusal.startswith("this queue ")
        assert state not in (None, MoveState.COPYING)


class _TakenBack(Exception):
    """It was written, and is rolled back: what is there is compared later."""


def test_killed_again_and_again_it_gets_there_all_the_same(tmp_path: Path) -> None:
    source, target = origin(tmp_path), new_place("postgres", tmp_path)
    rng = Random(7)
    kills = 0
    for _ in range(40):
        done = mover(source, target, rng.randint(1, 12), rng.uniform(0, 0.02))
        if done.returncode == 0 or "already been moved" in done.stderr:  # killed when it was done
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
    else:
        assert mover(source, target).returncode == 0
    here, arrived = open_store(*source), open_store(*target)
    assert kills >= 2
    assert differences(rows_of(here, arrived), rows_of(arrived, here)) == []
    here.close()
    arrived.close()
