"""Supervisors and workers that are killed, stopped, told to end, or never start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from prismq import PrismQ, TaskFailed
from prismq.storage.sqlite.schema import migrations
from tests.fault import apps
from tests.helpers.history import read
from tests.helpers.processes import Supervised, look, supervised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
WAIT_S = 40.0


def all_registered(supervisors: list[Supervised]) -> bool:
    """Whether each has a worker."""
    return all(one.registered() for one in supervisors)


def _runs(history: Path, task_id: int) -> int:
    return sum(run.task_id == task_id for run in read(history))


def _env(history: Path) -> dict[str, str]:
    return {"PRISMQ_TEST_HISTORY": str(history)}


def test_a_killed_worker_is_replaced_and_its_task_runs_again_at_once(q: PrismQ, database: Path, history: Path) -> None:
    with supervised(database, env=_env(history), lease_duration_seconds=60) as supervisor:
        first = supervisor.one_worker(WAIT_S)
        handle = apps.nap.enqueue(2.0)
        wait_until(lambda: _runs(history, handle.id) == 1, "it runs", WAIT_S)
        os.kill(first, signal.SIGKILL)
        began = time.monotonic()
        assert handle.result(WAIT_S) == 2.0
        assert time.monotonic() - began < 20, "its lease of 60 s was waited for"
        assert _runs(history, handle.id) == 2
        [(outcome, message)] = look(database, "SELECT outcome, error_message FROM task_attempts")
        assert outcome == "lost"
        assert "SIGKILL" in message
        assert supervisor.stop() == 0
        rows = dict(look(database, "SELECT status, restarts FROM workers"))
        assert rows == {"lost": 0, "stopped": 1}


def _stop_one_in_a_task(supervisor: Supervised, history: Path, restarts: int) -> None:
    pid = supervisor.one_worker(WAIT_S)
    handle = apps.nap.enqueue(0.5)
    wait_until(lambda: _runs(history, handle.id) == 1, "it runs", WAIT_S)
    os.kill(pid, signal.SIGSTOP)
    assert handle.result(WAIT_S) == 0.5
    wait_until(lambda: not psutil.pid_exists(pid), "the stopped process is ended", WAIT_S)
    active = "SELECT 1 FROM workers WHERE restarts = ? AND status = 'active'"
    wait_until(lambda: look(supervisor.database, active, (restarts,)), "the next worker is there", WAIT_S)


def test_a_stopped_worker_is_killed_and_replaced_and_keeps_its_restart_count(
    q: PrismQ, database: Path, history: Path
) -> None:
    with supervised(database, env=_env(history), lease_duration_seconds=2) as supervisor:
        for restarts in (1, 2):
            _stop_one_in_a_task(supervisor, history, restarts)
        assert supervisor.stop() == 0


def test_a_worker_that_goes_on_after_its_lease_was_given_away_changes_nothing(
    q: PrismQ, database: Path, history: Path
) -> None:
    with supervised(database, env=_env(history), processes=2, concurrency=1, lease_duration_seconds=2) as supervisor:
        wait_until(lambda: len(supervisor.registered()) == 2, "two workers", WAIT_S)
        handle = apps.nap.enqueue(1.0)
        [run] = wait_until(lambda: read(history), "it runs", WAIT_S)
        os.kill(run.pid, signal.SIGSTOP)
        wait_until(lambda: _runs(history, handle.id) == 2, "another took it over", WAIT_S)
        # Where the supervisor was quicker and has killed it, it changes nothing either.
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.pid, signal.SIGCONT)
        assert handle.result(WAIT_S) == 1.0
        supervisor.stop()
    ends = look(
        database, "SELECT count(*) FROM task_logs WHERE task_id = ? AND message LIKE '%→ completed'", (handle.id,)
    )
    assert ends == [(1,)]


@pytest.mark.parametrize(("task", "lease_s"), [("power", 4), ("hold_the_gil", 7)])
def test_a_task_that_holds_the_interpreter_for_longer_than_its_lease_runs_once(
    q: PrismQ, database: Path, history: Path, task: str, lease_s: int
) -> None:
    with supervised(database, env=_env(history), processes=2, lease_duration_seconds=lease_s) as supervisor:
        wait_until(lambda: len(supervisor.registered()) == 2, "two workers", WAIT_S)
        handle = apps.power.enqueue(14000000) if task == "power" else apps.hold_the_gil.enqueue(14)
        handle.result(100)
        [run] = read(history)
        assert run.end is not None
        print(f"{task} held the interpreter for {run.end - run.start:.1f} s")
        assert look(database, "SELECT count(*) FROM task_attempts") == [(0,)]
        assert supervisor.stop() == 0


def test_a_killed_supervisors_workers_wind_down_and_give_back_what_they_hold(
    q: PrismQ, database: Path, history: Path
) -> None:
    with supervised(
        database, env=_env(history), concurrency=2, lease_duration_seconds=60, shutdown_grace_seconds=1
    ) as supervisor:
        worker = supervisor.one_worker(WAIT_S)
        short, long = apps.nap.enqueue(1.0), apps.mark.enqueue(str(history.parent / "marks"), 600)
        waiting = [apps.nap.enqueue(0.01) for _ in range(3)]
        wait_until(lambda: _runs(history, long.id) == 1 and _runs(history, short.id) == 1, "both run", WAIT_S)
        supervisor.process.kill()
        wait_until(lambda: not psutil.pid_exists(worker), "the orphan has ended", WAIT_S)
        assert (long.status, long.task().attempts) == ("queued", 0)
        assert all(handle.status in ("queued", "completed", "scheduled") for handle in waiting)
        assert look(
            database, "SELECT count(*) FROM task_queue WHERE locked_by IS NOT NULL AND status <> 'completed'"
        ) == [(0,)]


def test_sigterm_lets_short_tasks_end_and_gives_long_ones_back_uncounted(
    q: PrismQ, database: Path, history: Path
) -> None:
    with supervised(database, env=_env(history), concurrency=2, shutdown_grace_seconds=2) as supervisor:
        supervisor.one_worker(WAIT_S)
        short, long = apps.nap.enqueue(1.0), apps.mark.enqueue(str(history.parent / "marks"), 600)
        wait_until(lambda: _runs(history, long.id) == 1 and _runs(history, short.id) == 1, "both run", WAIT_S)
        began = time.monotonic()
        assert supervisor.stop() == 0
        assert time.monotonic() - began < 12
        assert short.status == "completed"
        assert (long.status, long.task().attempts, long.task().crashes) == ("queued", 0, 0)
        assert look(database, "SELECT status FROM workers") == [("stopped",)]


def test_a_task_that_cannot_be_interrupted_is_given_back_too(q: PrismQ, database: Path, history: Path) -> None:
    with supervised(database, env=_env(history), shutdown_grace_seconds=0.5) as supervisor:
        supervisor.one_worker(WAIT_S)
        handle = apps.block.enqueue(600)
        wait_until(lambda: _runs(history, handle.id) == 1, "it runs", WAIT_S)
        assert supervisor.stop() == 0
        assert (handle.status, handle.task().attempts) == ("queued", 0)
        assert "could not be interrupted" in " ".join(str(one.message) for one in q.tasks.logs(handle.id))


def test_a_second_signal_does_not_wait_for_the_grace(q: PrismQ, database: Path, history: Path) -> None:
    with supervised(database, env=_env(history), shutdown_grace_seconds=600) as supervisor:
        supervisor.one_worker(WAIT_S)
        handles = [apps.mark.enqueue(str(history.parent / "marks"), 600), apps.block.enqueue(600)]
        wait_until(lambda: all(_runs(history, one.id) == 1 for one in handles), "both run", WAIT_S)
        supervisor.send(signal.SIGTERM)
        wait_until(lambda: look(database, "SELECT 1 FROM workers WHERE status = 'draining'"), "it drains", WAIT_S)
        began = time.monotonic()
        assert supervisor.stop() == 0
        assert time.monotonic() - began < 15
        assert {(one.status.value, one.task().attempts) for one in handles} == {("queued", 0)}


def test_a_stopped_worker_does_not_keep_its_supervisor_from_ending(q: PrismQ, database: Path, history: Path) -> None:
    with supervised(database, env=_env(history), shutdown_grace_seconds=0.5) as supervisor:
        pid = supervisor.one_worker(WAIT_S)
        handle = apps.block.enqueue(600)
        wait_until(lambda: _runs(history, handle.id) == 1, "it runs", WAIT_S)
        os.kill(pid, signal.SIGSTOP)
        supervisor.stop(timeout_s=60)
        assert handle.status == "queued"


def test_a_worker_is_replaced_after_its_number_of_tasks(q: PrismQ, database: Path) -> None:
    with supervised(database, max_tasks_per_process=5) as supervisor:
        pids = {apps.pid_of.enqueue().result(WAIT_S) for _ in range(12)}
        assert len(pids) >= 2
        assert supervisor.stop() == 0
    assert look(database, "SELECT count(*) FROM task_attempts") == [(0,)]
    assert look(database, "SELECT count(*) FROM workers WHERE status = 'lost'") == [(0,)]


def test_a_worker_that_has_grown_is_replaced(q: PrismQ, database: Path) -> None:
    with supervised(database, max_memory_mb=200) as supervisor:
        first = apps.pid_of.enqueue().result(WAIT_S)
        apps.grow.enqueue(250).result(WAIT_S)
        wait_until(lambda: apps.pid_of.enqueue().result(WAIT_S) != first, "another process works", WAIT_S)
        assert supervisor.stop() == 0
    assert look(database, "SELECT count(*) FROM workers WHERE status = 'lost'") == [(0,)]


def test_a_worker_that_a_handler_ends_with_code_zero_is_replaced_too(q: PrismQ, database: Path, history: Path) -> None:
    with supervised(database, env=_env(history), lease_duration_seconds=60) as supervisor:
        handle = apps.quit_quietly.enqueue()
        with pytest.raises(TaskFailed, match="dead_letter: WorkerLost"):
            handle.result(WAIT_S)
        assert apps.add.enqueue(1, 2).result(WAIT_S) == 3
        assert supervisor.stop() == 0


def test_a_poison_task_ends_as_a_dead_letter_and_takes_no_innocent_with_it(
    q: PrismQ, database: Path, history: Path
) -> None:
    with supervised(database, env=_env(history), processes=2, concurrency=4, lease_duration_seconds=5) as supervisor:
        wait_until(lambda: len(supervisor.registered()) == 2, "two workers", WAIT_S)
        innocents = [apps.add.enqueue(n, n) for n in range(20)]
        poison = apps.poison.enqueue()
        innocents += [apps.add.options(priority=50).enqueue(n, 1) for n in range(20)]
        slow = [apps.nap.options(max_attempts=5).enqueue(0.4) for _ in range(16)]
        with pytest.raises(TaskFailed, match="dead_letter: WorkerLost"):
            poison.result(100)
        for innocent in innocents:
            innocent.result(WAIT_S)
        for one in slow:
            one.result(WAIT_S)
        assert poison.task().attempts == 5
        assert _runs(history, poison.id) == 5
        assert supervisor.stop() == 0
    assert look(database, "SELECT DISTINCT type FROM task_queue WHERE status = 'dead_letter'") == [("poison",)]


def test_a_crash_loop_backs_off(q: PrismQ, database: Path) -> None:
    app = database.parent / "crashing.py"
    app.write_text(
        "import os\nfrom prismq import PrismQ\nq = PrismQ()\nif '-c' not in __import__('sys').argv[:1]: os._exit(9)\n"
    )
    app.write_text(
        "import os, sys\nfrom prismq import PrismQ\nq = PrismQ(':memory:')\n"
        "if 'prismq.worker.process' in ' '.join(sys.orig_argv): os._exit(9)\n"
    )
    with supervised(database, app=f"{app}:q") as supervisor:
        lost = wait_until(lambda: (e := supervisor.events("worker_process_lost"))[4:] and e, "five crashes", WAIT_S)
        delays = [float(event["replaced_in_s"]) for event in lost[:5]]
        assert delays == sorted(delays)
        assert delays[4] >= 8 * delays[0] > 0
        assert [event["restarts"] for event in lost[:5]] == [1, 2, 3, 4, 5]
        assert supervisor.stop() == 0


def test_an_application_that_cannot_be_imported_ends_the_supervisor_with_a_message(database: Path, q: PrismQ) -> None:
    with supervised(database, app=f"{database.parent}/nothing.py:q") as supervisor:
        assert supervisor.wait(WAIT_S) != 0
        assert "there is no file" in supervisor.log()


def test_two_supervisors_may_start_at_once_on_a_new_file(tmp_path: Path) -> None:
    for number in range(3):
        database = tmp_path / f"new-{number}" / "queue.db"
        database.parent.mkdir()
        both = [Supervised(database) for _ in range(3)]
        try:
            wait_until(partial(all_registered, both), "all have a worker", WAIT_S)
            with PrismQ(database) as q:
                handles = [q.enqueue("add", {"a": n, "b": 1}) for n in range(50)]
                assert [handle.result(WAIT_S) for handle in handles] == [n + 1 for n in range(50)]
            assert [one.stop() for one in both] == [0, 0, 0]
            versions = [(one.version,) for one in migrations()]
            assert look(database, "SELECT version FROM schema_migrations ORDER BY version") == versions
        finally:
            for one in both:
                one.destroy()


def test_many_programs_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    program = "import sys; from prismq import PrismQ; q = PrismQ(sys.argv[1]); print(q.enqueue('add', {'a': 1}).id)"
    database = tmp_path / "fresh.db"
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(database)], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    ids = [int(one.communicate(timeout=60)[0]) for one in running]
    assert sorted(ids) == list(range(1, 9))


def test_a_queue_survives_a_fork_of_its_client(q: PrismQ, database: Path) -> None:
    apps.add.enqueue(1, 1)
    program = threading.active_count()
    assert program >= 1
    pid = os.fork()
    if pid == 0:
        try:
            apps.add.enqueue(2, 2)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    apps.add.enqueue(3, 3)
    assert look(database, "SELECT count(*) FROM task_queue") == [(3,)]
