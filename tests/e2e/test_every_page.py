"""Every page, in both themes and on a phone: no complaint in the console, accessible, within its size."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import Tab, new_tab
from tests.e2e.scene import EVIL_NAME, Scene

PAGES = {
    "overview": "/",
    "overview-13-months": "/?range=13mo",
    "overview-of-a-queue": "/?range=15m&queue=mail",
    "queues": "/queues",
    "queue": "/queues/media",
    "tasks": "/tasks",
    "tasks-filtered": "/tasks?status=dead_letter&type=image.resize&text=cannot",
    "tasks-none": "/tasks?text=nothing-holds-this",
    "task-running": "/tasks/{running}",
    "task-failed": "/tasks?status=failed",
    "task-waiting": "/tasks/{lonely}",
    "task-form": "/tasks/new?type=image.resize",
    "task-form-json": "/tasks/new?type=nobody.knows",
    "task-again": "/tasks/{running}/again",
    "task-question": "/tasks/act?action=retry&status=dead_letter",
    "purge-question": "/queues/purge?queue=lonely",
    "workers": "/workers",
    "worker": "/workers/{worker}",
    "worker-evil": "/workers/" + quote(EVIL_NAME),
    "schedules": "/schedules",
    "failures": "/failures",
    "alerts": "/alerts",
    "alerts-older": "/alerts?before_id=1",
    "runbooks": "/runbooks",
    "levels": "/levels",
    "scaling": "/scaling?slots=1,4,16",
    "remediation": "/remediation",
    "system": "/system?doctor=1",
    "audit": "/audit",
    "settings": "/settings",
}
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}, "has_touch": True},
}


def path_of(name: str, scene: Scene) -> str:
    return PAGES[name].format(running=scene.running, lonely=scene.lonely[0], worker=scene.worker_id)


@pytest.fixture(scope="module", params=list(LOOKS))
def looking(request: pytest.FixtureRequest, browser: Browser, shown: Scene) -> Iterator[Tab]:
    tab = new_tab(browser, shown, **LOOKS[request.param])
    yield tab
    tab.page.context.close()


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_is_accessible_fits_the_screen_and_complains_of_nothing(name: str, looking: Tab, axe: str) -> None:
    page = looking.open(path_of(name, looking.scene))
    expect(page.locator("main")).to_be_visible()
    expect(page.locator(".feed")).to_have_attribute("data-state", "live")

    # The checker's script is injected by the debugger, past the policy that the page is under.
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]

    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert looking.unexpected == []
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_with_all_its_files_is_below_150_kb_gzipped(name: str, tab: Tab) -> None:
    sizes: dict[str, int] = {}
    tab.page.on("response", lambda answer: sizes.update({answer.url: _weight(answer)}))

    page = tab.open(path_of(name, tab.scene))
    expect(page.locator(".feed")).to_have_attribute("data-state", "live")

    assert len(sizes) > 3
    assert sum(sizes.values()) <= 150_000, sizes


def _weight(answer: object) -> int:
    status = answer.status  # type: ignore[attr-defined]
    return len(gzip.compress(answer.body())) if status == 200 else 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_is_whole_without_scripts(name: str, browser: Browser, shown: Scene) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        answer = page.goto(shown.url + path_of(name, shown))
        assert answer is not None
        assert answer.status == 200
        assert page.locator("h1, h2").first.is_visible()
        assert not page.locator(".only-js").first.is_visible()
    finally:
        context.close()
