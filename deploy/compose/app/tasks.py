"""The application of the stack: put your own in its place."""

from __future__ import annotations

from prismq import PrismQ, current_task

q = PrismQ()


@q.task(queue="within_1_minute", max_attempts=5, timeout=60)
def greet(name: str) -> str:
    """Say hello."""
    current_task().log.info("greeting", name=name)
    return f"Hello {name}"
