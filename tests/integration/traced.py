"""Tasks of the tests of traces: the worker processes there import this file by its path."""

from __future__ import annotations

import logging
import os

from opentelemetry import baggage, trace

from prismq import Backoff, PermanentError, PrismQ, bind_log, current_task

q = PrismQ(os.environ.get("PRISMQ_TEST_DATABASE"))
SOON = Backoff(initial_s=0.01, cap_s=0.02)
tracer = trace.get_tracer("the.task")


@q.task(name="work")
def work(n: int) -> str:
    bind_log(order=n)
    with tracer.start_as_current_span("inner") as span:
        span.set_attribute("api_key", "k")
        logging.getLogger("shop").info("working")
    return str(baggage.get_baggage("tenant"))


@q.task(name="work_async")
async def work_async(n: int) -> None:
    with tracer.start_as_current_span("inner"):
        pass


@q.task(name="work_apart", executor="process", max_attempts=1)
def work_apart(n: int) -> None:
    with tracer.start_as_current_span("inner"):
        pass


@q.task(name="die_apart", executor="process", max_attempts=1)
def die_apart() -> None:
    os._exit(9)


@q.task(name="fail", max_attempts=2, backoff=SOON)
def fail() -> None:
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("no such order") from error


@q.task(name="give_up")
def give_up() -> None:
    raise PermanentError("never")


@q.task(name="pass_on")
def pass_on(n: int) -> None:
    work.enqueue(n)


@q.task(name="many_spans")
def many_spans(n: int) -> None:
    for _ in range(n):
        with tracer.start_as_current_span("one of many"):
            pass


@q.periodic("* * * * * *", name="tick")
@q.task(name="ticking")
def ticking() -> int:
    return current_task().id
