"""What a server writes down of the requests that it answered, for the service level."""

from __future__ import annotations

import pytest

from prismq.domain.errors import QueueDatabaseError
from prismq.server.requests import RequestCounter
from prismq.server.sampling import RequestSampler
from prismq.storage.contract.alerts import Sample
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine


def test_each_minute_has_what_was_answered_in_it_without_a_fault(engine: Engine, clock: FakeClock) -> None:
    store, counter = engine.store, RequestCounter()
    counter.add("GET", "/api/v1/tasks", 200, 0.1)  # before the sampler began
    sampler = RequestSampler(store, clock, counter)
    clock.advance(60 - clock.now() % 60 + 5)
    minute = clock.now() - 5
    for status in (200, 404, 500, 503):
        counter.add("GET", "/api/v1/tasks", status, 0.1)
    counter.add("GET", "/health", 503, 0.1)  # says how others are, and is a right answer
    counter.add("GET", "/api/v1/health/workers", 503, 0.1)
    assert sampler.step() == pytest.approx(55)
    assert store.levels.between(0, clock.now() + 60) == [Sample("api", minute, 2, 4)]
    assert sampler.step() == pytest.approx(55)
    clock.advance(55)
    counter.add("POST", "/api/v1/tasks", 201, 0.1)
    sampler.step()
    assert store.levels.between(minute + 60, clock.now() + 60) == [Sample("api", minute + 60, 1, 1)]


def test_what_the_store_does_not_take_is_written_the_next_time(engine: Engine, clock: FakeClock) -> None:
    store, counter = engine.store, RequestCounter()
    sampler = RequestSampler(store, clock, counter)
    counter.add("GET", "/api/v1/tasks", 200, 0.1)
    engine.hand("ALTER TABLE service_samples RENAME TO gone")
    with pytest.raises(QueueDatabaseError):
        sampler.step()
    engine.hand("ALTER TABLE gone RENAME TO service_samples")
    sampler.step()
    assert sum(one.total for one in store.levels.between(0, clock.now() + 60)) == 1
