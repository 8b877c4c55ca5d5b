from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.errors import InvalidTransition, UnknownStatus
from prismq.domain.status import (
    LEASED,
    TERMINAL,
    TRANSITIONS,
    WAITING,
    TaskStatus,
    check_transition,
    parse_status,
)

statuses = st.sampled_from(TaskStatus)


def test_every_status_is_in_the_table_and_in_one_group() -> None:
    assert set(TRANSITIONS) == set(TaskStatus)
    assert set(TaskStatus) == TERMINAL | LEASED | WAITING
    assert len(TERMINAL) + len(LEASED) + len(WAITING) == len(TaskStatus)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_has_ended_only_an_operator_brings_back(status: TaskStatus) -> None:
    assert TRANSITIONS[status] == {TaskStatus.QUEUED}


@pytest.mark.parametrize("status", sorted(LEASED))
def test_a_leased_task_can_end_in_every_way(status: TaskStatus) -> None:
    assert TRANSITIONS[status] >= TERMINAL


@pytest.mark.parametrize("status", sorted(WAITING))
def test_a_task_that_was_never_claimed_cannot_succeed_or_fail(status: TaskStatus) -> None:
    assert not TRANSITIONS[status] & {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.DEAD_LETTER}


def test_every_status_can_be_reached_from_queued() -> None:
    reached, new = set(), {TaskStatus.QUEUED}
    while new:
        reached |= new
        new = {after for before in new for after in TRANSITIONS[before]} - reached
    assert reached == set(TaskStatus)


@given(statuses, statuses)
def test_the_table_decides_what_is_allowed(before: TaskStatus, after: TaskStatus) -> None:
    if after in TRANSITIONS[before]:
        check_transition(7, before.value, after.value)
    else:
        with pytest.raises(InvalidTransition, match=f"task 7 is {before} and cannot become {after}"):
            check_transition(7, before.value, after.value)


@given(statuses, st.sampled_from([str.upper, str.title, str.lower]))
def test_a_status_is_read_in_any_case(status: TaskStatus, change: object) -> None:
    assert callable(change)
    assert parse_status(f" {change(status.value)} ") is status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("RUNNING", TaskStatus.PROCESSING),
        ("PENDING", TaskStatus.QUEUED),
        ("dead-letter", TaskStatus.DEAD_LETTER),
        ("DLQ", TaskStatus.DEAD_LETTER),
    ],
)
def test_the_spellings_of_the_reference_are_understood(text: str, status: TaskStatus) -> None:
    assert parse_status(text) is status


def test_an_unknown_status_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownStatus, match=r"'done'.*scheduled, queued, claimed"):
        parse_status("done")


def test_a_status_prints_as_the_column_holds_it() -> None:
    assert f"{TaskStatus.DEAD_LETTER}" == "dead_letter"
