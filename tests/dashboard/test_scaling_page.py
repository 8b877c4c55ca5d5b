"""The page on which one sees whether the slots are enough."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from prismq import PrismQ
from tests.helpers.builders import a_task
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site


def test_the_page_shows_advice_and_replays(busy: PrismQ, site: Site) -> None:
    plain = site.anonymous.get("/scaling").text
    asked = site.anonymous.get("/scaling", params={"slots": "2, 64"}).text

    assert "more slots" in plain
    assert 'href="/queues/within_30_seconds"' in plain
    assert "Done after the day" not in plain
    assert "Done after the day" in asked
    assert "grows" in asked


def test_the_page_has_the_promise_of_the_settings(
    busy: PrismQ, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prismq.toml").write_text("[slo]\npromises = { within_30_seconds = 7 }\n")
    monkeypatch.chdir(tmp_path)

    page = Site(busy, stack).anonymous.get("/scaling").text

    assert "95 % within 7 s" in page
    assert "95 % within 30 s" not in page


def test_a_day_in_which_nothing_ended_is_not_replayed_as_if_tasks_took_no_time(
    q: PrismQ, site: Site, clock: FakeClock
) -> None:
    for _ in range(3):
        q.store.inbox.enqueue(a_task(), clock.now())
    q.store.upkeep.book(clock.now())

    page = site.anonymous.get("/scaling", params={"slots": "4"}).text

    assert "3 tasks came in the last day and none has ended" in page
    assert "100.0 %" not in page


def test_the_page_of_a_queue_that_nobody_used_says_so(site: Site) -> None:
    assert "Nothing to measure yet" in site.anonymous.get("/scaling?slots=4").text


@pytest.mark.parametrize("slots", ["0", "a,b", "-1", "9" * 20])
def test_a_number_of_slots_that_cannot_be_is_refused(site: Site, slots: str) -> None:
    answer = site.anonymous.get("/scaling", params={"slots": slots})

    assert answer.status_code == 422
    assert "slots takes a whole number" in answer.text
