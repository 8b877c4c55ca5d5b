"""What real workers put right is done, told and on record: killed and grown processes, a type that fails at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from prismq import PrismQ
from tests.fault import apps
from tests.helpers.history import read
from tests.helpers.processes import look, supervised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
WAIT_S = 60.0


def _acts(database: Path) -> dict[str, int]:
    return dict(look(database, "SELECT act, times FROM remediation_totals"))


def test_a_killed_worker_is_replaced_its_task_reclaimed_and_both_are_on_record(
    q: PrismQ, database: Path, history: Path
) -> None:
    with supervised(database, env={"PRISMQ_TEST_HISTORY": str(history)}) as supervisor:
        pid = supervisor.one_worker(WAIT_S)
        handle = apps.nap.enqueue(1.0)
        wait_until(lambda: read(history), "it runs", WAIT_S)
        os.kill(pid, signal.SIGKILL)
        assert handle.result(WAIT_S) == 1.0
        assert supervisor.stop() == 0

    assert _acts(database) == {"reclaim": 1, "restart": 1}
    found = dict(look(database, "SELECT action, conditions FROM audit_log WHERE actor = 'remediation'"))
    assert set(found) == {"remediation.reclaim", "remediation.restart"}
    assert "SIGKILL" in found["remediation.restart"]
    assert str(handle.id) in found["remediation.reclaim"]
    assert {one["act"] for one in supervisor.events("remediation")} == {"reclaim", "restart"}


def test_a_type_that_fails_all_at_once_is_stopped_before_its_tasks_have_used_their_attempts_up(
    q: PrismQ, database: Path, history: Path
) -> None:
    settings = {
        "breaker": True, "breaker_min_attempts": 20, "breaker_open_seconds": 3600, "concurrency": 2, "prefetch": 0
    }  # fmt: skip
    with supervised(database, env={"PRISMQ_TEST_HISTORY": str(history)}, **settings) as supervisor:
        supervisor.one_worker(WAIT_S)
        broken = [q.enqueue("prismq.no_such_arguments", {}).id]  # nobody knows it: it waits, and counts for nothing
        handles = [apps.fail_slowly.enqueue(0.2) for _ in range(400)]
        stopped = "SELECT state FROM breakers WHERE type = 'fail_slowly'"
        wait_until(lambda: look(database, stopped) == [("open",)], "the breaker is open", WAIT_S)
        quiet = "SELECT count(*) FROM task_queue WHERE status IN ('claimed', 'processing')"
        wait_until(lambda: look(database, quiet) == [(0,)], "what was claimed has ended", WAIT_S)
        [(begun,)] = look(database, "SELECT count(*) FROM task_queue WHERE type = 'fail_slowly' AND attempts > 0")
        assert apps.add.enqueue(1, 2).result(WAIT_S) == 3, "other types go on"
        assert begun < len(handles), "all of them had begun before anybody looked"
        why = q.why(handles[-1].id)
        assert why.reasons[0].code == "breaker_open"
        assert supervisor.stop() == 0

    assert _acts(database) == {"breaker_open": 1}
    assert look(database, "SELECT status FROM task_queue WHERE id = ?", (broken[0],)) == [("queued",)]


def test_a_process_that_grew_too_large_says_so_when_it_is_replaced(q: PrismQ, database: Path, history: Path) -> None:
    with supervised(database, env={"PRISMQ_TEST_HISTORY": str(history)}, max_memory_mb=32) as supervisor:
        wait_until(lambda: _acts(database).get("restart"), "it was replaced", WAIT_S)
        supervisor.stop()

    reasons = [reason for (reason,) in look(database, "SELECT conditions FROM audit_log WHERE action LIKE '%restart'")]
    assert any("max_memory_mb" in reason for reason in reasons), reasons
