"""Signing in, roles, and what a page says when something is away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from prismq import PrismQ
from prismq.domain.account import Role
from prismq.server import ServerSettings
from prismq.server.live import Look
from prismq.server.runner import Beside, prepare
from tests.e2e.conftest import Tab, new_tab
from tests.e2e.scene import Scene
from tests.helpers.postgres import free_port


class Empty:
    """A queue that nobody has used, and a server whose life is the test's."""

    def __init__(self, folder: Path) -> None:
        self.q = PrismQ(folder / "empty.db")
        self.settings = ServerSettings(port=free_port())
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self._running: Beside | None = None
        self.app: FastAPI | None = None

    def start(self) -> None:
        """Serve."""
        self.app, listening = prepare(self.q, self.settings)
        self._running = Beside(self.app, listening, self.settings)
        self._running.__enter__()

    def stop(self) -> None:
        """Be away."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None

    token = Scene.token


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Empty]:
    one = Empty(tmp_path)
    with one.q:
        one.start()
        yield one
        one.stop()


@pytest.fixture
def visitor(browser: Browser, empty: Empty) -> Iterator[Tab]:
    tab = new_tab(browser, empty)  # type: ignore[arg-type]  # all that it needs is the address
    yield tab
    tab.page.context.close()
    assert tab.unexpected == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", "Nothing has been enqueued yet"),
        ("/queues", "There is no queue yet"),
        ("/tasks", "There are no tasks"),
        ("/workers", "No worker is running"),
        ("/schedules", "There are no schedules"),
        ("/failures", "Nothing has failed for good"),
        ("/audit", "Nothing is on record"),
        ("/settings", "There is no token"),
    ],
)
def test_a_page_without_anything_to_show_says_what_to_do(path: str, words: str, visitor: Tab) -> None:
    page = visitor.open(path)
    expect(page.locator("main")).to_contain_text(words)
    expect(page.locator(".feed")).to_have_attribute("data-state", "live")


def test_a_server_that_goes_away_is_told_with_the_age_of_what_is_shown(visitor: Tab, empty: Empty) -> None:
    visitor.expected = ("ERR_CONNECTION", "WebSocket", "503", "Failed to", "ERR_EMPTY")
    page = visitor.open("/")
    expect(page.locator(".feed")).to_have_attribute("data-state", "live")
    empty.stop()
    expect(page.locator(".feed")).to_have_attribute("data-state", "off", timeout=40_000)
    expect(page.locator(".feed-banner")).to_contain_text("The server cannot be reached: what you see is")
    assert page.locator("h1").inner_text() == "Overview"

    empty.start()
    expect(page.locator(".feed")).to_have_attribute("data-state", "live", timeout=40_000)
    expect(page.locator(".feed-banner")).to_be_hidden()


def test_a_server_that_sends_nothing_is_told_from_one_that_is_away(
    visitor: Tab, empty: Empty, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visitor.open("/")
    expect(page.locator(".feed")).to_have_attribute("data-state", "live")
    assert empty.app is not None
    hub = empty.app.state.services.hub

    async def hang() -> Look:
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(hub, "_look", hang)
        expect(page.locator(".feed")).to_have_attribute("data-state", "stale", timeout=40_000)
        expect(page.locator(".feed")).to_contain_text(re.compile(r"No data for \d+ s"))
        expect(page.locator(".feed-banner")).to_contain_text("The server is there but sends nothing: what you see is")


def test_a_token_is_shown_once_and_from_then_on_everybody_signs_in(visitor: Tab, browser: Browser) -> None:
    visitor.expected = ("WebSocket",)  # from the moment on that there is a token, the feed asks for it
    page = visitor.open("/settings")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Role").select_option("admin")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator("[aria-label='The token']").inner_text()
    assert len(secret) > 20
    visitor.page.context.close()

    other = new_tab(browser, visitor.scene)
    other.expected = ("401",)
    page = other.open("/tasks?status=failed")
    try:
        expect(page.locator("h1")).to_have_text("Sign in to PrismQ")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("unknown")
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Sign in").click()
        # To the page that was wanted.
        page.wait_for_url("**/tasks?status=failed")
        expect(page.locator(".feed")).to_have_attribute("data-state", "live")
        assert secret not in page.content()
        page = other.open("/settings")
        assert secret not in page.content()
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("h1")).to_have_text("Sign in to PrismQ")
        assert other.unexpected == []
    finally:
        other.page.context.close()


def test_a_viewer_sees_no_button_that_would_be_refused(visitor: Tab, empty: Empty) -> None:
    task_id = empty.q.enqueue("some.task", queue="some").id
    secret = empty.token("eve", Role.VIEWER)
    visitor.expected = ("403",)
    page = visitor.open("/login?next=/queues")
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queues")
    for path in ("/queues", "/queues/some", "/tasks", f"/tasks/{task_id}", "/workers", "/schedules", "/failures"):
        page = visitor.open(path)
        assert page.locator("main form[method=post]").count() == 0, path
        assert page.locator("main a[data-ask]").count() == 0, path
    assert page.locator(".nav").get_by_text("Settings").count() == 0
    page = visitor.open("/settings")
    expect(page.locator("main")).to_contain_text("this wants the role admin")


def test_what_is_not_there_is_told_with_a_way_back(visitor: Tab) -> None:
    visitor.expected = ("404", "422")
    for path, words in (
        ("/tasks/999", "999"),
        ("/queues/nothing", "there is no queue"),
        ("/workers/nobody", "there is no worker"),
        ("/tasks?status=odd", "odd"),
        ("/nowhere", "there is nothing here"),
    ):
        page = visitor.open(path)
        expect(page.locator("main")).to_contain_text(words)
        expect(page.get_by_role("link", name="To the overview")).to_be_visible()
