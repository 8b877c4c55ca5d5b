"""A queue that is moved while real workers run its tasks and a program enqueues: nothing lost, nothing done twice."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import NewTask
from prismq.storage.contract import Store
from prismq.storage.move import Move
from prismq.storage.open import open_store
from tests.helpers.history import check_books, problems, read
from tests.helpers.postgres import server
from tests.helpers.processes import supervised, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def enqueue(store: Store, name: str, payload: str) -> int:
    new = NewTask(type=name, payload=payload, max_attempts=100)
    return store.inbox.enqueue(new, SYSTEM_CLOCK.now()).task_id


@pytest.mark.parametrize("back", [False, True], ids=["sqlite-to-postgres", "postgres-to-sqlite"])
def test_a_queue_at_work_moves_with_everything_it_has_to_do(back: bool, tmp_path: Path) -> None:
    places: list[Path | str] = [tmp_path / "queue.db", server().url(server().new_database())]
    here, there = reversed(places) if back else places
    history = tmp_path / "history"
    history.mkdir()
    env = {"PRISMQ_TEST_HISTORY": str(history)}
    source, target = _opened(here), _opened(there)
    source.prepare()
    acknowledged = [enqueue(source, "nap", '{"seconds": 0.05}') for _ in range(100)]
    acknowledged += [enqueue(source, "anap", '{"seconds": 2.5}') for _ in range(3)]
    refused: list[str] = []
    over = threading.Event()

    def keep_enqueueing() -> None:
        client = _opened(here)
        while not over.wait(0.005):
            try:
                acknowledged.append(enqueue(client, "noop", "{}"))
            except QueueDatabaseError as error:
                refused.append(str(error))
        client.close()

    program = threading.Thread(target=keep_enqueueing)
    with supervised(here, env=env, logs=tmp_path, lease_duration_seconds=30, concurrency=2) as old:
        program.start()
        try:
            wait_until(lambda: len(read(history)) > 30, "work goes on")
            # In the worker's hands when it is asked to end.
            acknowledged.append(enqueue(source, "nap", '{"seconds": 3}'))
            Move(source, target, names=("here", "there"), clock=SYSTEM_CLOCK).run(by="ada", timeout_s=120)
            wait_until(lambda: any("has moved" in text for text in refused), "the program was told")
        finally:
            over.set()
            program.join()
        assert old.wait() == 0, old.log()[-3000:]
        assert any("ada: the queue moves to there" in str(entry) for entry in old.events("worker_state_changed"))

    assert not source.transfer.held()
    assert all(text.startswith("this queue ") for text in refused), refused[:3]
    with supervised(there, env=env, logs=tmp_path, lease_duration_seconds=30) as new:
        total = len(acknowledged)
        wait_until(lambda: sum(_ended(target)) >= total, "all are done over there", 90)
        assert new.stop() == 0
    source.close()
    target.close()
    assert problems(there, history, acknowledged, {}) == []
    assert check_books(there) == []
    assert {run.attempt for run in read(history)} == {1}, "none was given up on the way"


def _opened(place: Path | str) -> Store:
    return open_store("sqlite" if isinstance(place, Path) else "postgresql", str(place))


def _ended(store: Store) -> list[int]:
    return [tasks for (_, _, status, _), tasks in store.insight.depth().items() if status == "completed"]
