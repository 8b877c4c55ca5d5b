"""The page on which one sees whether the slots are enough."""

from __future__ import annotations

import pytest

from prismq import PrismQ
from tests.helpers.builders import a_report, a_task, a_worker, claim, complete
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site


@pytest.fixture
def busy(q: PrismQ, clock: FakeClock) -> PrismQ:
    """A minute of 300 tasks of 4 s on a queue, one of them still waiting, and a worker of 8 slots."""
    store = q.store
    clock.advance(60 - clock.now() % 60)
    store.workers.register(a_worker("w1", slots=8), clock.now())
    store.workers.heartbeat(a_report("w1", slots=8, busy=3), clock.now())
    for _ in range(300):
        store.inbox.enqueue(a_task(queue="within_30_seconds"), clock.now())
    for lease in claim(store, clock, limit=299):
        complete(store, clock, lease, started_at=clock.now() - 4)
    clock.advance(20)
    return q


def test_the_page_shows_advice_and_replays(busy: PrismQ, site: Site) -> None:
    plain = site.anonymous.get("/scaling").text
    asked = site.anonymous.get("/scaling", params={"slots": "2, 64"}).text

    assert "more slots" in plain
    assert 'href="/queues/within_30_seconds"' in plain
    assert "Done after the day" not in plain
    assert "Done after the day" in asked
    assert "grows" in asked


def test_the_page_of_a_queue_that_nobody_used_says_so(site: Site) -> None:
    assert "Nothing to measure yet" in site.anonymous.get("/scaling?slots=4").text


@pytest.mark.parametrize("slots", ["0", "a,b", "-1", "9" * 20])
def test_a_number_of_slots_that_cannot_be_is_refused(site: Site, slots: str) -> None:
    answer = site.anonymous.get("/scaling", params={"slots": slots})

    assert answer.status_code == 422
    assert "slots takes a whole number" in answer.text
