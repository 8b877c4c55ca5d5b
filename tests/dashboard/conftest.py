"""The queue over each engine, and a server with its pages."""

from __future__ import annotations

import pytest

from prismq import PrismQ
from tests.server.conftest import Site, busy, engine, q, stack

__all__ = ["busy", "engine", "q", "site", "stack"]


@pytest.fixture
def site(q: PrismQ, stack: object) -> Site:
    """A server on loopback, with the dashboard."""
    return Site(q, stack)  # type: ignore[arg-type]
