"""Client, store and worker together: real threads on a real file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq import PrismQ, QueueDatabase
from prismq.storage.open import store_of
from tests.integration import tasks
from tests.integration.support import Seen


@pytest.fixture
def q(tmp_path: Path) -> Iterator[PrismQ]:
    """A queue of the test's own; in the end its books are right."""
    queue = PrismQ(tmp_path / "queue.db")
    yield queue
    assert queue.store.insight.depth() == queue.store.insight.recount()
    queue.close()


@pytest.fixture
def module_q(tmp_path: Path) -> Iterator[PrismQ]:
    """The queue of tests/integration/tasks.py, whose tasks other processes can find, on a file of the test's own."""
    tasks.q.connect(tmp_path / "queue.db")
    yield tasks.q
    assert tasks.q.store.insight.depth() == tasks.q.store.insight.recount()
    tasks.q.close()


@pytest.fixture
def seen(q: PrismQ) -> Seen:
    """Every event of `q`, in order."""
    return Seen(q)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[QueueDatabase]:
    """A queue as somebody has it who writes its rows by hand; in the end its books are right."""
    with QueueDatabase(tmp_path / "by-hand.db") as database:
        database.initialize_schema()
        yield database
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'task_queue'").fetchone():
            insight = store_of(database).insight
            assert insight.depth() == insight.recount()
