from __future__ import annotations

import json
from datetime import timedelta
from json import JSONDecodeError
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.backoff import Backoff
from prismq.domain.errors import PermanentError, Retry, Snooze, TaskCancelled, TaskTimeout
from prismq.domain.limits import ERROR_CHARS_MAX, TRACEBACK_CHARS_MAX
from prismq.domain.outcome import Verdict, after_lost_lease, describe, judge
from prismq.domain.status import TERMINAL, TRANSITIONS, TaskStatus

STEADY = Backoff(initial_s=10, jitter=0)

errors = st.sampled_from(
    [
        ValueError("no"),
        Retry(),
        Retry(delay=3),
        PermanentError("never"),
        Snooze(5),
        TaskCancelled(),
        TaskTimeout("slow"),
        KeyboardInterrupt(),
    ]
)
attempts = st.integers(1, 20)


def verdict(error: BaseException, attempt: int = 1, max_attempts: int = 5) -> Verdict:
    return judge(error, attempt=attempt, max_attempts=max_attempts, backoff=STEADY, rng=Random(0))


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_ordinary_error_is_retried_after_the_backoff() -> None:
    first, third = verdict(ValueError("no"), 1), verdict(ValueError("no"), 3)
    assert (first.to, first.delay_s, first.counts) == (TaskStatus.SCHEDULED, 10, True)
    assert third.delay_s == 40
    assert first.error is not None
    assert first.error.message == "no"


def test_the_last_attempt_ends_in_the_dead_letters() -> None:
    last = verdict(ValueError("no"), 5)
    assert (last.to, last.delay_s, last.reason) == (TaskStatus.DEAD_LETTER, None, "attempt 5 of 5 failed")


def test_a_permanent_error_fails_at_once() -> None:
    assert verdict(PermanentError("never"), 1).to is TaskStatus.FAILED


def test_a_permanent_error_on_the_last_attempt_is_failed_not_dead() -> None:
    assert verdict(PermanentError("never"), 5).to is TaskStatus.FAILED


@pytest.mark.parametrize(("delay", "delay_s"), [(3, 3.0), (timedelta(minutes=1), 60.0), (-4, 0.0), (0, 0.0)])
def test_a_retry_with_a_delay_waits_for_that(delay: float | timedelta, delay_s: float) -> None:
    assert verdict(Retry(delay=delay)).delay_s == delay_s


def test_a_retry_without_a_delay_waits_for_the_backoff() -> None:
    assert verdict(Retry("later"), 2).delay_s == 20


def test_asking_for_a_retry_does_not_add_attempts() -> None:
    assert verdict(Retry(delay=1), 5).to is TaskStatus.DEAD_LETTER


def test_a_snooze_uses_up_no_attempt_even_on_the_last() -> None:
    snoozed = verdict(Snooze(30, "rate limit"), 5)
    assert (snoozed.to, snoozed.delay_s, snoozed.counts) == (TaskStatus.SCHEDULED, 30, False)
    assert (snoozed.reason, snoozed.error) == ("rate limit", None)


def test_a_cancelled_task_is_cancelled_whatever_is_left() -> None:
    assert verdict(TaskCancelled(), 1).to is TaskStatus.CANCELLED


def test_a_timeout_is_retried_like_an_error() -> None:
    assert verdict(TaskTimeout("ran longer than 5 s"), 1).to is TaskStatus.SCHEDULED


@given(errors, attempts, attempts)
def test_a_verdict_is_a_step_that_a_running_task_may_take(
    error: BaseException, attempt: int, max_attempts: int
) -> None:
    result = verdict(error, attempt, max_attempts)
    assert result.to in TRANSITIONS[TaskStatus.PROCESSING]
    assert (result.delay_s is None) == (result.to in TERMINAL)
    if result.delay_s is not None:
        assert result.delay_s >= 0


@given(errors, attempts, attempts)
def test_attempts_never_exceed_their_maximum(error: BaseException, attempt: int, max_attempts: int) -> None:
    result = verdict(error, attempt, max_attempts)
    if result.to is TaskStatus.SCHEDULED and result.counts:
        assert attempt < max_attempts


@given(attempts, attempts)
def test_a_task_that_kills_its_workers_ends_in_the_dead_letters(used: int, max_attempts: int) -> None:
    expected = TaskStatus.QUEUED if used < max_attempts else TaskStatus.DEAD_LETTER
    assert after_lost_lease(used, max_attempts) is expected


def test_an_error_is_described_with_type_message_and_traceback() -> None:
    try:
        int("x")
    except ValueError as error:
        info = describe(error)
    assert info.type == "ValueError"
    assert "invalid literal" in info.message
    assert info.traceback.startswith("Traceback")
    assert "int(" in info.traceback


def test_an_error_of_a_library_is_named_with_its_module() -> None:
    with pytest.raises(JSONDecodeError) as caught:
        json.loads("{")
    assert describe(caught.value).type == "json.decoder.JSONDecodeError"


def test_an_error_that_everybody_knows_is_named_without_its_module() -> None:
    assert describe(PermanentError("x")).type == "PermanentError"
    assert describe(ValueError("x")).type == "ValueError"


def test_what_caused_an_error_is_part_of_the_story() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as cause:
            raise ValueError("second") from cause
    except ValueError as error:
        text = describe(error).traceback
    assert "first" in text
    assert "direct cause" in text


def test_an_error_without_a_message_is_called_by_its_type() -> None:
    assert describe(ValueError()).message == "ValueError"


@given(st.integers(0, 4 * ERROR_CHARS_MAX))
def test_a_message_is_kept_whole_or_cut_in_the_middle(length: int) -> None:
    info = describe(ValueError("a" * (length // 2) + "z" * (length - length // 2)))
    assert len(info.message) <= ERROR_CHARS_MAX
    if length > ERROR_CHARS_MAX:
        assert "characters cut" in info.message
        assert info.message[0] == "a"
        assert info.message[-1] == "z"


def test_the_traceback_of_endless_recursion_is_cut() -> None:
    def recurse(depth: int) -> int:
        return recurse(depth + 1) + 1 if depth % 2 else other(depth + 1) + 1

    def other(depth: int) -> int:
        return recurse(depth + 1) + 2

    with pytest.raises(RecursionError) as caught:
        recurse(0)
    assert len(describe(caught.value).traceback) <= TRACEBACK_CHARS_MAX


def test_an_error_that_cannot_print_itself_is_described_all_the_same() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    info = describe(raised(Broken()))
    assert info.message == "<no message: its __str__ raised RuntimeError>"
    assert info.traceback
