"""Kill and stop whatever runs, at random, and look afterwards at what was promised."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from random import Random

import psutil
import pytest

from prismq import PrismQ
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import NewTask
from tests.helpers.history import check_books, problems, supervisors_kills
from tests.helpers.processes import Supervised, look, wait_until, worker_processes

TASKS = 20_000
CHAOS_S = 25.0  # at least; and as long as there is work
DRAIN_S = 90.0
LEASE_S = 2.5


def _task(rng: Random) -> NewTask:
    kind = rng.random()
    if kind < 0.6:
        return NewTask("noop", max_attempts=100)
    if kind < 0.85:
        return NewTask("anap", f'{{"seconds": {rng.uniform(0.001, 0.03):.4f}}}', max_attempts=100)
    return NewTask("nap", f'{{"seconds": {rng.uniform(0.005, 0.05):.4f}}}', max_attempts=100)


class Client(threading.Thread):
    """Enqueues, one by one and in bulk, and remembers what was acknowledged."""

    def __init__(self, database: Path, rng: Random) -> None:
        super().__init__(daemon=True)
        self._q = PrismQ(database)
        self._rng = rng
        self.acknowledged: list[int] = []
        self.refused = 0

    def run(self) -> None:
        while len(self.acknowledged) < TASKS:
            size = self._rng.choice([1, 1, 1, 20, 200])
            news = [_task(self._rng) for _ in range(min(size, TASKS - len(self.acknowledged)))]
            try:
                self.acknowledged += [handle.id for handle in self._q.enqueue_many(news)]
            except QueueDatabaseError:  # a stopped process held the file: nothing was promised
                self.refused += 1
        self._q.close()


class Nemesis:
    """Signals to workers and supervisor, from one seeded generator."""

    def __init__(self, rng: Random, database: Path, env: dict[str, str]) -> None:
        self._rng = rng
        self._database, self._env = database, env
        self.supervisor = self._start()
        self.past: list[Supervised] = []
        self.killed_at: dict[int, float] = {}
        self.done: dict[str, int] = {}
        self._resume: list[tuple[float, int]] = []

    def _start(self) -> Supervised:
        return Supervised(
            self._database, env=self._env, processes=2, concurrency=8, lease_duration_seconds=LEASE_S,
            shutdown_grace_seconds=3, poll_interval_seconds=0.5,
        )  # fmt: skip

    def step(self) -> None:
        self._wake(time.monotonic())
        action = self._rng.choices(
            ["kill worker", "stop worker", "kill supervisor", "stop supervisor", "nothing"], [5, 4, 1, 1, 2]
        )[0]
        if "worker" in action:
            pids = [p.pid for each in (self.supervisor, *self.past[-2:]) for p in worker_processes(each.group)]
            if not pids:
                return
            pid = self._rng.choice(sorted(pids))
        else:
            pid = self.supervisor.pid
        self.done[action] = self.done.get(action, 0) + 1
        if action.startswith("kill"):
            self._kill(pid)
            if action == "kill supervisor":
                self.supervisor.process.wait()
                self.past.append(self.supervisor)
                self.supervisor = self._start()
        elif action.startswith("stop"):
            self._signal(pid, signal.SIGSTOP)
            self._resume.append((time.monotonic() + self._rng.uniform(0.2, 1.6 * LEASE_S), pid))

    def _kill(self, pid: int) -> None:
        if self._signal(pid, signal.SIGKILL):
            self.killed_at[pid] = time.time()

    @staticmethod
    def _signal(pid: int, number: int) -> bool:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def _wake(self, mono: float) -> None:
        for at, pid in list(self._resume):
            if mono >= at:
                self._signal(pid, signal.SIGCONT)
                self._resume.remove((at, pid))

    def calm(self) -> None:
        """No more trouble: whatever is stopped goes on."""
        self._wake(float("inf"))

    def supervisors_kills(self) -> None:
        """Processes that a supervisor killed because they were wedged, from its own log."""
        for pid, at in supervisors_kills([*self.past, self.supervisor]).items():
            self.killed_at.setdefault(pid, at)

    def destroy(self) -> None:
        for one in (*self.past, self.supervisor):
            one.destroy()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_and_stopped_processes_lose_nothing_and_overlap_nothing(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    database, history = tmp_path / "chaos.db", tmp_path / "history"
    history.mkdir()
    with PrismQ(database) as q:
        q.store.check()
    client = Client(database, Random(rng.random()))
    nemesis = Nemesis(Random(rng.random()), database, {"PRISMQ_TEST_HISTORY": str(history)})
    client.start()
    try:
        end = time.monotonic() + CHAOS_S
        while time.monotonic() < end:
            time.sleep(nemesis_pause(rng))
            nemesis.step()
        nemesis.calm()
        wait_until(lambda: not client.is_alive(), "everything is enqueued", DRAIN_S)
        wait_until(lambda: _left(database) == 0, f"all is done; {_left(database)} are left", DRAIN_S, every_s=0.1)
        code = nemesis.supervisor.stop()
        nemesis.supervisors_kills()
    except AssertionError:
        print(nemesis.supervisor.log()[-6000:])
        raise
    finally:
        nemesis.destroy()
    print(f"seed {seed}: {nemesis.done}, refused {client.refused}, rss {psutil.Process().memory_info().rss >> 20} MiB")
    wrong = problems(database, history, client.acknowledged, nemesis.killed_at) + check_books(database)
    assert wrong == [], "\n".join(wrong[:20])
    assert code == 0
    assert sum(nemesis.done.values()) >= 10
    [(completed,)] = look(database, "SELECT count(*) FROM task_queue WHERE status = 'completed'")
    assert completed == len(client.acknowledged) == TASKS
    [(counted,)] = look(database, "SELECT sum(tasks) FROM task_stats WHERE outcome = 'completed'")
    assert counted == TASKS


def nemesis_pause(rng: Random) -> float:
    """Between two blows: long enough for something to get going."""
    return rng.uniform(0.1, 0.9)


def _left(database: Path) -> int:
    unfinished = "('scheduled', 'queued', 'claimed', 'processing')"
    [(left,)] = look(database, f"SELECT count(*) FROM task_queue WHERE status IN {unfinished}")
    return int(left)
