"""Fixtures for every test."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.clock import FakeClock

# A disk that is slow for a moment is not a failure; how long a test takes is pytest-timeout's business.
settings.register_profile("prismq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("prismq")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
