"""One suite judges every engine: ask for `store` or `engine`, never for a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq.storage.contract import Store
from tests.helpers.engines import ENGINES, Engine


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with ENGINES[request.param](tmp_path) as engine:
        yield engine


@pytest.fixture
def store(engine: Engine) -> Store:
    return engine.store


@pytest.fixture(autouse=True)
def _books_are_right_in_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did, the books equal the table afterwards."""
    if "engine" not in request.fixturenames:
        yield
        return
    engine: Engine = request.getfixturevalue("engine")
    yield
    assert engine.store.insight.depth() == engine.store.insight.recount()
