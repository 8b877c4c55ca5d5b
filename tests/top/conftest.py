"""A queue on each engine, and `prismq top` over it, driven by keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from prismq import PrismQ
from prismq.cli.top.application import Top
from tests.helpers.engines import ENGINES, Engine

INTERVAL_S = 0.2
PATIENCE_S = 8.0


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with ENGINES[request.param](tmp_path) as engine:
        yield engine


@pytest.fixture
def q(engine: Engine) -> Iterator[PrismQ]:
    """A queue in the engine's database, by the machine's clock: workers really run."""
    place = getattr(engine, "url", None) or engine.path  # type: ignore[attr-defined]
    with PrismQ(place) as queue:
        yield queue


class Driver:
    """Presses keys, and waits for what the screen says."""

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    def lines(self) -> list[str]:
        """What stands on the screen, as one would read it."""
        return [
            "".join(segment.text for segment in strip).rstrip() for strip in self.app.screen._compositor.render_strips()
        ]

    def text(self) -> str:
        return "\n".join(self.lines())

    async def until(self, holds: Callable[[], Any], what: str = "") -> None:
        """Wait for something to hold; fail with what the screen says."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > end:
                pytest.fail(f"{what or 'it'} did not come; the screen says:\n{self.text()}")
            await self.pilot.pause(0.02)

    def words(self) -> str:
        """The same in one line: long sentences are wrapped."""
        return " ".join(self.text().replace("│", " ").split())

    async def sees(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.text() or text in self.words() for text in texts), f"{texts}")

    async def hears(self, text: str) -> None:
        """Wait for a notice; on the screen it may be wrapped, with a table beside it."""
        await self.until(lambda: any(text in one.message for one in self.app._notifications), f"the notice {text!r}")

    async def sees_no_more(self, text: str) -> None:
        await self.until(lambda: text not in self.text(), f"no {text!r}")


def drive(
    q: PrismQ,
    steps: Callable[[Driver], Awaitable[None]],
    *,
    size: tuple[int, int] = (80, 24),
    **options: Any,
) -> None:
    """Run the program, headless, and take the steps."""

    async def run() -> None:
        app = Top(q, **{"interval_s": INTERVAL_S, **options})
        async with app.run_test(size=size, notifications=True) as pilot:
            await steps(Driver(app, pilot))

    asyncio.run(run())
