"""Fixtures for every test."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from prismq.observability import logs
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


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands that run in this process set logging up for the whole of it."""
    root, ours = logging.getLogger(), logging.getLogger("prismq")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    structlog.reset_defaults()
    logs._straight = None
    logs._structured.cache_clear()
    for handler in root.handlers[:]:
        # Those of pytest are new in each phase of a test, and go by themselves.
        if handler not in handlers and not type(handler).__module__.startswith("_pytest."):
            root.removeHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
