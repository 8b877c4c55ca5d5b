"""The general service levels as recording rules: which part of the events of a window was bad, and how fast that uses
up what the level allows.

https://sre.google/workbook/alerting-on-slos/ has the method: a burn rate of 1 uses up the budget of 30 days in 30 days.
The promises of single queues are one level, `start`, with the label `queue`.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from prismq.config.alerts import SloConfig
from prismq.observability.exposition.metric import BUCKETS_S
from prismq.observability.kit.promql import by, grown, once, summed
from prismq.observability.kit.recording import ENDED, FAILED, Group, Recording
from prismq.observability.slo.levels import API, PROCESSING, START, SUCCESS, WORKERS

WINDOWS = ("5m", "30m", "1h", "6h")

_NOT_GOOD = '{status!~"2.."}'
_RUN_COUNT, _RUN_BUCKET = "prismq_task_run_seconds_count", "prismq_task_run_seconds_bucket"
_STARTS, _IN_TIME = "prismq_task_wait_seconds_count", "prismq_queue_starts_in_time_total"


class LevelRules(NamedTuple):
    """A promise: the part `objective` of the events is good. Both expressions have WINDOW in place of one."""

    name: str
    objective: float
    bad: str  # the part of the events that is bad; absent where there were none
    events: str | None  # how many there were; None: it is no matter of counting
    meaning: str
    only: str = ""  # a selector of its series, where another level has the same name

    @property
    def budget(self) -> float:
        """The part that may be bad."""
        return round(1 - self.objective, 9)


def _counted(name: str, selector: str = "", *labels: str) -> str:
    return summed(grown(name, selector, "WINDOW"), *labels)


def _requests(selector: str, function: str) -> str:
    return f"sum {by()} ({function}(api:requests{selector}[WINDOW]))"


def boundary_s(target_s: float) -> float:
    """The largest boundary of the histogram of run times that is not above the target; at least the first."""
    return max((bound for bound in BUCKETS_S if bound <= target_s), default=BUCKETS_S[0])


def level_rules(config: SloConfig | None = None) -> list[LevelRules]:
    """The levels that the settings promise; without settings, the reference's four."""
    config = config or SloConfig()
    within_s = boundary_s(config.processing_target_seconds)
    ended, failed = (_counted("prismq_tasks_finished_total", which) for which in (ENDED, FAILED))
    in_time, runs = _counted(_RUN_BUCKET, f'le="{within_s}"'), _counted(_RUN_COUNT)
    found = (
        (
            SUCCESS,
            config.success_objective,
            f"{failed} / ({ended} > 0)",
            ended,
            "tasks that end complete",
        ),
        (
            PROCESSING,
            config.processing_objective,
            f"1 - {in_time} / ({runs} > 0)",
            runs,
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
    general = [
        LevelRules(name, objective, bad, events, f"{100 * objective:g} % of {meaning}")
        for name, objective, bad, events, meaning in found
        if objective is not None
    ]
    return [*general, *_promised(config)]


def _promised(config: SloConfig) -> list[LevelRules]:
    """The promises of queues: which queues have one, and of how many seconds, the servers say. One for all that have
    the general objective, and one for each queue that has its own."""
    own = {queue: one.objective for queue, one in sorted(config.promises.items()) if one.objective is not None}
    asked = [(f"queue=~{_quoted(re.escape(queue))}", objective) for queue, objective in own.items()]
    others = f"queue!~{_quoted('|'.join(re.escape(queue) for queue in own))}" if own else ""
    return [_start(which, objective) for which, objective in ((others, config.queue_objective), *asked)]


def _start(which: str, objective: float) -> LevelRules:
    attempts, in_time = _counted(_STARTS, which, "queue"), _counted(_IN_TIME, which, "queue")
    # Another promise counts anew what was before it: fewer were in time at once where it is a shorter one, and more
    # where it is a longer one.
    changed = f"{once(_IN_TIME, which, 'resets({}[WINDOW])')} > 0"
    return LevelRules(
        START,
        objective,
        f"clamp_min(1 - {in_time} / ({attempts} > 0), 0) unless {changed}",
        f"{attempts} and {once(_IN_TIME, which)}",
        f"{100 * objective:g} % of attempts of a queue with a promise start within it",
        which,
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


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
                    f'slo:bad_ratio{{slo="{level.name}",window="{window}"{level.only and "," + level.only}}} '
                    f"/ {level.budget:g}",
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
