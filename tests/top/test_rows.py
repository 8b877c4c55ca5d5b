"""What the tables of `prismq top` are made of: values in, rows and columns out. No terminal, no store."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.cli.top import words
from prismq.cli.top.actions import Deed, Refused, cancel_task, pause_queue, pause_worker, retry_task
from prismq.cli.top.looking import Look, Rates, Story
from prismq.cli.top.rows import (
    FAILURES,
    GAP,
    KINDS,
    QUEUES,
    RUNNING,
    WORKERS,
    Cell,
    Row,
    arranged,
    cell_width,
    details_of,
    fitted,
    next_sort,
    per_second,
    progress_of,
    trace_of,
)
from prismq.cli.top.spark import spark
from prismq.domain.task import Task, TaskLog
from prismq.domain.times import from_epoch
from prismq.domain.worker import Worker
from prismq.observability.condition import view_of
from prismq.server.views.drawing import Spark
from prismq.server.views.queues import QueueRow
from prismq.storage.contract import QueueInfo

NOW = 2_000_000_000.0


def a_queue(name: str = "mail", *, paused_at: float | None = None, slots: int = 4, **depth: int) -> QueueRow:
    info = QueueInfo(name, paused_at, "ada" if paused_at else None, None, depth, 7.0 if depth.get("queued") else None)
    return QueueRow(info, depth.get("processing", 0), slots, 1, 120.0, 60.0, 3, Spark([]), [])


def a_task(task_id: int = 1, **columns: object) -> Task:
    values = {"type": "mail.send", "status": "processing", "attempts": 1, **columns}
    return Task(id=task_id, **values)  # type: ignore[arg-type]


def a_look(**fields: object) -> Look:
    empty = Look(NOW, "SQLite queue.db", [], [], [], [], [], {}, None, "healthy", "All is well.")
    return replace(empty, **fields)  # type: ignore[arg-type]


def texts(rows: list[Row], column: str) -> list[str]:
    return [row.cells[column].text for row in rows]


def test_this_part_of_it_needs_no_textual() -> None:
    code = (
        "import sys; import prismq.cli.main, prismq.cli.top.rows, prismq.cli.top.words, prismq.cli.top.actions;"
        " assert 'textual' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- rows


def test_a_queue_has_its_rates_from_the_books_once_there_are_two_looks() -> None:
    rows = QUEUES.rows(a_look(queues=[a_queue(queued=1_234)]))
    assert (texts(rows, "in"), texts(rows, "out")) == (["2.0"], ["1.0"])
    rows = QUEUES.rows(a_look(queues=[a_queue(queued=1_234)], rates={"mail": Rates(30.0, 20.5, 0.5)}))
    assert (texts(rows, "in"), texts(rows, "out")) == (["30"], ["21"])
    assert texts(rows, "ready") == ["1,234"]
    assert texts(rows, "oldest") == ["7s"]


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (a_queue(), "open"),
        (a_queue(paused_at=NOW), "paused by ada"),
        (a_queue(queued=1, slots=0), "no worker"),
        (a_queue(slots=0), "open"),
    ],
)
def test_the_state_of_a_queue_in_a_word(row: QueueRow, state: str) -> None:
    assert texts(QUEUES.rows(a_look(queues=[row])), "state") == [state]


def a_worker(worker_id: str, ago_s: float = 1.0, **columns: object):
    columns = {"slots": 4, "busy": 2, "status": "active", "last_look_utc": from_epoch(NOW), **columns}
    worker = Worker(worker_id=worker_id, heartbeat_utc=from_epoch(NOW - ago_s), **columns)  # type: ignore[arg-type]
    return view_of(worker, NOW, 10.0)


def test_workers_that_alarm_stand_first() -> None:
    crew = [a_worker("fine"), a_worker("gone", 300.0), a_worker("late", 40.0), a_worker("resting", status="paused")]
    rows = arranged(WORKERS, WORKERS.rows(a_look(workers=crew)))
    assert [row.key for row in rows] == ["gone", "late", "resting", "fine"]
    assert texts(rows, "state") == ["silent", "late heartbeat", "paused", "active"]
    assert rows[3].cells["load"].text == "2/4 ██···"


def test_tasks_that_only_wait_in_a_worker_come_after_those_that_run() -> None:
    running = [
        a_task(1, status="claimed", reserved_at_utc=from_epoch(NOW - 100)),
        a_task(2, processing_started_utc=from_epoch(NOW - 5), progress='{"done": 1, "total": 4, "note": "half"}'),
        a_task(3, processing_started_utc=from_epoch(NOW - 50), progress='{"done": 7}'),
    ]
    rows = arranged(RUNNING, RUNNING.rows(a_look(running=running)))
    assert [row.key for row in rows] == ["3", "2", "1"]
    assert texts(rows, "progress") == ["7", "25% half", ""]


@pytest.mark.parametrize("text", ["[]", '{"done": "x", "total": 0}', '{"done": 1, "total": 0}', "nonsense", None])
def test_progress_by_hand_is_no_error(text: str | None) -> None:
    assert progress_of(a_task(progress=text)) in ("", "1")


def test_failures_are_told_by_their_first_line_the_latest_first() -> None:
    failed = [
        a_task(one, status="failed", finished_at_utc=from_epoch(NOW - ago), error_message=f"no {one}\nsecond line")
        for one, ago in ((1, 90), (2, 5), (3, 4_000))
    ]
    rows = arranged(FAILURES, FAILURES.rows(a_look(failures=failed)))
    assert texts(rows, "error") == ["no 2", "no 1", "no 3"]
    assert texts(rows, "ended") == ["5s", "90s", "66m"]
    assert [row.key for row in arranged(FAILURES, rows, text="NO 3")] == ["3"]
    assert [row.key for row in arranged(FAILURES, rows, sort="id", turned=True)] == ["1", "2", "3"]


# -- columns


def some_rows(number: int, widths: dict[str, int]) -> list[Row]:
    return [Row(str(n), {key: Cell("x" * width) for key, width in widths.items()}) for n in range(number)]


@given(
    st.sampled_from(KINDS),
    st.integers(20, 300),
    st.integers(0, 3),
    st.lists(st.integers(0, 120), min_size=14, max_size=14),
)
def test_the_columns_always_fit(kind, width: int, number: int, sizes: list[int]) -> None:  # type: ignore[no-untyped-def]
    rows = some_rows(number, dict(zip([one.key for one in kind.columns], sizes, strict=False)))
    columns = fitted(kind, rows, width)
    assert sum(size + GAP for _, size in columns) <= max(width, GAP + 1)
    assert all(size > 0 for _, size in columns)
    assert any(column.takes_rest for column, _ in columns)
    assert [column for column, _ in columns] == [one for one in kind.columns if one in [c for c, _ in columns]]


def test_sorting_goes_through_the_columns_that_are_shown_and_begins_again() -> None:
    shown = [column for column, _ in fitted(QUEUES, [], 80)]
    key, seen = None, []
    for _ in shown:
        key = next_sort(QUEUES, shown, key)
        seen.append(key)
    assert sorted(seen) == sorted(column.key for column in shown)
    assert "hour" not in seen


# -- words


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 5, ""),
        ([0, 0, 0], 5, "▁▁▁"),
        ([0, 1, 1000], 5, "▁▂█"),
        ([1, 1, 3, 3], 2, "▃█"),
        ([7.0], 5, "█"),
        ([1, 2], 0, ""),
    ],
)
def test_a_curve_as_blocks(values: list[float], width: int, drawn: str) -> None:
    assert spark(values, width) == drawn


@given(st.lists(st.floats(0, 1e9), max_size=200), st.integers(0, 100))
def test_a_curve_has_as_many_blocks_as_there_is_room(values: list[float], width: int) -> None:
    assert len(spark(values, width)) == min(len(values), width)


def test_rates_are_short() -> None:
    rates = (0, 0.012, 0.34, 5.0, 9.96, 1234.5)
    assert [per_second(one) for one in rates] == ["0", "0.01", "0.3", "5.0", "10", "1,234"]


@given(st.integers(30, 250))
def test_the_lines_above_the_tables_are_no_wider_than_the_terminal(width: int) -> None:
    look = a_look(queues=[a_queue(queued=10**6, scheduled=10**6, processing=10**4)], name="x" * 200, queue="漢" * 50)
    for line in (
        words.title(look, width=width, interval_s=2, age_s=1, error="", held=False),
        words.summary(look, width),
        words.throughput(look, width),
        words.tabs([("a", "1 Queues 1,000,000")] * 4, "a", width),
    ):
        assert cell_width(line.plain) <= max(width, 42)


def test_the_banner_says_what_is_wrong_and_nothing_where_all_is_well() -> None:
    fine = a_look()
    assert words.banner(fine, age_s=1, interval_s=2, error="") is None
    stale = words.banner(fine, age_s=30, interval_s=2, error="")
    assert stale is not None
    assert "has not answered for 30s" in stale.plain
    broken = words.banner(fine, age_s=30, interval_s=2, error="disk is full")
    assert broken is not None
    assert broken.plain == "The queue cannot be read: disk is full. What is shown is 30s old. It is tried again."
    sick = words.banner(a_look(verdict="unhealthy", sentence="Nobody works."), age_s=1, interval_s=2, error="")
    assert sick is not None
    assert sick.plain == "Nobody works."


def test_a_log_line_has_its_details_beside_it_and_its_trace_below() -> None:
    details = '{"attempt": 2, "to": "a\\nb", "stack_trace": "Traceback:\\n  File x\\n"}'
    assert details_of(details) == "attempt=2 to=a b"
    assert trace_of(details) == "Traceback:\n  File x"
    line = TaskLog(1, 1, from_epoch(NOW), "ERROR", "it broke\x1b[2J", details)
    text = words.log_lines(Story(a_task(), [line], [], NOW)).plain
    assert text.splitlines() == [
        "03:33:20.000 ERROR   it broke\\x1b[2J  attempt=2 to=a b", "    Traceback:", "      File x",
    ]  # fmt: skip
    assert "no log lines" in words.log_lines(Story(a_task(), [], [], NOW)).plain


# -- what may be done


@pytest.mark.parametrize("status", ["completed", "failed", "dead_letter", "cancelled"])
def test_what_has_ended_is_retried_and_not_cancelled(status: str) -> None:
    assert isinstance(retry_task(a_task(status=status)), Deed)
    assert isinstance(cancel_task(a_task(status=status)), Refused)


@pytest.mark.parametrize("status", ["queued", "scheduled", "claimed", "processing"])
def test_what_has_not_ended_is_cancelled_and_not_retried(status: str) -> None:
    assert isinstance(cancel_task(a_task(status=status)), Deed)
    assert isinstance(retry_task(a_task(status=status)), Refused)


def test_a_task_is_asked_to_stop_once() -> None:
    refused = cancel_task(a_task(cancel_requested_utc=from_epoch(NOW)))
    assert refused == Refused("Task 1 (mail.send) was asked to stop already, and has not yet.")


def test_a_pause_says_what_runs_on() -> None:
    assert pause_queue(a_queue(processing=2)).question.endswith("2 tasks of it will run on.")
    assert pause_queue(a_queue(paused_at=NOW)).question == "Resume the queue mail?"


def test_a_worker_that_ends_or_is_silent_takes_no_orders() -> None:
    assert isinstance(pause_worker(a_worker("w", status="draining")), Refused)
    assert isinstance(pause_worker(a_worker("w", 300.0)), Refused)
    assert isinstance(pause_worker(a_worker("w")), Deed)
