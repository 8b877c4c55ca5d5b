"""The page of what was put right, and its forms."""

from __future__ import annotations

from prismq import PrismQ
from prismq.domain.account import AuditEntry, Role
from prismq.domain.breaker import BreakerState
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site


def test_a_queue_where_nothing_happened_says_so(site: Site) -> None:
    text = site.anonymous.get("/remediation").text

    assert "No breaker was ever opened" in text
    assert "Nothing had to be put right yet" in text


def test_forms_open_and_close_a_breaker(site: Site, q: PrismQ) -> None:
    browser, csrf = site.browser(Role.OPERATOR)
    sent = {"csrf_token": csrf, "type": "mail<b>", "minutes": "5", "reason": "<script>alert(1)</script>"}

    opened = browser.post("/remediation/open", data=sent)
    breaker = q.store.remedies.breaker("mail<b>")
    assert breaker is not None
    assert (breaker.state, breaker.probe_at) == (BreakerState.OPEN, breaker.since + 300)
    assert "The breaker was changed." in opened.text
    assert "<script>alert" not in opened.text
    assert "mail&lt;b&gt;" in opened.text
    browser.post("/remediation/close", data={"csrf_token": csrf, "type": "mail<b>"})

    assert q.store.remedies.breaker("mail<b>").state is BreakerState.CLOSED  # type: ignore[union-attr]


def test_what_cannot_be_is_refused(site: Site, q: PrismQ) -> None:
    browser, csrf = site.browser(Role.OPERATOR)

    for wrong in (
        {"type": ""},
        {"type": "mail", "minutes": "0"},
        {"type": "mail", "minutes": "x"},
        {"type": "a" * 300},
    ):
        assert browser.post("/remediation/open", data={"csrf_token": csrf, **wrong}).status_code == 422, wrong
    assert browser.post("/remediation/open", data={"type": "mail"}).status_code == 403
    assert q.store.remedies.breakers() == []


def test_a_viewer_sees_no_forms(site: Site, q: PrismQ, clock: FakeClock) -> None:
    entry = AuditEntry(
        "remediation", "remediation.reclaim", clock.now(), "w<1>", {"reason": "lost & gone"}, 3, via="system"
    )
    q.store.remedies.note("reclaim", 3, entry, clock.now())
    browser, _ = site.browser(Role.VIEWER)

    text = browser.get("/remediation").text

    assert "Open its breaker" not in text
    assert "lost &amp; gone" in text
    assert "w&lt;1&gt;" in text
    assert browser.get("/remediation?before_id=0").status_code == 422
