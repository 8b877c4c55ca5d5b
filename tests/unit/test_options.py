"""Options of a task and of an enqueue: each wrong one is named, and nothing is enqueued."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from prismq import Backoff, InvalidArgument, PrismQ, UnknownStatus
from prismq.client.options import apply
from prismq.domain.task import NewTask


@pytest.fixture
def q(tmp_path: Path) -> PrismQ:
    return PrismQ(tmp_path / "queue.db")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue", ""),
        ("queue", "a\nb"),
        ("queue", "x" * 201),
        ("priority", "high"),
        ("priority", True),
        ("priority", 10**9),
        ("delay", -1),
        ("delay", float("nan")),
        ("delay", "soon"),
        ("run_at", "tomorrow"),
        ("max_attempts", 0),
        ("timeout", 0),
        ("backoff", 3),
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 501),
        ("unique_for", "ever"),
        ("unique_key", 3),
        ("compatibility", ["gpu"]),
        ("compatibility", {"x": object()}),
        ("tags", "one"),
        ("tags", [1]),
        ("tags", [str(n) for n in range(33)]),
        ("retention", -5),
        ("headers", {"a": 1}),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_enqueued(q: PrismQ, option: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=option) as caught:
        q.enqueue("job", {}, **{option: value})
    assert "Nothing was enqueued" in str(caught.value)
    assert q.tasks.count() == 0


def test_an_unknown_option_is_named_with_the_nearest_known_one(q: PrismQ) -> None:
    with pytest.raises(InvalidArgument, match=r"'prioritty'.*Did you mean 'priority'"):
        q.enqueue("job", {}, prioritty=3)  # type: ignore[call-arg]


def test_delay_and_run_at_together_are_refused(q: PrismQ) -> None:
    with pytest.raises(InvalidArgument, match="not both"):
        q.enqueue("job", delay=3, run_at=datetime.now(timezone.utc))


def test_an_option_of_the_decorator_that_is_wrong_is_named(q: PrismQ) -> None:
    for option, value in {"executor": "gpu", "memory_limit_mb": 0, "backoff": lambda: 3, "unique_for": "x"}.items():
        with pytest.raises(InvalidArgument, match=option):
            q.task(**{option: value})(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(InvalidArgument, match="no option 'retries'"):
        q.task(retries=3)  # type: ignore[call-overload]


def test_a_coroutine_cannot_ask_for_a_process_of_its_own(q: PrismQ) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    with pytest.raises(InvalidArgument, match="coroutine"):
        q.task(executor="process")(work)


def test_two_functions_cannot_share_a_name(q: PrismQ) -> None:
    @q.task(name="mail")
    def one() -> None: ...

    with pytest.raises(InvalidArgument, match=r"'mail' is registered twice"):

        @q.task(name="mail")
        def two() -> None: ...


def test_options_become_columns(q: PrismQ) -> None:
    handle = q.enqueue(
        "job",
        {"a": 1},
        queue="media",
        priority=5,
        delay=timedelta(hours=1),
        max_attempts=2,
        timeout=9,
        backoff=Backoff(initial_s=7),
        idempotency_key="key",
        compatibility={"b": 1, "a": 2},
        tags=["y", "x", "y"],
        retention=60,
        headers={"request_id": "r1"},
    )
    task = handle.task()
    assert (task.type, task.queue, task.priority, task.status, task.max_attempts) == ("job", "media", 5, "scheduled", 2)
    assert task.compatibility == '{"a":2,"b":1}'
    assert task.tags == '["x","y"]'
    assert (task.timeout_seconds, task.retention_seconds) == (9.0, 60.0)
    assert task.headers == '{"request_id":"r1"}'
    assert task.run_after_utc is not None
    assert task.created_at_utc is not None
    assert timedelta(minutes=59) < task.run_after_utc - task.created_at_utc < timedelta(minutes=61)


def test_a_naive_run_at_is_utc_and_a_past_one_runs_now() -> None:
    new = apply(NewTask("job"), {"run_at": datetime(1970, 1, 1, 0, 0, 10)}, now=5.0)  # noqa: DTZ001
    assert new.run_at == 10.0


def test_the_unique_key_is_made_from_type_queue_and_arguments_whatever_their_order() -> None:
    def key(payload: str, type_: str = "job") -> str | None:
        return apply(NewTask(type_, payload), {"unique_for": 60}, 0.0).unique_key

    assert key('{"a":1,"b":2}') == key('{"b":2,"a":1}')
    assert key('{"a":1}') != key('{"a":2}')
    assert key('{"a":1}') != key('{"a":1}', "other")


def test_a_bulk_action_wants_a_condition_and_known_words(q: PrismQ) -> None:
    with pytest.raises(InvalidArgument, match="at least one condition"):
        q.tasks.delete()
    with pytest.raises(InvalidArgument, match="not both"):
        q.tasks.cancel(1, type="x")
    with pytest.raises(InvalidArgument, match="no condition 'typ'"):
        q.tasks.find(typ="x")  # type: ignore[call-arg]
    with pytest.raises(UnknownStatus, match="dead_letter"):
        q.tasks.find(status="gone")
