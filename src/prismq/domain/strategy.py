"""Which of the ready tasks a worker takes first. The stores' SQL is tested against these functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from random import Random
from typing import NamedTuple

from typing_extensions import assert_never

from prismq.domain.errors import ConfigurationError, closest

# A flood of a low priority must not drown the others: past this a class is simply "many", so two full classes
# share by priority alone. It also keeps the claim's cost constant: a store looks at this many rows of a
# class and no further.
WEIGHT_COUNT_MAX = 100


class SchedulingStrategy(str, Enum):
    """The order in which a worker claims; the value is what settings and the `strategy` column hold."""

    FIFO = "fifo"  # lowest id first
    LIFO = "lifo"  # highest id first
    PRIORITY = "priority"  # lowest priority number first, then lowest id
    WEIGHTED_RANDOM = "weighted_random"  # chance by priority, so that nothing starves

    def __str__(self) -> str:
        return self.value


class Candidate(NamedTuple):
    """A ready task, as far as the order depends on it."""

    task_id: int
    priority: int


def parse_strategy(text: str) -> SchedulingStrategy:
    """The strategy of this name in any letter case. Raises ConfigurationError, which lists them."""
    key = text.strip().lower().replace("-", "_")
    try:
        return SchedulingStrategy(key)
    except ValueError:
        names = [strategy.value for strategy in SchedulingStrategy]
        raise ConfigurationError(
            f"there is no scheduling strategy {text!r}.{closest(key, names)} Choose one of {', '.join(names)}"
        ) from None


def class_weight(priority: int, count: int) -> float:
    """The weight of a priority class with `count` ready tasks: min(count, 100) / (priority + 1).

    Priorities below 0 weigh as 0 does: the formula has no meaning there.
    """
    return min(count, WEIGHT_COUNT_MAX) / (max(priority, 0) + 1)


def draw_classes(counts: Mapping[int, int], limit: int, rng: Random) -> dict[int, int]:
    """How many tasks of each priority to take, drawn one by one by `class_weight`, without replacement.

    `counts` maps priority to ready tasks; counting beyond WEIGHT_COUNT_MAX + limit changes nothing. The
    result names only classes that were drawn and adds up to `limit`, or to all there is.
    """
    left = {priority: count for priority, count in counts.items() if count > 0}
    if sum(left.values()) <= limit:
        return left
    # Heaviest first: the scan for the drawn class then ends early.
    weights = {
        priority: class_weight(priority, left[priority]) for priority in sorted(left, key=lambda p: (max(p, 0), p))
    }
    taken: dict[int, int] = {}
    for _ in range(limit):
        point = rng.random() * sum(weights.values())
        drawn = next(iter(weights))
        for priority, weight in weights.items():
            drawn = priority
            point -= weight
            if point < 0:
                break
        taken[drawn] = taken.get(drawn, 0) + 1
        left[drawn] -= 1
        if left[drawn]:
            weights[drawn] = class_weight(drawn, left[drawn])
        else:
            del weights[drawn]
    return taken


def choose(candidates: Sequence[Candidate], strategy: SchedulingStrategy, limit: int, rng: Random) -> list[Candidate]:
    """The at most `limit` candidates that a claim takes, in the order in which they run.

    WEIGHTED_RANDOM chooses by chance; what it chose runs by priority. Only WEIGHTED_RANDOM uses `rng`.
    """
    if strategy is SchedulingStrategy.FIFO:
        return sorted(candidates)[: max(limit, 0)]
    if strategy is SchedulingStrategy.LIFO:
        return sorted(candidates, reverse=True)[: max(limit, 0)]
    by_priority = sorted(candidates, key=lambda candidate: (candidate.priority, candidate.task_id))
    if strategy is SchedulingStrategy.PRIORITY:
        return by_priority[: max(limit, 0)]
    if strategy is SchedulingStrategy.WEIGHTED_RANDOM:
        counts: dict[int, int] = {}
        for candidate in candidates:
            counts[candidate.priority] = counts.get(candidate.priority, 0) + 1
        quota = draw_classes(counts, limit, rng)
        chosen = []
        for candidate in by_priority:
            if quota.get(candidate.priority, 0) > 0:
                quota[candidate.priority] -= 1
                chosen.append(candidate)
        return chosen
    assert_never(strategy)
