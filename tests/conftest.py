"""Fixtures for every test."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.clock import FakeClock

# A disk that is slow for a moment is not a failure; how long a test takes is pytest-timeout's business.
settings.register_profile("prismq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("prismq")


def pytest_configure() -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, and so would every process that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed", type=int, default=int(os.environ.get("PRISMQ_TEST_SEED", "20261122")), help="of the random tests"
    )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What random tests begin with; `--seed N` or PRISMQ_TEST_SEED chooses another."""
    chosen: int = request.config.getoption("--seed")
    return chosen


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
