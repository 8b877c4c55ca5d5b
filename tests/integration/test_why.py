"""Why a task is not running, its story, health and probes: with real workers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from prismq import PrismQ, current_task
from prismq.domain.worker import WorkerCommand
from tests.helpers.processes import hand, look, supervised, wait_until
from tests.integration.support import WAIT_S, Gate, a_worker, wait_status


def codes(q: PrismQ, task_id: int) -> list[str]:
    return [one.code for one in q.why(task_id).reasons]


def test_a_task_is_followed_from_no_worker_to_its_end(q: PrismQ) -> None:
    gate = Gate()

    @q.task(name="walk", timeout=60)
    def walk() -> None:
        current_task().progress(1, 4, "on the way")
        gate.pass_through()

    first, second = walk.enqueue(), walk.enqueue()
    assert codes(q, first.id) == ["no_worker"]
    with a_worker(q, concurrency=1, prefetch=1, heartbeat_interval_seconds=0.1, lease_duration_seconds=5) as worker:
        gate.wait_entered()
        wait_until(lambda: codes(q, first.id) == ["running"], "the first runs")
        wait_until(lambda: q.handle(first.id).progress, "its progress is written")
        running = q.why(first.id).reasons[0]
        assert running.data["worker_id"] == worker.worker_id
        assert running.data["progress"] == {"done": 1, "total": 4, "note": "on the way"}
        assert running.data["timeout_at"] == pytest.approx(running.data["started_at"] + 60)
        # Held behind the one slot, or still in the queue behind it: that depends on how the worker takes ahead.
        wait_until(lambda: codes(q, second.id) in (["ahead"], ["claimed"]), "the second waits for the slot")
        gate.open()
        first.result(WAIT_S)
        second.result(WAIT_S)
    found = q.why(first.id)
    assert [one.code for one in found.reasons] == ["completed"]
    assert found.sentence.startswith("It completed ")
    kinds = [one.kind for one in q.timeline(first.id)]
    assert kinds == ["enqueued", "claimed", "started", "completed"]


def test_a_cancelled_task_that_still_runs(q: PrismQ) -> None:
    gate = Gate()

    @q.task(name="deaf")
    def deaf() -> None:
        gate.block()

    handle = deaf.enqueue()
    with a_worker(q, stop_grace_s=30.0):
        gate.wait_entered()
        wait_status(handle, "processing")
        handle.cancel()
        assert codes(q, handle.id)[0] == "cancelling"
        gate.open()
        wait_status(handle, "cancelled", "completed")


def test_a_paused_worker_and_one_that_lacks_something(q: PrismQ) -> None:
    @q.task(name="render", compatibility={"gpu": True})
    def render() -> None: ...

    @q.task(name="plain")
    def plain() -> None: ...

    with a_worker(q, capabilities={"gpu": False}) as worker:
        handle = render.enqueue()
        found = q.why(handle.id)
        assert found.reasons[0].code == "compatibility_unserved"
        assert found.reasons[0].data["nearest_worker"] == worker.worker_id
        assert found.reasons[0].data["offered"] == {"gpu": False}
        q.store.workers.ask(worker.worker_id, WorkerCommand.PAUSE, None, "ann", q.clock.now())
        wait_until(lambda: q.store.workers.get(worker.worker_id).status == "paused", "it has paused")  # type: ignore[union-attr]
        later = plain.enqueue()
        assert codes(q, later.id) == ["workers_not_taking"]
        assert q.why(later.id).sentence == "The workers that could are not taking new tasks (paused)."
        assert "1 task of the queue 'default' waits" in " ".join(q.health().problems)


def test_an_enqueue_that_found_its_key_says_whose_it_was(q: PrismQ) -> None:
    @q.task(name="report", unique_for="pending")
    def report(day: str) -> None: ...

    first, second = report.enqueue("monday"), report.enqueue("monday")
    assert (second.id, second.created) == (first.id, False)
    found = q.why(second)
    assert [one.code for one in found.reasons] == ["deduplicated", "no_worker", "holds_key"]
    assert (
        found.sentence == f"This enqueue created nothing: task {first.id}, which holds its key, was returned instead."
    )
    assert [one.code for one in q.why(first).reasons] == ["no_worker", "holds_key"]


def test_a_retry_shows_when_it_follows_and_after_what(q: PrismQ) -> None:
    from prismq import Retry

    @q.task(name="flaky")
    def flaky() -> None:
        raise Retry("the host does not answer", delay=600)

    handle = flaky.enqueue()
    with a_worker(q):
        wait_status(handle, "scheduled")
        found = q.why(handle.id)
        assert found.reasons[0].code == "retry"
        assert "with Retry: the host does not answer; attempt 2 follows in " in found.sentence
        assert found.expected_at is not None
        assert 590 < found.expected_at - q.clock.now() < 601
    assert [one.kind for one in q.timeline(handle.id)] == ["enqueued", "claimed", "started", "attempt_failed", "due"]


def test_a_queue_with_a_worker_is_healthy(q: PrismQ) -> None:
    @q.task(name="add")
    def add(a: int) -> int:
        return a

    with a_worker(q):
        assert add.enqueue(1).result(WAIT_S) == 1
        found = q.health()
        assert (found.status, found.problems) == ("healthy", [])
        assert found.workers_document()["active_workers"] == 1
        assert found.database_document()["connection_pool"]["total"] >= 1


# -- probes of real processes


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody has."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, count):
        sockets = []
        try:
            for port in range(first, first + count):
                one = socket.socket()
                sockets.append(one)
                one.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


def asked(port: int, path: str, timeout_s: float = 5.0) -> int:
    """The status of the answer; 0 for none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_each_process_of_a_supervisor_answers_probes(tmp_path: Path) -> None:
    database, port, file = tmp_path / "queue.db", free_ports(2), tmp_path / "probe"
    with supervised(database, processes=2, probe_port=port, probe_file=str(file)) as running:
        for number in range(2):
            wait_until(lambda n=number: asked(port + n, "/ready") == 200, "a process is ready")
            assert asked(port + number, "/live") == 200
        wait_until(lambda: json.loads(file.read_text())["ready"], "the file says so")
        assert json.loads((tmp_path / "probe.1").read_text())["live"]
        hand(database, "INSERT INTO worker_commands (worker_id, command, asked_at_utc)"
             " SELECT worker_id, 'pause', '2026-01-01 00:00:00' FROM workers")  # fmt: skip
        wait_until(lambda: asked(port, "/ready") == 503, "a paused process is not ready")
        assert asked(port, "/live") == 200
        assert running.stop() == 0
    assert not file.exists()
    assert asked(port, "/live") == 0


def test_a_process_that_stands_still_answers_no_probe_and_touches_no_file(tmp_path: Path) -> None:
    database, port, file = tmp_path / "queue.db", free_ports(1), tmp_path / "probe"
    with supervised(database, probe_port=port, probe_file=str(file), lease_duration_seconds=60.0) as running:
        wait_until(lambda: asked(port, "/ready") == 200, "the process is ready")
        pid = running.one_worker()
        os.kill(pid, signal.SIGSTOP)
        try:
            assert asked(port, "/live", timeout_s=0.5) == 0
            touched = file.stat().st_mtime
            # Longer than the two seconds after which it would touch it.
            wait_until(lambda: time.time() - file.stat().st_mtime > 3, "the file grows old")
            assert file.stat().st_mtime == touched
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: asked(port, "/ready") == 200, "the process goes on")
        wait_until(lambda: file.stat().st_mtime > touched, "and touches its file")


def test_a_port_that_is_taken_ends_the_supervisor_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with supervised(tmp_path / "queue.db", probe_port=port) as running:
            assert running.wait() == 78
            assert f"probe_port = {port}: cannot listen on 127.0.0.1:{port}" in running.log()
    assert look(tmp_path / "queue.db", "SELECT count(*) FROM workers WHERE status = 'active'") == [(0,)]
