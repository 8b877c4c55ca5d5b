"""The page of alerts in a browser: acknowledge, silence, end the silence; and the overview, which tells of them."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.conftest import Tab


def test_an_alert_is_seen_acknowledged_and_silenced(tab: Tab) -> None:
    page = tab.open("/")
    page.get_by_role("link", name="All alerts").click()
    expect(page.get_by_role("heading", name="Alerts", exact=True)).to_be_visible()
    row = page.locator("#alert-1")
    expect(row).to_contain_text("firing")

    row.get_by_role("button", name="Silence 4 h").click()
    expect(page.get_by_text("is in force")).to_be_visible()
    expect(page.locator("#alert-1")).to_contain_text("silenced")
    page.get_by_role("button", name="End silence 2").click()
    expect(page.get_by_text("The silence is over")).to_be_visible()

    page.locator("#alert-1").get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("Acknowledged: it is neither repeated")).to_be_visible()
    expect(page.locator("#alert-1")).to_contain_text("acknowledged by")
    page.goto(f"{tab.scene.url}/")
    expect(page.get_by_role("link", name="All alerts")).to_have_count(0)


def test_a_silence_is_made_by_the_form(tab: Tab) -> None:
    page = tab.open("/alerts")
    page.get_by_text("Silence something").click()
    page.get_by_role("combobox", name="Alert").select_option("BacklogGrowing")
    page.get_by_role("textbox", name="Queue").fill("mail*")
    page.get_by_role("textbox", name="Why").fill("planned work")
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_text("is in force")).to_be_visible()
    expect(page.locator("#silences")).to_contain_text("planned work")
    [newest, *_] = tab.scene.q.store.alerts.silences(tab.scene.q.clock.now())
    assert newest.matchers == {"rule": "BacklogGrowing", "queue": "mail*"}
