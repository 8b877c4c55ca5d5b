"""When a breaker opens, how it is tried, and when it closes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.breaker import Breaker, BreakerRule, BreakerState, Endings, Probe, closed, next_state, opened

RULE = BreakerRule(failure_ratio=0.9, attempts_min=10, window_s=120, crashes=3, open_s=60, open_s_max=900)
BAD = Endings(completed=1, failed=9)
FINE = Endings(completed=1000, failed=5)
NOW = 1_000_000.0


def _next(
    breaker: Breaker | None, endings: Endings = FINE, probe: Probe | None = None, at: float = NOW
) -> Breaker | None:
    return next_state(breaker, "mail", endings, probe, RULE, at, "me")


@pytest.mark.parametrize(
    ("endings", "opens"),
    [
        (BAD, True),
        (Endings(completed=0, failed=10), True),
        (Endings(completed=2, failed=9), False),
        (Endings(completed=0, failed=9), False),  # too few to judge by
        (Endings(completed=0, failed=0, lost=3), True),
        (Endings(completed=3, failed=0, lost=3), False),  # a host that died took them with it
        (Endings(completed=0, failed=0, lost=2), False),
        (FINE, False),
        (Endings(), False),
    ],
)
def test_it_opens_when_nearly_all_fail_or_workers_die(endings: Endings, opens: bool) -> None:
    after = _next(None, endings)

    assert (after is not None) is opens
    if after is not None:
        assert (after.state, after.probe_at, after.trips) == (BreakerState.OPEN, NOW + 60, 1)
        assert "within 120 s" in after.reason


def test_it_is_tried_when_its_time_has_come_and_closes_when_the_probe_completes() -> None:
    shut = opened(None, "mail", "why", RULE, NOW, "me")
    assert _next(shut, at=NOW + 59.9) is None
    tried = _next(shut, at=NOW + 60)
    assert tried is not None
    assert tried.state is BreakerState.HALF_OPEN
    assert _next(tried, BAD) is None, "until a worker takes one"
    probing = replace(tried, state=BreakerState.PROBING, probe_task_id=7)
    assert _next(probing, BAD, Probe.RUNNING) is None

    after = _next(probing, BAD, Probe.SUCCEEDED, NOW + 70)

    assert after is not None
    assert (after.state, after.trips, after.opened_at) == (BreakerState.CLOSED, 0, None)


def test_each_failed_probe_doubles_the_time_up_to_a_bound_and_keeps_when_it_began() -> None:
    breaker = opened(None, "mail", "why", RULE, NOW, "me")
    waits = []
    for round_ in range(7):
        waits.append((breaker.probe_at or 0) - breaker.since)
        probing = replace(breaker, state=BreakerState.PROBING, probe_task_id=7)
        after = _next(probing, probe=Probe.FAILED, at=NOW + 1000 * (round_ + 1))
        assert after is not None
        breaker = after

    assert waits == [60, 120, 240, 480, 900, 900, 900]
    assert breaker.opened_at == NOW
    assert breaker.trips == 8


def test_a_probe_that_went_away_is_replaced() -> None:
    probing = Breaker("mail", BreakerState.PROBING, NOW, probe_task_id=7, trips=2, opened_at=NOW)

    after = _next(probing, probe=Probe.GONE)

    assert after is not None
    assert (after.state, after.probe_task_id, after.trips) == (BreakerState.HALF_OPEN, None, 2)


def test_what_failed_before_it_was_closed_counts_no_more() -> None:
    breaker = closed(opened(None, "mail", "why", RULE, NOW, "me"), "fixed", NOW, "ada")

    assert _next(breaker, BAD, at=NOW + 119) is None
    assert _next(breaker, BAD, at=NOW + 120) is not None


def test_one_that_was_opened_by_hand_without_a_time_stays_open() -> None:
    shut = Breaker("mail", BreakerState.OPEN, NOW, "the provider is down", "ada", NOW, 1, None)

    assert _next(shut, at=NOW + 1e9) is None


states = st.sampled_from(list(BreakerState))


@given(states, st.integers(0, 50), st.sampled_from([None, *Probe]), st.integers(0, 100), st.integers(0, 100))
def test_whatever_happens_an_open_breaker_has_a_reason_and_a_bounded_time(
    state: BreakerState, trips: int, probe: Probe | None, completed: int, failed: int
) -> None:
    before = Breaker("mail", state, NOW - 1e6, "why", "x", NOW - 1e6, trips, NOW - 1)

    after = _next(before, Endings(completed, failed), probe)

    if after is not None and after.state is BreakerState.OPEN:
        assert after.reason
        assert after.probe_at is not None
        assert NOW < after.probe_at <= NOW + RULE.open_s_max
