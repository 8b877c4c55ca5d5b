"""A server that many ask how it is asks the books of the past once in a while, and at once where tasks have failed."""

from __future__ import annotations

import pytest

from prismq.domain.status import TaskStatus
from prismq.observability.facts import Facts, Memory, gather
from prismq.storage.contract import Store
from tests.helpers.builders import a_task, claim_one, complete, settle
from tests.helpers.clock import FakeClock


def ended(facts: Facts) -> dict[str, int]:
    assert facts.last_hour is not None
    return {one.outcome: one.tasks for one in facts.last_hour if one.outcome != "enqueued"}


def end_one(store: Store, clock: FakeClock, to: TaskStatus) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    if to is TaskStatus.COMPLETED:
        complete(store, clock, lease)
    else:
        settle(store, clock, lease, to)
    store.upkeep.book(clock.now())


@pytest.mark.parametrize("to", [TaskStatus.FAILED, TaskStatus.DEAD_LETTER], ids=str)
def test_what_was_found_serves_again_until_something_fails(store: Store, clock: FakeClock, to: TaskStatus) -> None:
    memory = Memory()

    def found() -> dict[str, int]:
        return ended(gather(store, clock, timeout_s=20, memory=memory))

    end_one(store, clock, TaskStatus.COMPLETED)
    assert found() == {"completed": 1}
    end_one(store, clock, TaskStatus.COMPLETED)
    assert found() == {"completed": 1}  # remembered
    end_one(store, clock, to)
    assert found() == {"completed": 2, to.value: 1}
    assert found() == {"completed": 2, to.value: 1}


def test_it_is_asked_anew_after_a_while(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prismq.observability.facts._RECALLED_S", 0.0)
    memory = Memory()
    for expected in (1, 2):
        end_one(store, clock, TaskStatus.COMPLETED)
        assert ended(gather(store, clock, timeout_s=20, memory=memory)) == {"completed": expected}


def test_nobody_else_gets_what_is_remembered(store: Store, clock: FakeClock) -> None:
    memory = Memory()
    end_one(store, clock, TaskStatus.COMPLETED)
    gather(store, clock, timeout_s=20, memory=memory)
    end_one(store, clock, TaskStatus.COMPLETED)
    assert ended(gather(store, clock, timeout_s=20)) == {"completed": 2}
