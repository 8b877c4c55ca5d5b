"""The tasks that workers hold: which has run longest, and which was lost with its worker most often."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prismq.domain.status import TaskStatus
from prismq.observability.exposition.samples import Labels, Samples
from prismq.storage.contract import Outcomes, Store

HELD_MAX = 10_000
CRASHED_AMONG = 1_000
CRASHED_S = 3600.0  # as far back as PoisonTask looks

_HELD = (TaskStatus.CLAIMED.value, TaskStatus.PROCESSING.value)


def in_hand_samples(
    store: Store,
    now: float,
    depth: Iterable[tuple[str, str, str, str]],
    totals: Iterable[Outcomes],
    pairs: Iterable[Labels],
    label: Callable[[str, str], Labels],
) -> Samples:
    """The figures of every one of `pairs` (queue and type), 0 where there is nothing to tell; `label`: what a pair is
    counted under.

    The store is asked only for what `depth` and `totals` say that there is: nothing at all where no task is held and
    none was ever lost. Raises QueueDatabaseError.
    """
    longest: dict[Labels, float] = dict.fromkeys(pairs, 0.0)
    crashes: dict[Labels, float] = dict.fromkeys(longest, 0)
    held = store.insight.held_tasks(HELD_MAX) if any(status in _HELD for _, _, status, _ in depth) else []
    lost = any(one.outcome == "lost" and one.tasks for one in totals)
    for one in (*held, *(store.insight.crashed_lately(now - CRASHED_S, CRASHED_AMONG) if lost else ())):
        pair = label(one.queue, one.type)
        crashes[pair] = max(crashes.get(pair, 0), one.crashes)
    for one in held:
        if one.started_at is not None:
            pair = label(one.queue, one.type)
            longest[pair] = max(longest.get(pair, 0.0), now - one.started_at)
    return {
        "prismq_task_longest_run_seconds": list(longest.items()),
        "prismq_task_crashes_max": list(crashes.items()),
    }
