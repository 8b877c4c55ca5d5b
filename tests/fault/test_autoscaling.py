"""A real supervisor under a load step: more processes while tasks wait, fewer when they are done, and no task twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from prismq import PrismQ
from tests.fault import apps
from tests.helpers.history import read
from tests.helpers.processes import look, supervised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
WAIT_S = 90.0


def test_processes_come_with_a_burst_and_go_after_it(q: PrismQ, database: Path, history: Path) -> None:
    settings = {
        "processes": 1, "max_processes": 3, "concurrency": 1, "target_wait_seconds": 30, "scale_down_after_seconds": 5,
        "heartbeat_interval_seconds": 0.5,
    }  # fmt: skip
    with supervised(database, env={"PRISMQ_TEST_HISTORY": str(history)}, **settings) as supervisor:
        supervisor.one_worker(WAIT_S)
        handles = [apps.nap.enqueue(0.5) for _ in range(120)]
        wait_until(lambda: len(supervisor.registered()) > 1, "more than one process works", WAIT_S)
        for handle in handles:
            assert handle.result(WAIT_S) == 0.5
        gone = "SELECT count(*) FROM workers WHERE status = 'stopped'"
        wait_until(lambda: look(database, gone)[0][0] > 0, "one of them was drained", WAIT_S)

        scaled = supervisor.events("workers_scaled")
        runs = read(history)
        assert supervisor.stop() == 0

    assert scaled[0]["processes"] > scaled[0]["processes_before"] == 1
    assert scaled[-1]["processes"] < scaled[-1]["processes_before"]
    assert len(runs) == len({run.task_id for run in runs}) == 120
    acts = look(database, "SELECT actor, action, via FROM audit_log")
    assert set(acts) == {("autoscaler", "workers.scale", "system")}
    assert len(acts) == len(scaled)


def test_slots_are_added_to_a_process_before_another_one_is_started(q: PrismQ, database: Path, history: Path) -> None:
    settings = {
        "concurrency": 1, "max_concurrency": 8, "max_processes": 4, "target_wait_seconds": 30,
        "heartbeat_interval_seconds": 0.5,
    }  # fmt: skip
    with supervised(database, env={"PRISMQ_TEST_HISTORY": str(history)}, **settings) as supervisor:
        pid = supervisor.one_worker(WAIT_S)
        handles = [apps.nap.enqueue(0.5) for _ in range(120)]
        grown = "SELECT max(slots) FROM workers WHERE status = 'active'"
        wait_until(lambda: look(database, grown)[0][0] > 1, "it has more slots", WAIT_S)
        for handle in handles:
            assert handle.result(WAIT_S) == 0.5

        assert supervisor.workers() == [pid]
        assert supervisor.stop() == 0
