"""A real browser, Debian's Chromium, that looks at a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, sync_playwright

from tests.e2e.scene import Scene, scene

AXE_VERSION = "4.14.1"
_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str:
    """The program; installed from the system's packages where this user may."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
            subprocess.run([*apt, *command], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("the tests need Chromium. Install it, for example `apt-get install chromium`")
    return found


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The accessibility checker's script, fetched once by npm and kept in pytest's cache."""
    folder: Path = request.config.cache.mkdir(f"axe-core-{AXE_VERSION}")
    script = folder / "axe.min.js"
    if not script.exists():
        own = folder / str(os.getpid())
        own.mkdir(exist_ok=True)
        name = f"axe-core@{AXE_VERSION}"
        done = subprocess.run(["npm", "pack", "--silent", name], cwd=own, capture_output=True, text=True, check=True)
        with tarfile.open(own / done.stdout.strip().splitlines()[-1]) as packed:
            member = packed.extractfile("package/axe.min.js")
            assert member is not None
            whole = own / "axe.min.js"
            whole.write_bytes(member.read())
        whole.replace(script)  # at once: another process may fetch it, too
    return script.read_text(encoding="utf-8")


# Not for the whole session: while it lives, its event loop is that of this thread, and no other test could run one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One scene for all tests of a module."""
    with scene(tmp_path_factory.mktemp("scene")) as one:
        yield one


class Tab:
    """A page of the browser, and everything it complained of."""

    def __init__(self, page: Page, scene: Scene) -> None:
        self.page, self.scene = page, scene
        self.complaints: list[str] = []
        # What a test provokes, such as a server that is away.
        self.expected: tuple[str, ...] = ()
        page.on("console", self._console)
        page.on("pageerror", self._error)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _error(self, error: Error) -> None:
        self.complaints.append(f"exception: {error}")

    def open(self, path: str) -> Page:
        """Go there, and wait until the feed has said something where there is one."""
        self.page.goto(self.scene.url + path)
        return self.page

    @property
    def unexpected(self) -> list[str]:
        """What nobody provoked."""
        return [one for one in self.complaints if not any(words in one for words in self.expected)]


def new_tab(browser: Browser, scene: Scene, **options: object) -> Tab:
    """A tab of its own; close it with `tab.page.context.close()`."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options})
    context.set_default_timeout(15_000)
    return Tab(context.new_page(), scene)


@pytest.fixture
def tab(browser: Browser, shown: Scene) -> Iterator[Tab]:
    """A tab on the scene; whatever happened in it, its console is free of errors."""
    one = new_tab(browser, shown)
    yield one
    one.page.context.close()
    assert one.unexpected == []
