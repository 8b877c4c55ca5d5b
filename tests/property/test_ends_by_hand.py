"""However tasks end, by hand or by workers, the figures are those of a list of all ends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.sketch import RELATIVE_ERROR
from prismq.domain.status import TaskStatus
from prismq.domain.times import epoch_to_text
from prismq.observability.metrics import QueueMetrics
from tests.helpers.builders import AN_ERROR, a_task, claim_one, settle
from tests.helpers.clock import FakeClock
from tests.helpers.engines import ENGINES, Engine

HOUR = 3600.0
STATUSES = st.sampled_from(["completed", "completed", "failed", "dead_letter", "cancelled"])
RUNS_S = st.one_of(st.none(), st.floats(0.001, 5000).map(lambda value: round(value, 3)))
AGES_S = st.integers(0, int(3 * HOUR))  # within the time for which each minute is kept
ATTEMPTS = st.integers(1, 6)


class End(NamedTuple):
    """One end of a task, as the test knows it."""

    type: str
    status: str
    at: float
    run_s: float | None
    attempts: int
    max_attempts: int


def insert_ended(engine: Engine, clock: FakeClock, end: End) -> None:
    began = "NULL" if end.run_s is None else f"'{epoch_to_text(end.at - end.run_s)}'"
    engine.hand(
        "INSERT INTO task_queue (type, payload, status, attempts, max_attempts, finished_at_utc,"
        " processing_started_utc)"
        f" VALUES ('{end.type}', '{{}}', '{end.status}', {end.attempts}, {end.max_attempts},"
        f" '{epoch_to_text(end.at)}', {began})"
    )


def end_a_new_one(engine: Engine, clock: FakeClock, end: End) -> None:
    """Enqueued by a client, ended by a hand."""
    task_id = engine.store.inbox.enqueue(a_task(end.type, max_attempts=end.max_attempts), clock.now()).task_id
    _end(engine, end, task_id)


def end_a_booked_one(engine: Engine, clock: FakeClock, end: End) -> None:
    """The same once the books know the row, and in two statements."""
    task_id = engine.store.inbox.enqueue(a_task(end.type, max_attempts=end.max_attempts), clock.now()).task_id
    while engine.store.upkeep.book(clock.now()):
        pass
    engine.hand(f"UPDATE task_queue SET status = '{end.status}' WHERE id = {task_id}")
    _end(engine, end, task_id)


def _end(engine: Engine, end: End, task_id: int) -> None:
    began = "NULL" if end.run_s is None else f"'{epoch_to_text(end.at - end.run_s)}'"
    engine.hand(
        f"UPDATE task_queue SET status = '{end.status}', attempts = {end.attempts}, processing_started_utc = {began},"
        f" finished_at_utc = '{epoch_to_text(end.at)}' WHERE id = {task_id}"
    )


HANDS: list[Callable[[Engine, FakeClock, End], None]] = [insert_ended, end_a_new_one, end_a_booked_one]
BY_HAND = st.tuples(st.sampled_from(HANDS), st.sampled_from("ab"), STATUSES, AGES_S, RUNS_S, ATTEMPTS, ATTEMPTS)
BY_WORKER = st.tuples(st.sampled_from("ab"), STATUSES, st.floats(0.001, 5000))


def percentile(values: list[float], q: float) -> float:
    """The exact value that stands at the rank that the sketch asks for."""
    return sorted(values)[int(q * (len(values) - 1))]


@pytest.mark.parametrize("engine_name", list(ENGINES))
@given(
    by_hand=st.lists(BY_HAND, max_size=25), by_worker=st.lists(BY_WORKER, max_size=8), book=st.booleans(),
    hours=st.sampled_from([0.5, 1, 3, 24]),
)  # fmt: skip
def test_figures_are_those_of_a_list_of_all_ends(
    engine_name: str, by_hand: list, by_worker: list, book: bool, hours: float
) -> None:
    clock = FakeClock()
    clock.advance(-clock.now() % 60)  # a whole minute, so that no slot straddles the edge of a window
    with tempfile.TemporaryDirectory(prefix="prismq-ends-") as folder, ENGINES[engine_name](Path(folder)) as engine:
        store, ends = engine.store, []
        for type_, status, run_s in by_worker:
            store.inbox.enqueue(a_task(type_, max_attempts=1), clock.now())
            lease = claim_one(store, clock, lease_s=1e6)
            error = None if status in ("completed", "cancelled") else AN_ERROR
            settle(store, clock, lease, TaskStatus(status), started_at=clock.now() - run_s, error=error)
            ends.append(End(type_, status, clock.now(), run_s, 1, 1))
        for act, type_, status, age_s, run_s, attempts, most in by_hand:
            end = End(type_, status, clock.now() - age_s, run_s, attempts, most)
            act(engine, clock, end)
            ends.append(end)
        while book and store.upkeep.book(clock.now()):
            pass

        metrics = QueueMetrics(store, clock=clock)
        ends = [end for end in ends if end.at >= clock.now() - hours * HOUR and end.status != "cancelled"]
        completed = [end for end in ends if end.status == "completed"]
        rates = metrics.get_success_failure_rates(hours)
        assert (rates["success_count"], rates["total_count"]) == (len(completed), len(ends))
        retries = metrics.get_retry_metrics(hours)
        assert retries["tasks_with_retries"] == sum(end.attempts > 1 for end in ends)
        assert retries["avg_attempts"] * len(ends) == pytest.approx(sum(end.attempts for end in ends))
        assert retries["max_attempts_reached"] == sum(
            end.status == "dead_letter" or (end.status == "failed" and end.attempts >= end.max_attempts) for end in ends
        )
        for type_ in ("a", "b", None):
            runs = [e.run_s for e in completed if e.run_s is not None and type_ in (None, e.type)]
            found = metrics.get_processing_time_percentiles(hours, type_)
            for percent in (50, 95, 99):
                exact = percentile(runs, percent / 100) if runs else 0.0
                assert found[f"p{percent}"] == pytest.approx(exact, rel=RELATIVE_ERROR + 1e-6, abs=0.0)
        timed = [end.run_s for end in completed if end.run_s is not None]
        mean_s = metrics.get_throughput_metrics(hours)["avg_processing_time_seconds"]
        assert mean_s == pytest.approx(sum(timed) / len(timed) if timed else 0.0, abs=0.001)
        assert store.insight.depth() == store.insight.recount()
