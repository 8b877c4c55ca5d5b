"""Workers are killed for good, and people are told: real processes, a real watch, a real receiver, the real clock."""

from __future__ import annotations

import signal
from pathlib import Path
from random import SystemRandom

import pytest

from prismq import PrismQ
from prismq.clock import SYSTEM_CLOCK
from prismq.config.alerts import AlertsConfig, SloConfig
from prismq.observability.alerts.look import Surroundings
from prismq.observability.alerts.service import Service, holder_of
from prismq.observability.alerts.watch import Watch, Watching
from tests.helpers.processes import Supervised, session_processes, supervised, wait_until
from tests.helpers.receiver import Receiver, receiver

HEARTBEAT_S = 0.5
AT_ONCE = {"for_seconds": 0.0, "resolve_after_seconds": 0.0}
RULES = {"WorkerUnhealthy": {**AT_ONCE, "threshold": 2.0, "clear": 2.0}, "OldestTaskOverTarget": AT_ONCE}


def kinds(pager: Receiver, rule: str) -> list[str]:
    return [kind for kind, name in pager.alerts if name == rule]


def kill(running: Supervised) -> None:
    """SIGKILL to all of it. The supervisor stands still first, so that it neither replaces its worker nor is missed
    by it: an orphan would end in good order."""
    running.send(signal.SIGSTOP)
    for process in session_processes(running.group):
        if process.pid != running.pid:
            process.kill()
    running.send(signal.SIGKILL)
    running.wait()
    wait_until(lambda: not session_processes(running.group), "nothing of it is left")


@pytest.mark.slow
def test_workers_that_are_killed_are_told_of_and_so_is_their_return(database: Path, q: PrismQ) -> None:
    with receiver() as pager:
        config = AlertsConfig(
            interval_seconds=1.0, group_wait_seconds=0.0, rules=RULES,
            channels={"pager": {"webhook": pager.url, "severities": ["page", "ticket"]}},
        )  # fmt: skip
        watching = Watching(
            holder_of("test"), config, SloConfig(promises={"default": 2.0}), Surroundings(heartbeat_s=HEARTBEAT_S)
        )
        watch = Watch(q.store, SYSTEM_CLOCK, SystemRandom(), q.emit, watching)
        settings = {"heartbeat_interval_seconds": HEARTBEAT_S, "lease_duration_seconds": 3.0}
        with Service(SYSTEM_CLOCK, [watch.step], closing=watch.close):
            with supervised(database, **settings) as running:
                running.one_worker()
                assert q.enqueue("add", {"a": 1, "b": 2}).result(timeout=30) == 3
                assert pager.received == [], "all is well"
                kill(running)
            handle = q.enqueue("add", {"a": 3, "b": 4})
            wait_until(lambda: all(kinds(pager, rule) == ["firing"] for rule in RULES), "both are told", 60)

            with supervised(database, **settings):
                assert handle.result(timeout=30) == 7
                wait_until(lambda: len(kinds(pager, "OldestTaskOverTarget")) > 1, "its end is told", 60)
        assert kinds(pager, "OldestTaskOverTarget") == ["firing", "resolved"]
        assert kinds(pager, "WorkerUnhealthy") == ["firing"], "that one does not come back: another has its place"
        [over] = q.store.alerts.history(rule="OldestTaskOverTarget")
        assert (over.state, over.told) == ("resolved", ("pager",))
