from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.errors import ConfigurationError
from prismq.domain.strategy import (
    WEIGHT_COUNT_MAX,
    Candidate,
    SchedulingStrategy,
    choose,
    class_weight,
    draw_classes,
    parse_strategy,
)

candidate_lists = st.dictionaries(st.integers(1, 1000), st.integers(-3, 5), max_size=40).map(
    lambda tasks: [Candidate(task_id, priority) for task_id, priority in tasks.items()]
)
count_maps = st.dictionaries(st.integers(-3, 500), st.integers(0, 300), max_size=8)
strategies = st.sampled_from(SchedulingStrategy)
A_FEW = [Candidate(3, 10), Candidate(1, 100), Candidate(2, 10), Candidate(4, 0)]


def ids(candidates: list[Candidate]) -> list[int]:
    return [candidate.task_id for candidate in candidates]


def test_fifo_takes_the_oldest() -> None:
    assert ids(choose(A_FEW, SchedulingStrategy.FIFO, 3, Random(0))) == [1, 2, 3]


def test_lifo_takes_the_newest() -> None:
    assert ids(choose(A_FEW, SchedulingStrategy.LIFO, 3, Random(0))) == [4, 3, 2]


def test_priority_takes_the_lowest_number_then_the_oldest() -> None:
    assert ids(choose(A_FEW, SchedulingStrategy.PRIORITY, 3, Random(0))) == [4, 2, 3]


def test_within_a_class_chance_still_takes_the_oldest() -> None:
    same = [Candidate(task_id, 5) for task_id in range(1, 50)]
    assert ids(choose(same, SchedulingStrategy.WEIGHTED_RANDOM, 3, Random(0))) == [1, 2, 3]


@given(candidate_lists, strategies, st.integers(0, 50), st.integers())
def test_a_choice_is_as_many_as_asked_for_and_none_twice(
    candidates: list[Candidate], strategy: SchedulingStrategy, limit: int, seed: int
) -> None:
    chosen = choose(candidates, strategy, limit, Random(seed))
    assert len(chosen) == min(limit, len(candidates))
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(candidates)


@given(candidate_lists, strategies, st.integers(0, 50), st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_come_does_not_matter(
    candidates: list[Candidate], strategy: SchedulingStrategy, limit: int, shuffler: Random
) -> None:
    shuffled = list(candidates)
    shuffler.shuffle(shuffled)
    chosen = choose(candidates, strategy, limit, Random(7))
    assert set(choose(shuffled, strategy, limit, Random(7))) == set(chosen)


@given(candidate_lists, st.integers(1, 50), st.integers())
def test_chance_takes_the_oldest_of_every_class_it_draws(candidates: list[Candidate], limit: int, seed: int) -> None:
    chosen = set(choose(candidates, SchedulingStrategy.WEIGHTED_RANDOM, limit, Random(seed)))
    for candidate in chosen:
        older = {c for c in candidates if c.priority == candidate.priority and c.task_id < candidate.task_id}
        assert older <= chosen


@given(count_maps, st.integers(0, 200), st.integers())
def test_classes_are_drawn_without_replacement(counts: dict[int, int], limit: int, seed: int) -> None:
    taken = draw_classes(counts, limit, Random(seed))
    assert sum(taken.values()) == min(limit, sum(counts.values()))
    assert all(0 < n <= counts[priority] for priority, n in taken.items())


@given(count_maps, st.integers(1, 50), st.integers())
def test_what_a_class_holds_beyond_the_cap_and_the_limit_changes_nothing(
    counts: dict[int, int], limit: int, seed: int
) -> None:
    capped = {priority: min(count, WEIGHT_COUNT_MAX + limit) for priority, count in counts.items()}
    assert draw_classes(counts, limit, Random(seed)) == draw_classes(capped, limit, Random(seed))


def test_a_flood_of_low_priority_does_not_drown_the_rest() -> None:
    rng = Random(3)
    drawn: Counter[int] = Counter()
    for _ in range(20_000):
        drawn.update(draw_classes({9: 1_000_000, 0: 1_000}, 1, rng))
    # 100 / 1 against 100 / 10, whatever the backlog: ten in eleven.
    assert drawn[0] / 20_000 == pytest.approx(10 / 11, abs=0.01)


def test_nothing_starves_forever() -> None:
    rng = Random(3)
    drawn: Counter[int] = Counter()
    for _ in range(20_000):
        drawn.update(draw_classes({0: 1_000, 100: 1_000}, 1, rng))
    assert drawn[100] > 0


@pytest.mark.parametrize(
    ("priority", "count", "weight"),
    [(0, 1, 1), (9, 1, 0.1), (9, 50, 5), (9, 10**9, 10), (-7, 3, 3), (1, 0, 0)],
)
def test_the_weight_of_a_class(priority: int, count: int, weight: float) -> None:
    assert class_weight(priority, count) == weight


@pytest.mark.parametrize("text", ["weighted_random", "WEIGHTED_RANDOM", " Weighted-Random "])
def test_a_strategy_is_read_in_any_case(text: str) -> None:
    assert parse_strategy(text) is SchedulingStrategy.WEIGHTED_RANDOM


def test_a_strategy_equals_its_name_in_settings() -> None:
    assert SchedulingStrategy.PRIORITY == "priority"
    assert str(SchedulingStrategy.PRIORITY) == "priority"


def test_an_unknown_strategy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'prio'.* Did you mean 'priority'\? .*fifo, lifo, priority"):
        parse_strategy("prio")
