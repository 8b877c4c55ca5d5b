"""Every engine, a watch over it that steps when a test says so, and a real receiver of what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from prismq.config.alerts import AlertsConfig, SloConfig
from prismq.domain.events import Event
from prismq.observability.alerts.look import Surroundings
from prismq.observability.alerts.watch import Watch, Watching
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import AlertRecord
from tests.helpers.clock import FakeClock
from tests.helpers.engines import ENGINES, Engine
from tests.helpers.receiver import Receiver, receiver

SECRET = "a secret of some length"


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with ENGINES[request.param](tmp_path) as engine:
        yield engine


@pytest.fixture
def store(engine: Engine) -> Store:
    return engine.store


@pytest.fixture
def pager() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


class Watched:
    """A watch, and what became of the alerts."""

    def __init__(
        self,
        store: Store,
        clock: FakeClock,
        pager: Receiver,
        *,
        holder: str = "one",
        slo: dict[str, Any] | None = None,
        around: Surroundings | None = None,
        **alerts: Any,
    ) -> None:
        channel = {"webhook": pager.url, "secret": SECRET, "severities": ["page", "ticket", "info"]}
        settings = {"channels": {"pager": channel}, "group_wait_seconds": 0.0, **alerts}
        self.events: list[Event] = []
        self.store, self.clock, self.pager = store, clock, pager
        self._holder, self._slo, self._around = holder, SloConfig(**(slo or {})), around or Surroundings()
        self._settings = settings
        self.restart()

    def restart(self, **alerts: Any) -> None:
        """The process is stopped, and begins anew with these settings changed."""
        if hasattr(self, "watch"):
            self.watch.close()
        self.config = AlertsConfig(**{**self._settings, **alerts})
        self.watch = Watch(
            self.store,
            self.clock,
            Random(1),
            self.events.append,
            Watching(self._holder, self.config, self._slo, self._around),
        )

    def step(self, after_s: float = 0.0) -> float:
        """Some time later, one look; what it has to say has arrived when this returns."""
        self.clock.advance(after_s)
        delay_s = self.watch.step()
        self.watch.deliverer.wait(30)
        return delay_s

    def for_(self, seconds: float, every_s: float = 15.0) -> None:
        """Look again and again for a while."""
        left = seconds
        while left > 0:
            self.step(min(every_s, left))
            left -= every_s

    def open(self, rule: str) -> list[AlertRecord]:
        """Its alerts that are pending or firing."""
        return [one for one in self.store.alerts.open() if one.rule == rule]

    def firing(self, rule: str) -> list[AlertRecord]:
        """Its alerts that fire."""
        return [one for one in self.open(rule) if one.state == "firing"]

    def told(self, rule: str) -> list[str]:
        """What the receiver was told of the rule: the kinds, in their order."""
        return [kind for kind, name in self.pager.alerts if name == rule]


@pytest.fixture
def watched(store: Store, clock: FakeClock, pager: Receiver) -> Watched:
    return Watched(store, clock, pager)
