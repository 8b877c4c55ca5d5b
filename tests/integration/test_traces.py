"""Spans of enqueues and attempts, from one process to the next, received by a program that is not ours."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prismq import ConfigurationError, PrismQ
from prismq.config import Settings, load_settings
from tests.helpers.otlp import Received, receiver
from tests.helpers.processes import Supervised, supervised, wait_until

TRACED = Path(__file__).with_name("traced.py")
ROOT = Path(__file__).parents[2]


class World:
    """A queue, a worker process that traces, and the receiver of its spans."""

    def __init__(self, database: Path, received: Received, worker: Supervised, env: dict[str, str]) -> None:
        self.database, self.received, self.worker, self.env = database, received, worker, env

    def run(self, code: str, **env: str) -> Any:
        """Run `code` in a process of its own that has `q` and its tasks; what it prints, as JSON."""
        program = f"import json, sys\nsys.path.insert(0, {str(TRACED.parent)!r})\nfrom traced import *\n{code}"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **self.env, **env}
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def ended(self, task_id: int) -> None:
        with PrismQ(self.database) as q:
            wait_until(
                lambda: q.tasks.get(task_id).status in ("completed", "failed", "dead_letter"), f"task {task_id} ended"
            )

    def execution(self, task_id: int, count: int = 1) -> list[dict[str, Any]]:
        return self.received.wait("task:execute", count, task_id=task_id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("traces")
    database = folder / "queue.db"
    with receiver(folder) as received:
        env = {
            "PRISMQ_TEST_DATABASE": str(database),
            "TRACING_ENABLED": "true",
            "TRACING_ENDPOINT": received.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with supervised(database, env=env, app=f"{TRACED}:q", heartbeat_interval_seconds=0.3) as worker:
            worker.one_worker()
            yield World(database, received, worker, env)


def test_an_attempt_is_a_child_of_its_enqueue_in_another_process(world: World) -> None:
    task_id = world.run("print(work.enqueue(7).id)")
    [execute] = world.execution(task_id)
    [submit] = world.received.wait("task:submit", task_id=task_id)
    assert (execute["trace_id"], execute["parent_id"], execute["links"]) == (
        submit["trace_id"], submit["span_id"], [],
    )  # fmt: skip
    assert submit["parent_id"] is None
    assert (submit["kind"], execute["kind"]) == ("producer", "consumer")
    assert submit["start"] <= execute["start"] <= execute["end"]
    assert submit["resource"]["service.name"] == execute["resource"]["service.name"] == "task-queue"
    assert submit["attributes"] == {
        "task.id": task_id, "task.name": "work", "task.priority": 100, "queue.name": "default",
        "messaging.system": "prismq", "messaging.operation.type": "send", "messaging.operation.name": "submit",
        "messaging.destination.name": "default", "messaging.message.id": str(task_id),
        "messaging.message.body.size": len('{"n":7}'),
    }  # fmt: skip
    attributes = execute["attributes"]
    worker_id = attributes.pop("worker.id")
    assert attributes.pop("duration_ms") >= 0
    assert attributes == {
        "task.id": task_id, "task.name": "work", "task.priority": 100, "task.attempt": 1, "task.status": "COMPLETED",
        "queue.name": "default", "messaging.system": "prismq", "messaging.operation.type": "process",
        "messaging.operation.name": "execute", "messaging.destination.name": "default",
        "messaging.message.id": str(task_id), "messaging.message.body.size": len('{"n":7}'),
        "messaging.client.id": worker_id,
    }  # fmt: skip
    assert execute["status"] == "unset"
    inner = next(span for span in world.received.wait("inner") if span["parent_id"] == execute["span_id"])
    assert (inner["trace_id"], inner["scope"]) == (execute["trace_id"], "the.task")


def test_an_enqueue_is_a_child_of_what_the_program_does(world: World) -> None:
    outer, task_id = world.run(
        "q.tracing.tracer\n"
        "with tracer.start_as_current_span('POST /orders') as span:\n"
        "    handle = work.enqueue(1)\n"
        "print(json.dumps([f'{span.get_span_context().span_id:016x}', handle.id]))"
    )
    [submit] = world.received.wait("task:submit", task_id=task_id)
    assert submit["parent_id"] == outer
    assert world.execution(task_id)[0]["parent_id"] == submit["span_id"]


def test_a_task_that_enqueues_another_carries_the_trace_on(world: World) -> None:
    first = world.run("print(pass_on.enqueue(5).id)")
    [execute] = world.execution(first)
    submit = next(
        span for span in world.received.wait("task:submit", task_name="work") if span["parent_id"] == execute["span_id"]
    )
    [second] = world.execution(submit["attributes"]["task.id"])
    assert second["trace_id"] == execute["trace_id"]


@pytest.mark.parametrize("name", ["work_async", "work_apart"])
def test_spans_of_coroutines_and_of_other_processes_are_children_too(world: World, name: str) -> None:
    task_id = world.run(f"print({name}.enqueue(1).id)")
    [execute] = world.execution(task_id)
    wait_until(
        lambda: [span for span in world.received.named("inner") if span["parent_id"] == execute["span_id"]],
        f"the span inside of {name}",
    )


def test_the_span_outlives_a_process_that_is_killed(world: World) -> None:
    task_id = world.run("print(die_apart.enqueue().id)")
    [execute] = world.execution(task_id)
    assert (execute["status"], execute["attributes"]["task.status"]) == ("error", "DEAD_LETTER")
    assert execute["attributes"]["error.type"].endswith("ChildDied")


def test_baggage_travels_too(world: World) -> None:
    value = world.run(
        "from opentelemetry import baggage, context\n"
        "context.attach(baggage.set_baggage('tenant', 'acme'))\n"
        "print(json.dumps(work.enqueue(2).result(20)))"
    )
    assert value == "acme"


def test_retries_are_traces_of_their_own_with_a_link_and_the_error(world: World) -> None:
    task_id = world.run("print(fail.enqueue().id)")
    first, second = world.execution(task_id, 2)
    [submit] = world.received.wait("task:submit", task_id=task_id)
    assert (first["parent_id"], first["links"]) == (submit["span_id"], [])
    assert second["parent_id"] is None
    assert second["trace_id"] != submit["trace_id"]
    assert second["links"] == [
        {"trace_id": submit["trace_id"], "span_id": submit["span_id"], "attributes": {"prismq.link": "retried"}}
    ]
    assert [span["attributes"]["task.status"] for span in (first, second)] == ["SCHEDULED", "DEAD_LETTER"]
    for span in (first, second):
        assert (span["status"], span["attributes"]["error.type"]) == ("error", "ValueError")
        [event] = span["events"]
        assert (event["name"], event["exception.message"]) == ("exception", "no such order")
        assert "KeyError: 'missing'" in event["exception.stacktrace"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print(work.options(delay=0.05).enqueue(3).id)", "delayed"),
        ("print(work.enqueue_many([(1,), (2,)])[1].id)", "batch"),
    ],
)
def test_what_does_not_run_at_once_and_alone_is_linked(world: World, code: str, reason: str) -> None:
    task_id = world.run(code)
    [execute] = world.execution(task_id)
    [link] = execute["links"]
    assert execute["parent_id"] is None
    assert link["attributes"] == {"prismq.link": reason}
    submit = next(span for span in world.received.wait("task:submit") if span["span_id"] == link["span_id"])
    assert submit["trace_id"] == link["trace_id"] != execute["trace_id"]
    if reason == "batch":
        assert submit["attributes"]["messaging.batch.message_count"] == 2
        assert "task.id" not in submit["attributes"]


def test_a_periodic_task_is_linked_to_its_firing(world: World) -> None:
    execute = world.received.wait("task:execute", task_name="ticking")[0]
    [link] = execute["links"]
    assert link["attributes"] == {"prismq.link": "periodic"}
    submit = next(
        span for span in world.received.wait("task:submit", task_schedule="tick") if span["span_id"] == link["span_id"]
    )
    assert submit["attributes"]["task.id"] == execute["attributes"]["task.id"]


def test_a_row_that_was_written_by_hand_carries_a_trace(world: World) -> None:
    trace_id, span_id = "ab" * 16, "cd" * 8
    headers = json.dumps({"traceparent": f"00-{trace_id}-{span_id}-01", "tracestate": "vendor=1"})
    with sqlite3.connect(world.database) as connection:
        cursor = connection.execute(
            "INSERT INTO task_queue (type, payload, headers) VALUES ('work', '{\"n\": 4}', ?)", (headers,)
        )
    connection.close()
    [execute] = world.execution(cursor.lastrowid or 0)
    assert (execute["trace_id"], execute["parent_id"]) == (trace_id, span_id)


@pytest.mark.parametrize("headers", ["not json", "[1]", '{"traceparent": 7}', '{"traceparent": "00-zz-1-01"}'])
def test_headers_that_cannot_be_read_begin_a_trace_of_their_own(world: World, headers: str) -> None:
    with sqlite3.connect(world.database) as connection:
        cursor = connection.execute(
            "INSERT INTO task_queue (type, payload, headers) VALUES ('work', '{\"n\": 4}', ?)", (headers,)
        )
    connection.close()
    [execute] = world.execution(cursor.lastrowid or 0)
    assert (execute["parent_id"], execute["links"], execute["attributes"]["task.status"]) == (None, [], "COMPLETED")


def test_workers_have_spans(world: World) -> None:
    register = world.received.wait("worker:register")[0]
    beat = world.received.wait("worker:heartbeat", worker_id=register["attributes"]["worker.id"])[0]
    for span in (register, beat):
        assert {"worker.id", "worker.hostname", "worker.status"} <= set(span["attributes"])
        assert span["attributes"]["worker.status"] == "active"
        assert span["parent_id"] is None


def test_a_worker_that_ends_says_so_and_sends_what_is_left(world: World, tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    env = {"PRISMQ_TEST_DATABASE": str(database), "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with supervised(database, env={**world.env, **env}, app=f"{TRACED}:q") as worker:
        worker.one_worker()
        with PrismQ(database) as q:
            task_id = q.enqueue("work", {"n": 1}, priority=7).id
            wait_until(lambda: q.tasks.get(task_id).status == "completed", "the task ended")
            [row] = q.store.workers.all()
        worker.stop()
    [execute] = world.received.wait("task:execute", task_priority=7)
    assert execute["attributes"]["worker.id"] == row.worker_id
    [span] = world.received.wait("worker:deregister", worker_id=row.worker_id)
    assert span["attributes"]["worker.status"] == "stopped"


def test_log_lines_have_the_trace_and_so_has_the_program(world: World) -> None:
    task_id = world.run("print(work.enqueue(70).id)")
    [execute] = world.execution(task_id)

    def line(event: str) -> dict[str, Any]:
        return wait_until(
            lambda: [entry for entry in world.worker.events(event) if entry.get("task_id") == task_id], event
        )[0]

    complete = line("task_execution_complete")
    assert (complete["trace_id"], complete["span_id"]) == (execute["trace_id"], execute["span_id"])
    assert complete["order"] == 70
    assert complete["status"] == "COMPLETED"
    own = line("working")
    assert (own["trace_id"], own["logger"], own["task_name"], own["attempt"], own["order"]) == (
        execute["trace_id"], "shop", "work", 1, 70,
    )  # fmt: skip
    assert own["span_id"] != execute["span_id"]  # the span inside


# -- what is kept with the task


def test_spans_are_kept_with_the_task_as_they_were_sent(world: World) -> None:
    task_id = world.run("print(work.enqueue(9).id)")
    [execute] = world.execution(task_id)
    world.ended(task_id)
    with PrismQ(world.database) as q:
        outer, inner = q.spans(task_id)
    assert (outer.name, outer.trace_id, outer.span_id, outer.parent_id) == (
        "task:execute", execute["trace_id"], execute["span_id"], execute["parent_id"],
    )  # fmt: skip
    assert outer.start == pytest.approx(execute["start"] / 1e9, abs=1e-5)
    assert outer.duration_s == pytest.approx((execute["end"] - execute["start"]) / 1e9, abs=1e-5)
    assert (inner.name, inner.parent_id, inner.attempt) == ("inner", outer.span_id, 1)
    assert inner.attributes == {"api_key": "[redacted]"}
    assert outer.start <= inner.start
    assert inner.duration_s <= outer.duration_s


def test_spans_of_every_attempt_and_of_other_processes_are_kept(world: World) -> None:
    failing, apart = world.run("print(json.dumps([fail.enqueue().id, work_apart.enqueue(1).id]))")
    world.ended(failing)
    world.ended(apart)
    with PrismQ(world.database) as q:
        assert [(span.name, span.attempt, span.status) for span in q.spans(failing)] == [
            ("task:execute", 1, "error"), ("task:execute", 2, "error"),
        ]  # fmt: skip
        outer, inner = q.spans(apart)
    assert (outer.name, inner.name, inner.parent_id) == ("task:execute", "inner", outer.span_id)


def test_of_many_spans_a_bounded_number_is_kept_and_the_attempts_own_always(world: World) -> None:
    task_id = world.run("print(many_spans.enqueue(250).id)")
    world.ended(task_id)
    with PrismQ(world.database) as q:
        spans = q.spans(task_id)
    assert len(spans) == 100
    assert spans[0].name == "task:execute"
    assert spans[0].attributes["prismq.spans_dropped"] == 250 - 99


# -- off, sampled, elsewhere


def alone(database: Path, code: str, **env: str) -> Any:
    """A program that enqueues and works in one process; what it prints, as JSON."""
    program = f"import json, sys\nsys.path.insert(0, {str(TRACED.parent)!r})\nfrom traced import *\n{code}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TRACING_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        env={**clean, "PRISMQ_TEST_DATABASE": str(database), **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


_PLAIN = """
import json, sys
from prismq import PrismQ
q = PrismQ(sys.argv[1])

@q.task
def work() -> None: pass

with q.worker():
    handle = work.enqueue()
    handle.result(20)
print(json.dumps([handle.task().headers, q.spans(handle.id), q.tracing, "opentelemetry" in sys.modules]))
"""


def test_off_means_that_nothing_is_imported_written_or_sent(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PLAIN, str(tmp_path / "q.db")], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [None, [], None, False]


_RATE = """
ids = [work.enqueue(n).id for n in range(200)] + [h.id for h in [fail.enqueue() for _ in range(30)]]
with q.worker():
    for task_id in ids:
        try: q.handle(task_id).result(30)
        except Exception: pass
kept = {i: [s.attempt for s in q.spans(i) if s.name == "task:execute"] for i in ids}
sampled = {i: q.tasks.get(i).headers[-4:-2] in ("01", "03") for i in ids}
print(json.dumps([kept, sampled]))
"""


@pytest.mark.parametrize(("rate", "low", "high"), [("0", 0, 0), ("0.5", 60, 170), ("1", 230, 230)])
def test_a_part_of_the_traces_is_recorded_each_as_a_whole(tmp_path: Path, rate: str, low: int, high: int) -> None:
    kept, sampled = alone(
        tmp_path / "q.db", _RATE, TRACING_ENABLED="1", TRACING_SAMPLE_RATE=rate, PRISMQ_TRACING_EXPORTER="none"
    )
    assert low <= sum(sampled.values()) <= high
    for task_id, attempts in kept.items():
        # All attempts, linked ones too, or none.
        wanted = [] if not sampled[task_id] else [1, 2] if int(task_id) > 200 else [1]
        assert attempts == wanted, task_id


def test_the_standard_variables_of_opentelemetry_count(tmp_path: Path) -> None:
    with receiver(tmp_path) as received:
        task_id = alone(
            tmp_path / "q.db", "with q.worker():\n h = work.enqueue(1)\n h.result(20)\nprint(h.id)",
            TRACING_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint, OTEL_SERVICE_NAME="shop",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
        )  # fmt: skip
        [span] = received.wait("task:execute", task_id=task_id)
        assert span["resource"]["service.name"] == "shop"
        assert span["resource"]["deployment.environment"] == "test"

        alone(
            tmp_path / "off.db", "with q.worker(): work.enqueue(1).result(20)\nprint(1)",
            TRACING_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint, OTEL_TRACES_SAMPLER="always_off",
        )  # fmt: skip
        alone(
            tmp_path / "disabled.db", "with q.worker(): work.enqueue(1).result(20)\nprint(1)",
            TRACING_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint, OTEL_SDK_DISABLED="true",
        )  # fmt: skip
        assert len(received.named("task:execute", task_name="work")) == 1


_OWN_PROVIDER = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
seen = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(seen))
trace.set_tracer_provider(provider)
with q.worker():
    handle = work.enqueue(1)
    handle.result(20)
print(json.dumps([[s.name for s in seen.get_finished_spans()], [s.name for s in q.spans(handle.id)]]))
"""


def test_a_program_that_has_set_up_opentelemetry_keeps_its_own(tmp_path: Path) -> None:
    sent, kept = alone(tmp_path / "q.db", _OWN_PROVIDER, TRACING_ENABLED="true", TRACING_ENDPOINT="http://127.0.0.1:9")
    assert {"task:submit", "inner", "task:execute", "worker:register"} <= set(sent)
    assert kept == ["task:execute", "inner"]


_BROKEN = """
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
class Broken(SpanProcessor):
    def on_start(self, span, parent_context=None): raise RuntimeError("no spans today")
provider = TracerProvider()
provider.add_span_processor(Broken())
trace.set_tracer_provider(provider)
import logging
told = []
class Keep(logging.Handler):
    def emit(self, record): told.append(record.getMessage())
logging.getLogger("prismq.queue").addHandler(Keep())
@q.task
def plain() -> int: return 7
with q.worker():
    print(json.dumps([plain.enqueue().result(20), len(plain.enqueue_many([(), ()]))]), file=sys.stderr)
    results = [plain.enqueue().result(20) for _ in range(3)]
print(json.dumps([results, sum("a span could not be made" in line for line in told)]))
"""


def test_an_sdk_that_fails_stops_nothing_and_is_told_of_once(tmp_path: Path) -> None:
    assert alone(tmp_path / "q.db", _BROKEN, TRACING_ENABLED="true") == [[7, 7, 7], 1]


def test_a_collector_that_is_away_stops_nothing(tmp_path: Path) -> None:
    code = "with q.worker():\n h = work.enqueue(1)\n h.result(20)\nprint(json.dumps(h.status))"
    assert alone(tmp_path / "q.db", code, TRACING_ENABLED="true", TRACING_ENDPOINT="http://127.0.0.1:9") == "completed"


def test_an_enqueue_that_fails_is_an_error_in_its_span(tmp_path: Path) -> None:
    with receiver(tmp_path) as received:
        code = (
            "from contextlib import contextmanager\n"
            "@q.around_enqueue\n@contextmanager\ndef refuse(new):\n    raise RuntimeError('not now')\n    yield\n"
            "try: work.enqueue(1)\nexcept RuntimeError: print(1)"
        )
        alone(tmp_path / "q.db", code, TRACING_ENABLED="true", TRACING_ENDPOINT=received.endpoint)
        [submit] = received.wait("task:submit")
        assert (submit["status"], submit["attributes"]["error.type"]) == ("error", "RuntimeError")


def test_what_was_prepared_once_is_another_message_each_time(tmp_path: Path) -> None:
    code = (
        "new = work.prepare(1)\n"
        "a, b = q.enqueue_many([new])[0], q.enqueue_many([new])[0]\n"
        "print(json.dumps([a.task().headers, b.task().headers, new.headers]))"
    )
    first, second, left = alone(tmp_path / "q.db", code, TRACING_ENABLED="true", PRISMQ_TRACING_EXPORTER="none")
    assert json.loads(first)["traceparent"] != json.loads(second)["traceparent"]
    assert left == {}


def test_a_trace_from_elsewhere_is_passed_on_in_the_headers(tmp_path: Path) -> None:
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    code = f"print(json.dumps(work.options(headers={{'traceparent': {parent!r}}}).enqueue(1).task().headers))"
    headers = json.loads(alone(tmp_path / "q.db", code, TRACING_ENABLED="true", PRISMQ_TRACING_EXPORTER="none"))
    assert headers["traceparent"].startswith(f"00-{'ab' * 16}-")
    assert headers["traceparent"] != parent


# -- settings


def test_the_settings_are_those_of_the_reference_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {
        "TRACING_ENABLED": "true", "TRACING_ENDPOINT": "http://localhost:4318", "TRACING_SAMPLE_RATE": "0.1",
        "OTEL_TRACES_EXPORTER": "otlp,console",
    }  # fmt: skip
    settings = load_settings(environ=environ)
    assert (settings.tracing_enabled, settings.tracing_endpoint, settings.tracing_sample_rate, settings.exporters) == (
        True, "http://localhost:4318", 0.1, ["otlp", "console"],
    )  # fmt: skip
    assert load_settings(environ={**environ, "PRISMQ_TRACING_ENABLED": "false"}).tracing_enabled is False


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"tracing_sample_rate": 1.5}, "tracing_sample_rate"),
        ({"tracing_endpoint": "localhost:4318"}, "tracing_endpoint"),
        ({"tracing_enabled": True, "tracing_exporter": "zipkin"}, "tracing_exporter"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Settings(**wrong)
    assert Settings(tracing_exporter="zipkin").tracing_exporter == "zipkin"  # of no concern while it is off


def test_without_opentelemetry_it_is_said_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Away:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'opentelemetry': raise ModuleNotFoundError(f'no {name}', name=name)\n"
        "sys.meta_path.insert(0, Away())\n"
        "from prismq import PrismQ, ConfigurationError\n"
        f"try: PrismQ({str(tmp_path / 'q.db')!r})\n"
        "except ConfigurationError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "TRACING_ENABLED": "true"},
    )  # fmt: skip
    assert "pip install 'prismq[otel]'" in done.stdout


def test_what_runs_unrecorded_begins_no_trace_of_its_own(tmp_path: Path) -> None:
    code = (
        "with q.worker():\n"
        "    first = pass_on.enqueue(5)\n"
        "    first.result(20)\n"
        "    apart = work_apart.enqueue(1)\n"
        "    apart.result(20)\n"
        "    while not (found := q.tasks.find(type='work')): pass\n"
        "    q.handle(found[0].id).result(20)\n"
        "print(json.dumps([first.task().headers, found[0].headers, len(q.spans(first.id) + q.spans(apart.id))]))"
    )
    outer, inner, kept = alone(
        tmp_path / "q.db", code, TRACING_ENABLED="true", TRACING_SAMPLE_RATE="0", PRISMQ_TRACING_EXPORTER="none"
    )
    first, second = json.loads(outer)["traceparent"], json.loads(inner)["traceparent"]
    assert first[:35] == second[:35]  # one trace
    assert first != second
    assert second.endswith(("-00", "-02"))
    assert kept == 0
