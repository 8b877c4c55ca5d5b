"""The general service levels as recording rules: which part of the events of a window was bad, and how fast that uses
up what the level allows.

https://sre.google/workbook/alerting-on-slos/ has the method: a burn rate of 1 uses up the budget of 30 days in 30 days.
Promises of single queues are left to prismq's own service levels: here OldestTaskOverTarget watches over them.
"""

from __future__ import annotations

from typing import NamedTuple

from prismq.config.alerts import SloConfig
from prismq.observability.exposition.definitions import BUCKETS_S
from prismq.observability.kit.promql import by, once, summed
from prismq.observability.kit.recording import ENDED, FAILED, Group, Recording
from prismq.observability.slo.levels import API, PROCESSING, SUCCESS, WORKERS

WINDOWS = ("5m", "30m", "1h", "6h")

_NOT_GOOD = '{status!~"2.."}'
_RUN_COUNT, _RUN_BUCKET = "prismq_task_run_seconds_count", "prismq_task_run_seconds_bucket"


class LevelRules(NamedTuple):
    """A promise: the part `objective` of the events is good. Both expressions have WINDOW in place of one."""

    name: str
    objective: float
    bad: str  # the part of the events that is bad; absent where there were none
    events: str | None  # how many there were; None: it is no matter of counting
    meaning: str

    @property
    def budget(self) -> float:
        """The part that may be bad."""
        return round(1 - self.objective, 9)


def _windowed(name: str, selector: str, function: str) -> str:
    return summed(once(name, selector, f"{function}({{}}[WINDOW])"))


def _requests(selector: str, function: str) -> str:
    return f"sum {by()} ({function}(api:requests{selector}[WINDOW]))"


def boundary_s(target_s: float) -> float:
    """The largest boundary of the histogram of run times that is not above the target; at least the first."""
    return max((bound for bound in BUCKETS_S if bound <= target_s), default=BUCKETS_S[0])


def level_rules(config: SloConfig | None = None) -> list[LevelRules]:
    """The levels that the settings promise; without settings, the reference's four."""
    config = config or SloConfig()
    within_s = boundary_s(config.processing_target_seconds)
    ended, failed = (_windowed("prismq_tasks_finished_total", which, "rate") for which in (ENDED, FAILED))
    in_time = _windowed(_RUN_BUCKET, f'le="{within_s}"', "rate")
    found = (
        (
            SUCCESS,
            config.success_objective,
            f"{failed} / ({ended} > 0)",
            _windowed("prismq_tasks_finished_total", ENDED, "increase"),
            "tasks that end complete",
        ),
        (
            PROCESSING,
            config.processing_objective,
            f"1 - {in_time} / ({_windowed(_RUN_COUNT, '', 'rate')} > 0)",
            _windowed(_RUN_COUNT, "", "increase"),
            f"completed tasks run no longer than {within_s:g} s",
        ),
        (
            API,
            config.api_objective,
            f"{_requests(_NOT_GOOD, 'rate')} / ({_requests('', 'rate')} > 0)",
            _requests("", "increase"),
            "requests to the API are answered without a fault of the server",
        ),
        (
            WORKERS,
            config.workers_objective,
            "1 - avg_over_time(workers:healthy_ratio[WINDOW])",
            None,
            "workers are healthy",
        ),
    )
    return [
        LevelRules(name, objective, bad, events, f"{100 * objective:g} % of {meaning}")
        for name, objective, bad, events, meaning in found
        if objective is not None
    ]


def level_group(config: SloConfig | None = None) -> Group:
    """Their rules: `slo:bad_ratio`, `slo:burn_rate` and `slo:events`, each with the labels `slo` and `window`."""
    rules = []
    for level in level_rules(config):
        for window in WINDOWS:
            labels = (("slo", level.name), ("window", window))
            rules += [
                Recording(
                    "slo:bad_ratio", level.bad.replace("WINDOW", window), f"What is bad of: {level.meaning}.", labels
                ),
                Recording(
                    "slo:burn_rate",
                    f'slo:bad_ratio{{slo="{level.name}",window="{window}"}} / {level.budget:g}',
                    "How many times faster than it may the error budget is used up.",
                    labels,
                ),
            ]
            if level.events is not None:
                rules.append(
                    Recording(
                        "slo:events", level.events.replace("WINDOW", window), "How many events there were.", labels
                    )
                )
    return Group("prismq_service_levels", tuple(rules))
