"""How many slots the queues need, and a day replayed with other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from prismq.app import PrismQ
from prismq.domain.promise import NONE_GIVEN, Promise, Promises
from prismq.observability.scaling.advice import Advice, advise
from prismq.observability.scaling.simulator import Replayed, day_of, replay

_SIZES_MAX = 6


@dataclass(frozen=True)
class ScalingPage:
    """The page. `replays` is empty where nobody asked for any, or nothing came."""

    queues: Sequence[Advice]
    together: Advice
    replays: Sequence[Replayed]
    asked: str
    at: float


def scaling_page(
    q: PrismQ, sizes: Sequence[int], promise: Promise | None = None, promises: Promises = NONE_GIVEN
) -> ScalingPage:
    """Advice now; `sizes`: numbers of slots that the last day is replayed with; `promises`: what the settings say of
    single queues. Raises QueueDatabaseError."""
    now = q.clock.now()
    report = advise(q.store, now, default=promise, promises=promises)
    replays: list[Replayed] = []
    if sizes:
        day = day_of(q.store, now)
        replays = [
            replay(day, size, Random(0), promise=promise)  # noqa: S311 - a simulation, the same at every look
            for size in sizes[:_SIZES_MAX]
        ]
    asked = ", ".join(str(size) for size in sizes) or ", ".join(str(size) for size in proposals(report.all))
    return ScalingPage(report.queues, report.all, [one for one in replays if one.tasks], asked, now)


def proposals(together: Advice) -> list[int]:
    """Sizes worth a replay: half and twice of what is there, and what is advised."""
    now = max(1, together.slots_now)
    return sorted({max(1, now // 2), now, 2 * now, together.size.slots})
