"""Every task counts once on a chart, however long its slot in the books has become."""

from __future__ import annotations

import pytest

from prismq import PrismQ
from prismq.server.views.history import RANGES, History, Range
from prismq.storage.entries import FOLDS
from tests.helpers.builders import a_task, claim_one, complete
from tests.helpers.clock import FakeClock


@pytest.mark.parametrize("span", RANGES, ids=lambda span: span.key)
def test_a_step_is_made_of_whole_slots(span: Range) -> None:
    longest = max([60, *(into_s for _, older_than_s, into_s in FOLDS if span.seconds > older_than_s)])
    assert span.step_s % longest == 0
    assert span.seconds % span.step_s == 0


@pytest.mark.parametrize("span", RANGES, ids=lambda span: span.key)
def test_a_chart_counts_every_task_once(q: PrismQ, clock: FakeClock, span: Range) -> None:
    store = q.store
    for _ in range(10):
        store.inbox.enqueue(a_task(), clock.now())
        complete(store, clock, claim_one(store, clock))
        clock.advance(45)
    clock.advance(min(span.seconds, 20 * 86_400) * 0.8 - 450)
    while store.upkeep.fold(clock.now()):
        pass

    slots = History().slots(store, span, clock.now())
    assert sum(slot.count(["completed"]) for slot in slots) == 10
