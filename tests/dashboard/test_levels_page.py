"""The page of the service levels."""

from __future__ import annotations

import re

from prismq.storage.contract.alerts import Sample
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site


def test_how_fast_a_budget_burns_is_told_without_an_exponent(site: Site, clock: FakeClock) -> None:
    minute = clock.now() - clock.now() % 60
    site.q.store.levels.add([Sample("api", minute, 0, 100), Sample("workers", minute, 199_999, 200_000)])

    page = site.anonymous.get("/levels").text

    assert "1,000 ×" in page  # the budget is a thousandth, and all of it was bad
    assert "none: 1,000 times used up" in page
    assert "&lt; 0.01 ×" in page or "< 0.01 ×" in page
    assert not re.search(r"\de[+-]\d", page)
