"""Looking through log lines, and the spans that are kept with a task, on each engine."""

from __future__ import annotations

from typing import Any

import pytest

from prismq.domain import limits
from prismq.domain.lease import LogLine
from prismq.domain.span import AttemptSpans, spans_of
from prismq.domain.task import LogFilter
from prismq.domain.times import epoch_to_text
from prismq.storage import log_pages
from prismq.storage.contract import Batch, Store
from tests.helpers.builders import a_task, claim_one
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

HOUR = 3600.0


def say(store: Store, clock: FakeClock, task_id: int, message: str, level: str = "INFO", details: Any = None) -> None:
    assert store.logs.add(LogLine(task_id, clock.now(), level, message, details, 1))


def messages(store: Store, limit: int = 100, **which: Any) -> list[str | None]:
    return [line.message for line in store.logs.find(LogFilter(**which), limit=limit).lines]


def test_lines_are_found_by_level_text_task_and_time_newest_first(store: Store, clock: FakeClock) -> None:
    first, second = (store.inbox.enqueue(a_task(), clock.now()).task_id for _ in range(2))
    start = clock.now()
    for n, level in enumerate(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")):
        say(store, clock, first if n % 2 else second, f"Line {n} of 100%", level, f'{{"order": "A_{n}"}}')
        clock.advance(HOUR)

    assert messages(store) == [f"Line {n} of 100%" for n in (4, 3, 2, 1, 0)]
    assert messages(store, level="WARNING") == [f"Line {n} of 100%" for n in (4, 3, 2)]
    assert messages(store, text="line 3 OF 100%") == ["Line 3 of 100%"]
    assert messages(store, text="a_3") == ["Line 3 of 100%"]
    assert messages(store, text="a%3") == []
    assert messages(store, task_id=first) == ["Line 3 of 100%", "Line 1 of 100%"]
    assert messages(store, task_id=first, level="ERROR", text="line") == ["Line 3 of 100%"]
    assert messages(store, after=start + HOUR, before=start + 3 * HOUR) == ["Line 2 of 100%", "Line 1 of 100%"]
    assert messages(store, task_id=second, before=start + HOUR) == ["Line 0 of 100%"]
    assert messages(store, level="NONE") == []
    assert messages(store, limit=2) == ["Line 4 of 100%", "Line 3 of 100%"]


def test_nothing_is_found_where_nothing_is(store: Store) -> None:
    assert store.logs.find(LogFilter()) == ([], None)
    assert store.logs.find(LogFilter(task_id=1), before_id=7) == ([], None)


@pytest.mark.parametrize("of_task", [True, False])
def test_pages_lead_through_all_lines_once(store: Store, clock: FakeClock, of_task: bool) -> None:
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    for n in range(25):
        say(store, clock, task_id, f"{n}")
    which = LogFilter(task_id=task_id if of_task else None)
    found, cursor, pages = [], None, 0
    while True:
        page = store.logs.find(which, limit=10, before_id=cursor)
        found += [line.message for line in page.lines]
        pages += 1
        cursor = page.next_before_id
        if cursor is None:
            break
    assert found == [f"{n}" for n in reversed(range(25))]
    assert pages == 3


def test_a_look_through_all_lines_has_an_end_and_says_where_to_go_on(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "LOGS_LOOKED_AT", 10)
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    say(store, clock, task_id, "the needle")
    for n in range(24):
        say(store, clock, task_id, f"hay {n}")
    pages = [store.logs.find(LogFilter(text="needle"))]
    while pages[-1].next_before_id is not None:
        pages.append(store.logs.find(LogFilter(text="needle"), before_id=pages[-1].next_before_id))
    assert [len(page.lines) for page in pages] == [0, 0, 1]


def test_a_look_for_old_lines_begins_and_ends_at_their_time(
    engine: Engine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "LOGS_LOOKED_AT", 10)
    store = engine.store
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    start = clock.now()
    for n in range(200):
        clock.advance(HOUR)
        say(store, clock, task_id, f"hour {n}")
    page = store.logs.find(LogFilter(after=start + 50 * HOUR, before=start + 53 * HOUR))
    assert [line.message for line in page.lines] == ["hour 51", "hour 50", "hour 49"]
    assert page.next_before_id is None


def test_lines_written_by_hand_with_strange_times_do_not_stop_a_search(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    for moment in (0.0, clock.now() + 1e8, clock.now()):
        engine.hand(
            f"INSERT INTO task_logs (task_id, at_utc, message) VALUES ({task_id}, '{epoch_to_text(moment)}', 'by hand')"
        )
    assert len(store.logs.find(LogFilter(text="by hand")).lines) == 3
    assert limits.LOGS_LOOKED_AT == log_pages.LOGS_LOOKED_AT


# -- spans


def test_spans_are_kept_by_attempt_and_go_with_their_task(store: Store, clock: FakeClock) -> None:
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    lease = claim_one(store, clock)
    text = (
        '[{"id": "b", "parent": "a", "name": "inner", "start": 2.0, "duration_s": 0.5, "status": "ok"},'
        ' {"id": "a", "name": "task:execute", "start": 1.0, "duration_s": 2.0, "attributes": {"n": 1}}]'
    )
    kept = AttemptSpans(task_id, lease.fencing_token, 1, "f" * 32, text)
    gone = AttemptSpans(task_id + 1, 1, 1, "e" * 32, text)
    assert Batch(spans=[kept])
    store.work.exchange(Batch(spans=[kept, gone]), None, clock.now())
    store.work.exchange(Batch(spans=[kept]), None, clock.now())  # the answer was lost on the way

    [row] = store.logs.spans(task_id)
    assert row[:4] == kept[:4]
    outer, inner = spans_of(row)
    assert (outer.name, outer.parent_id, outer.status, outer.attributes) == ("task:execute", None, "unset", {"n": 1})
    assert (inner.name, inner.parent_id, inner.duration_s, inner.attempt) == ("inner", "a", 0.5, 1)
    assert store.logs.spans(task_id + 1) == []

    store.work.exchange(Batch(spans=[kept._replace(fencing_token=2, attempt=2, spans="[]")]), None, clock.now())
    assert [row.attempt for row in store.logs.spans(task_id)] == [1, 2]


def test_spans_that_cannot_be_read_are_left_out() -> None:
    for text in ("", "{}", "[1]", '[{"id": "a"}]', '[{"id":"a","name":"n","start":"x","duration_s":1}]'):
        assert spans_of(AttemptSpans(1, 1, 1, "f" * 32, text)) == []
