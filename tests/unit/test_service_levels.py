"""What is promised, what is counted, and how fast a budget goes."""

from __future__ import annotations

import json

import pytest

from prismq.config.alerts import SloConfig
from prismq.domain.errors import ConfigurationError
from prismq.domain.sketch import Sketch
from prismq.observability.slo.counting import Tally, burn_rate, tally
from prismq.observability.slo.levels import Level, levels_of
from prismq.storage.contract import Outcomes
from prismq.storage.contract.alerts import Sample


def bins(*seconds: float) -> str:
    sketch = Sketch()
    for one in seconds:
        sketch.add(one)
    return sketch.to_json()


def outcome(name: str, tasks: int, queue: str = "q", wait: str | None = None, run: str | None = None) -> Outcomes:
    return Outcomes(queue, "t", name, tasks, tasks, 0, 0.0, 0.0, wait, run)


def a_level(name: str, objective: float = 0.99, queue: str = "", target_s: float | None = None) -> Level:
    return Level(name, queue, objective, 86_400.0, target_s)


def test_the_four_are_promised_without_any_setting_and_queues_by_their_names() -> None:
    found = levels_of(SloConfig(), ["mail", "within_5_minutes", "x_within_30_seconds"])
    assert [(one.name, one.queue, one.objective, one.target_s) for one in found] == [
        ("success", "", 0.99, None), ("processing", "", 0.99, 30.0), ("api", "", 0.999, None),
        ("workers", "", 0.95, None), ("start", "within_5_minutes", 0.99, 300.0),
        ("start", "x_within_30_seconds", 0.99, 30.0),
    ]  # fmt: skip


def test_settings_go_before_names_and_none_is_no_promise() -> None:
    config = SloConfig(
        api_objective=None, success_objective=None, processing_objective=None, workers_objective=None,
        promises={"mail": 60, "within_5_minutes": {"target_seconds": 10, "objective": 0.5}},
    )  # type: ignore[arg-type]  # fmt: skip
    found = levels_of(config, ["within_5_minutes"])
    assert [(one.queue, one.target_s, one.objective) for one in found] == [
        ("mail", 60.0, 0.99), ("within_5_minutes", 10.0, 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"success_objective": 1}, {"promises": {"a": 0}}, {"promises": {"a": {"objective": 0.9}}}]
)
def test_a_promise_that_cannot_be_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SloConfig(**wrong)  # type: ignore[arg-type]
    assert str(caught.value).startswith(next(iter(wrong)))


def test_success_counts_ends_but_not_cancellations() -> None:
    ends = [outcome("completed", 97), outcome("failed", 1), outcome("dead_letter", 2), outcome("cancelled", 50),
            outcome("retried", 30)]  # fmt: skip
    assert tally(a_level("success"), ends, []) == Tally(97, 100)


def test_processing_counts_completed_tasks_within_the_target() -> None:
    ends = [outcome("completed", 3, run=bins(1, 29, 31)), outcome("failed", 1, run=bins(100))]
    assert tally(a_level("processing", target_s=30.0), ends, []) == Tally(2, 3)


def test_start_counts_every_attempt_of_its_queue_that_started() -> None:
    ends = [
        outcome("completed", 2, wait=bins(1, 70)), outcome("retried", 1, wait=bins(2)),
        outcome("completed", 1, "other", wait=bins(500)), outcome("enqueued", 9),
    ]  # fmt: skip
    assert tally(a_level("start", queue="q", target_s=60.0), ends, []) == Tally(2, 3)


def test_api_and_workers_count_samples() -> None:
    samples = [Sample("api", 0, 90, 100), Sample("api", 60, 10, 10), Sample("workers", 0, 1, 2)]
    assert tally(a_level("api"), [], samples) == Tally(100, 110)
    assert tally(a_level("workers"), [], samples) == Tally(1, 2)


def test_a_budget_burns_at_one_where_exactly_as_much_is_bad_as_may_be() -> None:
    assert burn_rate(a_level("success", 0.99), Tally(99, 100)) == pytest.approx(1)
    assert burn_rate(a_level("success", 0.99), Tally(0, 100)) == pytest.approx(100)
    assert burn_rate(a_level("success", 0.99), Tally(0, 0)) == 0


def test_bins_that_somebody_broke_count_for_nothing() -> None:
    assert tally(a_level("start", target_s=60.0), [outcome("completed", 1, wait=json.dumps({"x": 1}))], []) == Tally(
        0, 0
    )
