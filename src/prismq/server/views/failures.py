"""What failed for good: dead letters and failed tasks by cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prismq.app import PrismQ
from prismq.domain.task import TaskFilter
from prismq.server.finding import total
from prismq.server.views.causes import Cause, grouped
from prismq.server.views.drawing import Chart
from prismq.server.views.history import History, Range, failures

STATUSES = ("dead_letter", "failed")
LOOKED_AT = 500  # the newest, for the causes; the numbers by type are of all


@dataclass(frozen=True)
class FailuresPage:
    """The page."""

    causes: Sequence[Cause]
    dead_letters: int
    failed: int
    looked_at: int
    by_type: Sequence[tuple[str, str, int, int]]  # queue, type, dead letters, failed
    chart: Chart
    span: Range
    at: float

    @property
    def is_partial(self) -> bool:
        """Whether there are more than were looked at."""
        return self.looked_at < self.dead_letters + self.failed


def failures_page(q: PrismQ, history: History, span: Range) -> FailuresPage:
    """All that failed for good. Raises QueueDatabaseError."""
    now = q.clock.now()
    depth = q.store.insight.depth()
    dead, failed = (total(depth, TaskFilter(statuses=(status,))) for status in STATUSES)
    found = q.store.tasks.newest_failures(limit=LOOKED_AT) if dead or failed else []
    types: dict[tuple[str, str], list[int]] = {}
    for (queue, type_, status, _), tasks in depth.items():
        if status in STATUSES and tasks:
            types.setdefault((queue, type_), [0, 0])[STATUSES.index(status)] += tasks
    by_type = [(queue, type_, counts[0], counts[1]) for (queue, type_), counts in types.items()]
    return FailuresPage(
        causes=grouped(found),
        dead_letters=dead,
        failed=failed,
        looked_at=len(found),
        by_type=sorted(by_type, key=lambda one: (-one[2] - one[3], one[0], one[1])),
        chart=failures(history.slots(q.store, span, now), span, ()),
        span=span,
        at=now,
    )
