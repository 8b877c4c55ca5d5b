"""Moves between real databases of every pair of engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.storage.contract import Store
from prismq.storage.copying import Step
from prismq.storage.move import Move
from tests.helpers.engines import ENGINES, Engine

PAIRS = [(a, b) for a in ENGINES for b in ENGINES]


class Pair:
    """Two databases of their own: a source, filled, and a target in which there is nothing yet."""

    def __init__(self, source: Engine, target: Engine) -> None:
        self.source_engine, self.target_engine = source, target
        self.source: Store = source.store
        self.target: Store = target.empty()

    def move(self, report: Callable[[Step], None] = lambda step: None) -> Move:
        """Each call is another process's, as it were: with connections of its own to the source."""
        names = (self.source.name, self.target.name)
        return Move(self.source_engine.another(), self.target, names=names, clock=SYSTEM_CLOCK, report=report)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Callable[[str], Engine]]:
    """`engines("sqlite")`: a prepared, empty database of that kind."""
    with ExitStack() as stack:

        def make(kind: str) -> Engine:
            folder = tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return stack.enter_context(ENGINES[kind](folder))

        yield make


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-to-{pair[1]}")
def pair(request: pytest.FixtureRequest, engines: Callable[[str], Engine]) -> Pair:
    source, target = request.param
    return Pair(engines(source), engines(target))
