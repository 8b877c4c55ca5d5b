"""What a move promises, for every pair of engines."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import NewTask, TaskFilter
from prismq.domain.times import from_epoch
from prismq.domain.worker import Worker
from prismq.storage import copying
from prismq.storage.contract import Store
from prismq.storage.contract.transfer import LEFT, MOVED, MoveState
from prismq.storage.copying import Step
from prismq.storage.move import Move, abort
from prismq.storage.sqlite.store import SqliteStore
from tests.helpers.engines import Engine
from tests.helpers.moving import differences, fill, rows_of
from tests.helpers.processes import wait_until
from tests.move.conftest import Pair


def filled(store: Store, engines: Callable[[str], Engine], tasks: int = 160) -> None:
    """Rows of every kind; into another engine than SQLite they come by a move."""
    if isinstance(store, SqliteStore):
        with store.database.transaction() as connection:
            fill(connection, tasks)
        return
    origin = engines("sqlite").store
    filled(origin, engines, tasks)
    Move(origin, store, names=("the origin", "here"), clock=SYSTEM_CLOCK).run(by="test", with_leases=True)
    store.transfer.reopen(None)
    assert differences(rows_of(origin, store), rows_of(store, origin)) == []


def totals(store: Store) -> list[tuple[object, ...]]:
    return [
        (*one[:-2], *(bins and json.loads(bins) for bins in one[-2:]))
        for one in store.insight.totals(SYSTEM_CLOCK.now())
    ]


def a_task(**values: object) -> NewTask:
    return NewTask(**{"type": "t", "payload": "{}", **values})  # type: ignore[arg-type]


def enqueue(store: Store, **values: object) -> int:
    return store.inbox.enqueue(a_task(**values), SYSTEM_CLOCK.now()).task_id


def test_every_table_of_the_schema_is_moved_or_left_for_a_reason(engines: Callable[[str], Engine]) -> None:
    known = {table.name for table in MOVED} | set(LEFT)
    for kind in ("sqlite", "postgres"):
        store = engines(kind).store
        assert store.transfer.tables() <= known, f"say in MOVED or LEFT what becomes of them ({kind})"
        assert {table.name for table in MOVED} <= store.transfer.tables()


def test_both_engines_have_the_same_columns_to_move(engines: Callable[[str], Engine]) -> None:
    sqlite, postgres = engines("sqlite").store.transfer, engines("postgres").store.transfer
    for table in MOVED:
        assert set(sqlite.columns(table)) == set(postgres.columns(table)), table.name


def test_every_row_arrives_as_it_was(pair: Pair, engines: Callable[[str], Engine]) -> None:
    filled(pair.source, engines)
    before = {table.name: pair.source.transfer.count(table) for table in MOVED if table.name != "task_totals"}

    done = pair.move().run(by="test", with_leases=True)

    source, target = rows_of(pair.source, pair.target), rows_of(pair.target, pair.source)
    assert differences(source, target) == []
    counts = {one.table: one.rows for one in done.tables}
    assert all(counts[name] >= rows for name, rows in before.items())
    assert all(counts[name] > 0 for name in counts), "a table that was empty proves nothing"
    assert pair.target.insight.depth() == pair.target.insight.recount() == pair.source.insight.recount()
    assert totals(pair.target) == totals(pair.source) != []


def test_there_and_back_again_changes_nothing(engines: Callable[[str], Engine]) -> None:
    here, there, again = engines("sqlite").store, engines("postgres").empty(), engines("sqlite").empty()
    filled(here, engines, 400)

    Move(here, there, names=("here", "there"), clock=SYSTEM_CLOCK).run(by="test", with_leases=True)
    Move(there, again, names=("there", "again"), clock=SYSTEM_CLOCK).run(by="test", with_leases=True)

    assert differences(rows_of(here, there), rows_of(again, there)) == []


def test_no_id_is_given_out_twice_and_new_work_is_booked(pair: Pair, engines: Callable[[str], Engine]) -> None:
    filled(pair.source, engines)
    last = max(enqueue(pair.source) for _ in range(3))
    pair.source.tasks.delete(TaskFilter(ids=(last,)))

    pair.move().run(by="test", with_leases=True)

    assert enqueue(pair.target) > last
    assert pair.target.insight.depth() == pair.target.insight.recount()
    pair.target.tasks.cancel(TaskFilter(type="t"), SYSTEM_CLOCK.now())
    pair.target.tasks.delete(TaskFilter(statuses=("completed",)))
    assert pair.target.insight.depth() == pair.target.insight.recount()


def test_the_old_queue_takes_no_writes_and_says_where_it_went(pair: Pair) -> None:
    task_id = enqueue(pair.source)
    pair.move().run(by="test")

    for write in (
        lambda: enqueue(pair.source),
        lambda: pair.source.tasks.delete(TaskFilter(ids=(task_id,))),
        lambda: pair.source.queues.pause("default", "me", 0.0),
        lambda: pair.source.inbox.enqueue_many([a_task()] * 500, 0.0),
        lambda: pair.source.workers.register(Worker(worker_id="late"), 0.0),
    ):
        with pytest.raises(QueueDatabaseError, match=r"^this queue has moved to .*nothing was written") as caught:
            write()
        assert pair.target.name in str(caught.value)
    with pytest.raises(pair.source_engine.refusal, match="this queue has moved"):
        pair.source_engine.hand("INSERT INTO task_queue (type, payload) VALUES ('x', '{}')")
    assert pair.source.tasks.get(task_id) is not None, "reading goes on"


def test_nothing_can_be_written_to_a_target_that_is_not_complete(pair: Pair) -> None:
    enqueue(pair.source)
    refused: list[str] = []

    def look(step: Step) -> None:
        if step.what == "comparing task_logs":
            with pytest.raises(QueueDatabaseError, match=r"^this queue is being moved here from") as caught:
                enqueue(pair.target)
            refused.append(str(caught.value))
            with pytest.raises(QueueDatabaseError, match=r"^this queue is being moved to .*prismq move --abort"):
                enqueue(pair.source)

    pair.move(look).run(by="test")
    assert refused
    assert enqueue(pair.target) == 2


def test_what_changes_while_everything_is_copied_arrives_as_it_is_in_the_end(
    pair: Pair, engines: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_ROWS", 20)
    filled(pair.source, engines)
    keyed = enqueue(pair.source, idempotency_key="wanders")
    first = enqueue(pair.source)
    steps = 0

    def interfere(step: Step) -> None:
        nonlocal steps
        if not step.what.startswith("copying"):
            return
        steps += 1
        store, now = pair.source, SYSTEM_CLOCK.now()
        enqueue(store, queue=f"new-{steps}")
        store.tasks.retry(TaskFilter(ids=tuple(range(steps, steps + 3))), now)
        store.queues.pause(f"paused-{steps}", "me", now)
        if steps == 30:  # when the tasks are long copied
            store.tasks.delete(TaskFilter(ids=(keyed,)))
            assert enqueue(store, idempotency_key="wanders") != keyed
            # The key of a later task goes to an earlier one.
            pair.source_engine.hand("UPDATE task_queue SET idempotency_key = NULL WHERE idempotency_key = 'wanders'")
            pair.source_engine.hand(f"UPDATE task_queue SET idempotency_key = 'wanders' WHERE id = {first}")
            store.tasks.delete(TaskFilter(statuses=("cancelled",)))

    pair.move(interfere).run(by="test", with_leases=True)

    assert steps > 30
    assert differences(rows_of(pair.source, pair.target), rows_of(pair.target, pair.source)) == []
    assert pair.target.insight.depth() == pair.target.insight.recount()


def test_an_enqueue_meanwhile_is_refused_or_arrives(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_ROWS", 50)
    client = pair.source_engine.another()
    for _ in range(200):
        enqueue(pair.source)
    acknowledged: list[int] = []
    refused: list[str] = []
    over = threading.Event()

    def keep_enqueueing() -> None:
        while not over.wait(0.002):  # a thread that never rests would leave the move no time
            try:
                acknowledged.append(enqueue(client, queue="live"))
            except QueueDatabaseError as error:
                refused.append(str(error))

    thread = threading.Thread(target=keep_enqueueing)
    thread.start()
    try:
        wait_until(lambda: len(acknowledged) > 20, "enqueues go on")
        pair.move().run(by="test")
        wait_until(lambda: any("has moved" in text for text in refused), "the client was told")
    finally:
        over.set()
        thread.join()

    assert all(text.startswith("this queue ") for text in refused), refused[:3]
    arrived = {task.id for task in pair.target.tasks.find(TaskFilter(queue="live"), limit=10**6)}
    assert arrived == set(acknowledged)


def test_a_running_task_is_waited_for_and_then_given_up(pair: Pair) -> None:
    now = SYSTEM_CLOCK.now()
    enqueue(pair.source)
    pair.source.workers.register(Worker(worker_id="w1", status="active", heartbeat_utc=from_epoch(now)), now)
    pair.source_engine.hand(
        "UPDATE task_queue SET status = 'processing', locked_by = 'w1', attempts = 1, lease_until_utc = ?",
        (str(from_epoch(now + 600))[:19],),
    )

    with pytest.raises(QueueDatabaseError, match=r"1 task still ran.*told to go on"):
        pair.move().run(by="ada", timeout_s=0.3)

    [(pause, _, why), (resume, _, _)] = pair.source.workers.take_commands("w1", SYSTEM_CLOCK.now())
    assert (pause.value, resume.value) == ("pause", "resume")
    assert why.startswith("ada: the queue moves to ")
    assert enqueue(pair.source), "the source is open"

    pair.source_engine.hand("UPDATE task_queue SET status = 'completed', lease_until_utc = NULL WHERE id = 1")
    pair.source.workers.stop("w1", "stopped", None, SYSTEM_CLOCK.now())
    pair.move().run(by="ada", timeout_s=5)
    assert differences(rows_of(pair.source, pair.target), rows_of(pair.target, pair.source)) == []


def test_a_target_with_anything_in_it_is_refused(pair: Pair) -> None:
    enqueue(pair.source)
    pair.target.prepare()
    pair.target.queues.pause("mine", "me", 0.0)
    for attempt in (pair.move().plan, lambda: pair.move().run(by="test")):
        with pytest.raises(QueueDatabaseError, match=r"is not empty \(there are rows in queues\)"):
            attempt()
    assert pair.source.transfer.mark() is None
    assert enqueue(pair.source)


def test_a_queue_is_not_moved_onto_itself(pair: Pair) -> None:
    enqueue(pair.source)
    again = pair.source_engine.another()
    with pytest.raises(QueueDatabaseError, match="the queue itself"):
        Move(pair.source, again, names=("a", "b"), clock=SYSTEM_CLOCK).run(by="test")
    assert pair.source.transfer.mark() is None


def test_a_plan_writes_nothing(pair: Pair, engines: Callable[[str], Engine]) -> None:
    filled(pair.source, engines)
    before = rows_of(pair.source)
    plan = pair.move().plan()
    assert {one.table: one.rows for one in plan.tables}["task_queue"] == pair.source.transfer.count(MOVED[0])
    assert plan.obstacles == []
    assert plan.target_is_new
    assert pair.target.pending(), "no schema was left there"
    assert differences(before, rows_of(pair.source)) == []
    assert pair.source.transfer.mark() is None


class _Interrupted(Exception):
    """In place of whatever may go wrong."""


def interrupted_at(what: str) -> Callable[[Step], None]:
    def report(step: Step) -> None:
        if step.what == what:
            raise _Interrupted

    return report


@pytest.mark.parametrize("where", ["copying task_logs", "comparing task_logs"])
def test_after_a_failure_the_source_is_open_and_the_move_can_go_on(pair: Pair, where: str) -> None:
    enqueue(pair.source)
    with pytest.raises(_Interrupted):
        pair.move(interrupted_at(where)).run(by="test")
    enqueue(pair.source)  # not refused
    pair.move().run(by="test")
    assert differences(rows_of(pair.source, pair.target), rows_of(pair.target, pair.source)) == []
    assert len(pair.target.tasks.find(TaskFilter())) == 2


def test_interrupted_in_the_moment_of_the_switch_it_is_finished_later_and_not_given_up(pair: Pair) -> None:
    enqueue(pair.source)
    with pytest.raises(_Interrupted):
        pair.move(interrupted_at("switching")).run(by="test")
    mark = pair.source.transfer.mark()
    assert mark is not None
    assert mark.state is MoveState.SWITCHING
    with pytest.raises(QueueDatabaseError, match="in the very moment of the switch"):
        abort(pair.source, "here")

    pair.move().run(by="test")
    assert enqueue(pair.target)
    with pytest.raises(QueueDatabaseError, match="has been moved"):
        abort(pair.source, "here", pair.target)


def test_an_opened_target_is_never_copied_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue(pair.source)
    move = pair.move()
    finish = pair.target.transfer.finish

    def finish_and_fail(*given: object) -> None:
        finish(*given)  # type: ignore[arg-type]
        raise _Interrupted  # the answer was lost

    monkeypatch.setattr(pair.target.transfer, "finish", finish_and_fail)
    with pytest.raises(_Interrupted):
        move.run(by="test")
    new = enqueue(pair.target)
    monkeypatch.undo()

    assert pair.move().run(by="test").tables == []
    assert pair.target.tasks.get(new) is not None
    mark = pair.source.transfer.mark()
    assert mark is not None
    assert mark.state is MoveState.MOVED


@pytest.mark.parametrize("from_which_side", ["source", "target", "both"])
def test_given_up_the_source_is_as_before_and_the_target_empty(
    pair: Pair, engines: Callable[[str], Engine], from_which_side: str
) -> None:
    filled(pair.source, engines)
    before = rows_of(pair.source)
    with pytest.raises(_Interrupted):
        pair.move(interrupted_at("copying task_logs")).run(by="test", with_leases=True)

    if from_which_side == "both":
        abort(pair.source, "here", pair.target)
    if from_which_side == "source":
        assert "still at" in abort(pair.source, "here")
        with pytest.raises(QueueDatabaseError, match="holds an unfinished move"):
            pair.move().run(by="test", with_leases=True)
    if from_which_side in ("target", "source"):
        abort(pair.target, "there")

    assert differences(before, rows_of(pair.source)) == []
    assert all(pair.target.transfer.count(table) == 0 for table in MOVED)
    assert pair.target.transfer.mark() is None
    assert enqueue(pair.target) == 1
    assert pair.target.insight.depth() == pair.target.insight.recount()
    with pytest.raises(QueueDatabaseError, match="is not being moved"):
        abort(pair.target, "there")
    if from_which_side != "target":
        assert pair.source.transfer.mark() is None


def test_two_processes_do_not_move_one_queue_at_once(pair: Pair) -> None:
    enqueue(pair.source)
    refusals: list[str] = []

    def try_too(step: Step) -> None:
        if step.what == "copying task_logs":
            with pytest.raises(QueueDatabaseError) as caught:
                pair.move().run(by="another")
            refusals.append(str(caught.value))

    pair.move(try_too).run(by="test")
    assert "by another process" in refusals[0]


def test_rows_of_tasks_that_do_not_exist_are_counted_and_left(engines: Callable[[str], Engine]) -> None:
    source = engines("sqlite")
    enqueue(source.store)
    source.hand("PRAGMA foreign_keys = OFF")
    source.hand("INSERT INTO task_logs (task_id, message) VALUES (999, 'an orphan'), (1, 'no orphan')")
    source.hand("INSERT INTO workers (worker_id) VALUES (NULL)")
    target = engines("postgres").empty()
    move = Move(source.store, target, names=("a", "b"), clock=SYSTEM_CLOCK)

    left = {one.table: one.left_out for one in move.plan().tables if one.left_out}
    assert left == {"task_logs": 1, "workers": 1}
    move.run(by="test")
    assert [log.message for log in target.tasks.logs(1)] == ["no orphan"]


def test_a_transaction_of_somebody_elses_is_in_it_or_stops_the_move(pair: Pair) -> None:
    enqueue(pair.source)
    theirs = pair.source_engine.callers_connection()
    theirs.execute("INSERT INTO task_queue (type, payload) VALUES ('theirs', '{}')")

    with pytest.raises(QueueDatabaseError, match=r"locked by another program|held a transaction open"):
        pair.move().run(by="test", timeout_s=0.2)

    theirs.commit()
    pair.move().run(by="test", timeout_s=30)
    assert len(pair.target.tasks.find(TaskFilter(type="theirs"))) == 1
    assert differences(rows_of(pair.source, pair.target), rows_of(pair.target, pair.source)) == []


def test_what_postgresql_alone_can_hold_is_refused_on_the_way_to_sqlite(engines: Callable[[str], Engine]) -> None:
    source = engines("postgres")
    for column, value in (
        ("created_at_utc", "infinity"),
        ("created_at_utc", "0044-03-15 BC"),
        ("timeout_seconds", "NaN"),
    ):
        source.hand(f"INSERT INTO task_queue (type, payload, {column}) VALUES ('t', '{{}}', '{value}')")
    move = Move(source.store, engines("sqlite").store, names=("a", "b"), clock=SYSTEM_CLOCK)
    found = {(one.column, one.rows, tuple(one.examples)) for one in move.plan().obstacles}
    assert found == {("created_at_utc", 2, ((1,), (2,))), ("timeout_seconds", 1, ((3,),))}
    with pytest.raises(QueueDatabaseError, match="created_at_utc of the row 1 of task_queue has a time that is not"):
        move.run(by="test")
    source.hand("INSERT INTO task_queue (type, payload) VALUES ('t', '{}')")  # it is open


def test_times_of_postgresql_keep_their_microseconds_in_sqlite_and_sort_there(engines: Callable[[str], Engine]) -> None:
    source, target = engines("postgres"), engines("sqlite")
    times = [
        "2025-01-31 06:30:00+00",
        "2025-01-31 06:30:00.1+00",
        "2025-01-31 06:30:00.123456+00",
        "2025-01-31 06:30:01+00",
    ]
    for time in times:
        source.hand(f"INSERT INTO task_queue (type, payload, created_at_utc) VALUES ('t', '{{}}', '{time}')")
    Move(source.store, target.store, names=("a", "b"), clock=SYSTEM_CLOCK).run(by="test")
    assert [text for (text,) in target.look("SELECT created_at_utc FROM task_queue ORDER BY created_at_utc")] == [
        "2025-01-31 06:30:00.000",
        "2025-01-31 06:30:00.100",
        "2025-01-31 06:30:00.123456",
        "2025-01-31 06:30:01.000",
    ]
