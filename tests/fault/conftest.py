"""Real processes, real files, real faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq import PrismQ
from tests.fault import apps
from tests.helpers.history import check_books


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A file; in the end SQLite and the books find it in order."""
    path = tmp_path / "queue.db"
    yield path
    assert check_books(path) == []


@pytest.fixture
def q(database: Path) -> Iterator[PrismQ]:
    """The client's side of tests/fault/apps.py, on that file."""
    apps.q.connect(database)
    assert apps.q.store.name
    yield apps.q
    apps.q.close()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Where handlers write what they do."""
    folder = tmp_path / "history"
    folder.mkdir()
    return folder
