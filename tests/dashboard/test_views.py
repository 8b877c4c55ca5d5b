"""What pages show, from the queue, on both engines; without a browser and without HTTP."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest

from prismq import PrismQ
from prismq.domain.errors import InvalidArgument, TaskNotFound, UnknownStatus
from prismq.domain.outcome import storable
from prismq.domain.redaction import Redactor
from prismq.domain.span import TaskSpan
from prismq.domain.status import TaskStatus
from prismq.domain.task import NewTask, Task
from prismq.domain.worker import WorkerStatus
from prismq.server.views.causes import cause_of, grouped
from prismq.server.views.cron_words import in_words
from prismq.server.views.drawing import bars, path_of
from prismq.server.views.enqueueing import enqueue_page, order_of, restored
from prismq.server.views.failures import failures_page
from prismq.server.views.history import RANGES, History, marks_of, percentiles, throughput
from prismq.server.views.overview import overview
from prismq.server.views.queues import queue_page, queues_page
from prismq.server.views.schedules import schedules_page
from prismq.server.views.selection import Pairs, action_of, ask, selection_of
from prismq.server.views.story import story, waterfall
from prismq.server.views.tasks import PAGE, tasks_page
from prismq.server.views.values import preview, shown, trace_lines
from prismq.server.views.workers import Gauges, worker_card, workers_page
from tests.helpers.builders import (
    a_report,
    a_worker,
    claim,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    start,
)
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site

HOUR = RANGES[1]


def pairs(**fields: Any) -> Pairs:
    return Pairs(
        [(name, str(one)) for name, value in fields.items() for one in (value if isinstance(value, list) else [value])]
    )


def enqueue(q: PrismQ, type_: str = "job", **options: Any) -> int:
    return q.store.inbox.enqueue(NewTask(type_, **options), q.clock.now()).task_id


# -- history


@pytest.mark.parametrize("span", RANGES, ids=[one.key for one in RANGES])
def test_a_history_holds_what_ended_in_each_slot_and_nothing_twice(q: PrismQ, clock: FakeClock, span: Any) -> None:
    for _ in range(3):
        enqueue(q)
        complete(q.store, clock, claim_one(q.store, clock))
        clock.advance(span.step_s)

    slots = History().slots(q.store, span, clock.now())

    assert len(slots) == round(span.seconds / span.step_s)
    assert [slot.count(["completed"]) for slot in slots][-4:] == [1, 1, 1, 0]
    assert sum(slot.count(["enqueued"]) for slot in slots) == 3
    assert slots[-1].at <= clock.now() < slots[-1].at + span.step_s


def test_a_slot_that_is_over_is_remembered_and_one_that_is_not_is_read_again(q: PrismQ, clock: FakeClock) -> None:
    history = History()
    enqueue(q)
    claim(q.store, clock)  # whoever claims books what is new
    assert sum(slot.count(["enqueued"]) for slot in history.slots(q.store, HOUR, clock.now())) == 1
    enqueue(q)
    claim(q.store, clock)
    clock.advance(1)
    assert sum(slot.count(["enqueued"]) for slot in history.slots(q.store, HOUR, clock.now())) == 2
    clock.advance(600)
    history.slots(q.store, HOUR, clock.now())
    before = dict(history._slots)
    history.slots(q.store, HOUR, clock.now())
    assert len(before) >= 50
    assert all(history._slots[key][1] is slot for key, (_, slot) in before.items())


def test_percentiles_have_a_gap_where_nothing_completed(q: PrismQ, clock: FakeClock) -> None:
    enqueue(q)
    lease = claim_one(q.store, clock)
    start(q.store, clock, lease)
    clock.advance(2.0)
    complete(q.store, clock, lease, was=TaskStatus.PROCESSING, started_at=clock.now() - 2.0)
    clock.advance(120)

    chart = percentiles("run", "Running time", History().slots(q.store, HOUR, clock.now()), ())

    values = chart.lines[0].values
    assert values[-1] is None
    assert [value for value in values if value is not None] == [pytest.approx(2.0, rel=0.03)]
    assert chart.unit == "s"
    assert "NaN" not in chart.to_json()


def test_starts_of_workers_are_marks_and_a_new_version_is_a_deploy(q: PrismQ, clock: FakeClock) -> None:
    first = clock.now()
    q.store.workers.register(a_worker("w1", version="1"), first)
    q.store.workers.register(a_worker("w2", version="1"), first + 5)
    q.store.workers.register(a_worker("w3", version="2"), first + 600)

    found = marks_of(q.store.workers.all(), first - 1, first + 1000)

    assert [(mark.at - first, mark.text) for mark in found] == [
        (pytest.approx(0, abs=0.01), "2 workers started"),
        (pytest.approx(600, abs=0.01), "deploy of 2"),
    ]


# -- pages


def test_the_overview_of_an_empty_queue_says_that_it_is_new(q: PrismQ) -> None:
    view = overview(q, History(), q.health(), HOUR, None)

    assert view.is_new
    assert view.now_running == []
    assert all(chart.is_empty for chart in view.charts)


def test_the_overview_counts_of_one_queue_or_of_all(q: PrismQ, clock: FakeClock) -> None:
    for queue in ("a", "a", "b"):
        enqueue(q, queue=queue)
    clock.advance(40)
    claim(q.store, clock, limit=1, queues=("a",))

    whole = overview(q, History(), q.health(), HOUR, None)
    one = overview(q, History(), q.health(), HOUR, "b")

    assert (whole.waiting, whole.running, len(whole.now_running)) == (2, 1, 1)
    assert (one.waiting, one.running) == (1, 0)
    assert [(age.queue, age.ready) for age in whole.ages] == [("a", 1), ("b", 1)]
    assert whole.oldest_s == pytest.approx(40, abs=0.1)
    assert not whole.is_new


def test_queues_tell_their_rates_and_how_busy_those_are_that_serve_them(q: PrismQ, clock: FakeClock) -> None:
    for _ in range(10):
        enqueue(q, queue="a")
    for lease in claim(q.store, clock, limit=10):
        complete(q.store, clock, lease)
    clock.advance(61)
    q.store.workers.register(a_worker("w1", slots=4, queues='["a"]'), clock.now())
    q.store.workers.heartbeat(a_report("w1", busy=1), clock.now())
    enqueue(q, queue="a")

    [row] = queues_page(q, History(), q.store.standing(q.clock.now())).rows

    assert (row.in_rate, row.out_rate) == (2.0, 2.0)
    assert (row.slots, row.busy, row.utilisation) == (4, 1, 0.25)
    page = queue_page(q, History(), "a", HOUR)
    assert page is not None
    assert dict(page.types)["job"]["completed"] == 10
    assert queue_page(q, History(), "nothing", HOUR) is None


def test_the_list_pages_through_what_matches_and_counts_by_status(q: PrismQ) -> None:
    ids = [enqueue(q, "x" if n % 2 else "y") for n in range(PAGE * 2 + 10)]

    first = tasks_page(q, selection_of(pairs()))
    second = tasks_page(q, selection_of(pairs()), first.next_before_id)
    third = tasks_page(q, selection_of(pairs()), second.next_before_id)

    assert [task.id for page in (first, second, third) for task in page.tasks] == ids[::-1]
    assert third.next_before_id is None
    assert first.matching == f"{len(ids)} tasks"
    only_x = tasks_page(q, selection_of(pairs(type="x")))
    assert {tab.label: tab.count for tab in only_x.tabs}["Queued"] == len(ids) // 2
    assert tasks_page(q, selection_of(pairs(status="completed"))).tasks == []


def test_a_free_search_looks_at_a_bounded_number_and_says_where_it_stopped(
    q: PrismQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prismq.server.finding.LOOKED_AT", 20)
    monkeypatch.setattr("prismq.server.finding._WINDOW", 5)
    ids = [enqueue(q, payload=f'{{"n":"needle{n}"}}' if n in (0, 30) else '{"n":"hay"}') for n in range(50)]

    first = tasks_page(q, selection_of(pairs(text="needle")))
    second = tasks_page(q, selection_of(pairs(text="needle")), first.next_before_id)
    third = tasks_page(q, selection_of(pairs(text="needle")), second.next_before_id)

    assert [[task.id for task in page.tasks] for page in (first, second, third)] == [[ids[30]], [], [ids[0]]]
    assert [page.looked_at for page in (first, second, third)] == [20, 20, 0]
    assert first.matching == "at least 1 task"
    assert third.next_before_id is None
    # With a status that an index holds, and few of them, all are searched.
    assert [task.id for task in tasks_page(q, selection_of(pairs(text="needle", status="queued"))).tasks] == [
        ids[30],
        ids[0],
    ]


def test_the_api_stops_a_free_search_likewise(site: Site, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prismq.server.finding.LOOKED_AT", 20)
    monkeypatch.setattr("prismq.server.finding._WINDOW", 5)
    ids = [enqueue(q, payload=f'{{"n":"needle{n}"}}' if n in (0, 30) else '{"n":"hay"}') for n in range(50)]
    found, cursor = [], None
    for _ in range(3):
        query = {"text": "needle"} if cursor is None else {"text": "needle", "cursor": cursor}
        page = site.anonymous.get("/api/v1/search/tasks", params=query).json()
        found.append([task["id"] for task in page["items"]])
        cursor = page["next_cursor"]
    assert found == [[ids[30]], [], [ids[0]]]
    assert cursor is None


def test_a_selection_is_the_link_that_it_was_read_from() -> None:
    given = Pairs(
        [
            ("status", "FAILED"),
            ("status", "running"),
            ("type", "a b&c"),
            ("text", "100 %"),
            ("after", "2025-01-31 06:30"),
        ]
    )

    found = selection_of(given)

    assert found.which.statuses == ("failed", "claimed", "processing")
    from urllib.parse import parse_qsl

    assert selection_of(Pairs(parse_qsl(found.query))) == found
    assert "type 'a b&c'" in found.words


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": "odd"}, UnknownStatus),
        ({"after": "yesterday"}, InvalidArgument),
        ({"id": "1 OR 1=1"}, InvalidArgument),
        ({"id": "٣"}, InvalidArgument),
        ({"id": str(2**63)}, InvalidArgument),
        ({"id": [str(n) for n in range(1001)]}, InvalidArgument),
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        selection_of(pairs(**fields))


def test_an_action_is_previewed_with_its_number_and_what_is_left_alone(q: PrismQ, clock: FakeClock) -> None:
    ids = [enqueue(q) for _ in range(3)]
    complete(q.store, clock, claim_one(q.store, clock))

    found = ask(q, action_of("cancel"), selection_of(pairs(id=[str(one) for one in ids])))

    assert (found.count, found.exact, found.left_alone) == (2, True, 1)
    assert {task.id for task in found.sample} == set(ids[1:])
    assert q.tasks.count(status="cancelled") == 0
    with pytest.raises(InvalidArgument, match="at least one condition"):
        ask(q, action_of("cancel"), selection_of(pairs()))
    with pytest.raises(InvalidArgument, match="no action"):
        action_of("explode")


def test_a_story_has_each_state_as_long_as_it_was_and_every_attempt(q: PrismQ, clock: FakeClock) -> None:
    task_id = enqueue(q, payload='{"to":"ada","password":"hunter2"}', tags='["a"]')
    clock.advance(5)
    lease = claim_one(q.store, clock)
    start(q.store, clock, lease)
    clock.advance(2)
    retry_later(q.store, clock, lease, 10.0, was=TaskStatus.PROCESSING)
    clock.advance(1)

    view = story(q, task_id)

    assert [bar.title.split(" for ")[0] for bar in view.path if not bar.title.startswith("claimed")] == [
        "waiting", "running", "backing off",
    ]  # fmt: skip
    assert sum(bar.width for bar in view.path) == pytest.approx(1, abs=0.001)
    assert "waiting for 5 s" in [bar.title for bar in view.path]
    assert [one.attempt.error_type for one in view.attempts] == ["ValueError"]
    assert "hunter2" not in str(view.payload)
    assert view.payload is not None
    assert "[redacted]" in view.payload.text
    assert view.tags == ["a"]
    assert not view.ended
    assert [run.is_this for run in view.runs] == [True]
    with pytest.raises(TaskNotFound):
        story(q, task_id + 1)


def test_a_story_compares_with_the_last_runs_of_the_type(q: PrismQ, clock: FakeClock) -> None:
    for seconds in (1, 4, 2):
        enqueue(q, "x")
        lease = claim_one(q.store, clock)
        start(q.store, clock, lease)
        clock.advance(seconds)
        complete(q.store, clock, lease, was=TaskStatus.PROCESSING)
    other = enqueue(q, "y")
    ids = [task.id for task in q.tasks.find(type="x")]

    view = story(q, ids[1] or 0)

    assert [(run.task.id, run.is_this) for run in view.runs] == [(ids[0], False), (ids[1], True), (ids[2], False)]
    assert [round(run.part, 2) for run in view.runs] == [0.5, 1.0, 0.25]
    assert other not in [run.task.id for run in view.runs]


def test_workers_that_take_nothing_come_first_with_a_sentence(q: PrismQ, clock: FakeClock) -> None:
    q.store.workers.register(a_worker("fine", slots=2, queues='["other"]'), clock.now())
    q.store.workers.register(a_worker("stuck", slots=2, queues='["a"]'), clock.now())
    enqueue(q, queue="a")
    clock.advance(100)
    q.store.workers.touch("stuck", clock.now())
    q.store.workers.heartbeat(a_report("fine", slots=2, last_look_at=clock.now()), clock.now())

    page = workers_page(q, Gauges())

    assert [one.worker.worker_id for one in page.alarms] == ["stuck"]
    assert page.live[0].worker.worker_id == "stuck"
    assert "has claimed nothing for" in (page.alarms[0].sentence or "")
    assert worker_card(q, Gauges(), "nobody") is None


def test_memory_and_cpu_are_remembered_by_heartbeat(q: PrismQ, clock: FakeClock) -> None:
    gauges = Gauges()
    q.store.workers.register(a_worker("w1", slots=1), clock.now())
    for size in (1, 2, 3):
        clock.advance(10)
        q.store.workers.heartbeat(a_report("w1", memory_bytes=size, cpu_percent=1.0), clock.now())
        workers_page(q, gauges)
        workers_page(q, gauges)

    card = worker_card(q, gauges, "w1")

    assert card is not None
    assert card.sparks is not None
    assert [value for value in card.sparks[1].values if value is not None] == [1.0, 2.0, 3.0]
    q.store.workers.stop("w1", WorkerStatus.STOPPED.value, None, clock.now())
    workers_page(q, gauges)
    assert gauges.sparks("w1") is None


def test_failures_are_grouped_by_what_they_have_in_common(q: PrismQ, clock: FakeClock) -> None:
    for _ in range(3):
        enqueue(q, max_attempts=1)
        dead_letter(q.store, clock, claim_one(q.store, clock))

    page = failures_page(q, History(), HOUR)

    assert [(one.text, one.tasks, one.type) for one in page.causes] == [("it broke", 3, "job")] or page.causes[
        0
    ].tasks == 3
    assert (page.dead_letters, page.failed, page.is_partial) == (3, 0, False)
    assert page.by_type == [("default", "job", 3, 0)]


def test_a_cause_leaves_out_what_varies() -> None:
    messages = [f"ConnectionError: smtp{n}.example.com:25 refused 0x7f{n}a after {n}.5 s ('job {n}')" for n in range(3)]
    tasks = [Task(id=n, type="a", status="failed", error_message=text) for n, text in enumerate(messages)]

    [one] = grouped(tasks)

    assert one.tasks == 3
    assert all(one.words in text for text in messages)
    assert len(one.words) > 5
    assert cause_of(None) == "no reason given"


def test_schedules_are_told_in_words_with_their_next_runs(q: PrismQ, clock: FakeClock) -> None:
    @q.periodic("0 3 * * *")
    @q.task(name="nightly")
    def nightly() -> None:
        pass

    for one in q.declared_schedules:
        q.store.schedules.declare(one, clock.now())

    [row] = schedules_page(q).rows

    assert row.words == "at 03:00 every day"
    assert len(row.next_at) == 3
    assert row.next_at[1] - row.next_at[0] == 86_400
    assert row.last is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("@hourly", "every hour"),
        ("@daily", "at 00:00 every day"),
        ("30 6 * * MON-FRI", "at 06:30 on Monday to Friday"),
        ("0 9,17 * * *", "at 09:00 and 17:00 every day"),
        ("15 * * * *", "at minute 15 of every hour"),
        ("*/10 9-17 * * 1-5", "every 10 minutes from 09:00 to 17:59 on Monday to Friday"),
        ("0 */6 * * *", "every 6 hours on the hour"),
        ("0 0 1 * *", "at 00:00 on day 1 of the month"),
        ("0 0 L * *", "at 00:00 on the last day of the month"),
        ("0 8 * * MON#1", "at 08:00 on first Monday of the month"),
        ("0 8 * * 5L", "at 08:00 on the last Friday of the month"),
        ("0 0 1 1 *", "at 00:00 on day 1 of the month in January"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("0 0 29-31/2 */5 *", "0 0 29-31/2 */5 *"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_cron_expression_in_words(expression: str, words: str) -> None:
    assert in_words(expression) == words


# -- the form


class Colour(Enum):
    RED = "red"


def test_the_form_has_a_field_for_each_parameter_of_the_kind_of_its_hint(q: PrismQ) -> None:
    @q.task(name="paint")
    def paint(
        what: str, width: int, ratio: float = 1.5, glossy: bool = False, colour: Colour = Colour.RED,
        side: Literal["in", "out"] = "in", boxes: list[int] | None = None, note: str | None = None,
    ) -> None:  # fmt: skip
        """Paint it."""

    page = enqueue_page(q, "paint")

    assert {one.name: one.kind for one in page.fields} == {
        "what": "text", "width": "integer", "ratio": "number", "glossy": "boolean", "colour": "choice",
        "side": "choice", "boxes": "json", "note": "text",
    }  # fmt: skip
    assert [one.name for one in page.fields if one.required] == ["what", "width"]
    assert page.about == "Paint it."
    sent = Pairs(
        [("arg.what", "007"), ("arg.width", "3"), ("arg.glossy", "true"), ("arg.colour", '"red"'), ("arg.boxes", "[1]"),
         ("arg.note", ""), ("priority", "5"), ("tags", "a, b")]
    )  # fmt: skip
    order = order_of(page, sent)
    assert order.payload == {"what": "007", "width": 3, "glossy": True, "colour": "red", "boxes": [1]}
    assert order.options == {"priority": 5, "tags": ["a", "b"]}
    with pytest.raises(InvalidArgument, match="boxes"):
        order_of(page, pairs(**{"arg.what": "x", "arg.boxes": "[1"}))
    with pytest.raises(InvalidArgument, match="priority takes a number"):
        order_of(page, pairs(**{"arg.what": "x", "priority": "soon"}))


def test_a_type_that_this_process_does_not_know_takes_json(q: PrismQ) -> None:
    page = enqueue_page(q, "far.away")

    assert not page.by_fields
    assert order_of(page, pairs(payload='{"a": 1}')).payload == {"a": 1}
    for wrong in ("{", "[1]", '"text"'):
        with pytest.raises(InvalidArgument):
            order_of(page, pairs(payload=wrong))


def test_a_secret_that_was_left_as_it_is_shown_stays_what_it_was() -> None:
    original = {"to": "a", "auth": {"token": "s3"}, "many": [{"password": "p"}]}
    shown_again = Redactor().redact(original)

    assert restored({**shown_again, "to": "b"}, original) == {**original, "to": "b"}
    assert restored({"token": "[redacted]"}, {}) == {"token": "[redacted]"}


# -- values


def test_values_are_shown_without_secrets_and_not_without_end() -> None:
    redactor = Redactor()
    long = shown('{"a": "' + "x" * 50_000 + '"}', redactor)

    assert long is not None
    assert long.cut > 20_000
    assert preview('{"api_key": "s", "n": 1}', redactor) == 'api_key="[redacted]", n=1'
    assert preview("not json", redactor) == "not json"
    assert len(preview('"' + "y" * 1000 + '"', redactor)) <= 120
    assert preview("{}", redactor) == ""


def test_a_traceback_is_told_apart_line_by_line() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/x/site-packages/lib.py", line 1, in call\n    run()\n'
        '  File "/srv/shop/app.py", line 2, in handler\n    raise ValueError("no")\n'
        "shop.errors.OutOfStock: no\n"
    )

    assert [line.kind for line in trace_lines(text)] == ["text", "frame-line", "source", "ours", "source", "error"]
    assert "\n".join(line.text for line in trace_lines(text)) == text.rstrip()


def test_drawings_have_gaps_and_dots_and_nothing_too_narrow() -> None:
    assert path_of([None, None], 100, 10, 0) == ""
    assert path_of([1, 2, None, 1], 90, 10, 2).count("M") == 2
    assert path_of([None, 3, None], 100, 10, 3).endswith("h1")
    found = bars([(1e6, "run", "long"), (1e-6, "wait", "short"), (0, "bad", "none")], least=0.01)
    assert [one.title for one in found] == ["long", "short"]
    assert found[1].width >= 0.009
    assert sum(one.width for one in found) == pytest.approx(1, abs=0.001)
    chart = throughput([], HOUR, ())
    assert chart.is_empty
    assert storable(chart.to_json())


def test_spans_are_a_waterfall_of_each_attempt() -> None:
    spans = [
        TaskSpan(1, "t1", "a", "sender", "task:execute", 100.0, 4.0),
        TaskSpan(1, "t1", "b", "a", "SELECT", 101.0, 1.0, "error"),
        TaskSpan(1, "t1", "c", "b", "inner", 101.5, 0.0),
        TaskSpan(2, "t1", "d", None, "task:execute", 200.0, 0.0),
    ]

    [(first, trace_id, rows), (second, _, lonely)] = waterfall(spans)

    assert (first, second, trace_id) == (1, 2, "t1")
    assert [(row.span.name, row.depth, row.x) for row in rows] == [
        ("task:execute", 0, 0.0), ("SELECT", 1, 0.25), ("inner", 2, 0.375),
    ]  # fmt: skip
    assert rows[1].width == 0.25
    assert rows[2].width > 0
    assert all(row.x + row.width <= 1 for row in [*rows, *lonely])
