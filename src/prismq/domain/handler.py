"""What a worker knows of a task type: the function and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prismq.domain.arguments import Arguments
from prismq.domain.backoff import Backoff

ExecutorKind = Literal["auto", "thread", "process"]


@dataclass(frozen=True)
class Handler:
    """A registered task function with its defaults.

    executor: `auto` runs coroutines on the event loop and plain functions in threads; `process` runs a
    plain function in a child process that can be killed. memory_limit_bytes applies to `process`.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    arguments: Arguments
    queue: str = "default"
    priority: int = 100
    max_attempts: int = 5
    timeout_s: float | None = None
    backoff: Backoff = field(default_factory=Backoff)
    delay_of: Callable[[int], float] | None = None  # own backoff function: attempt -> seconds
    compatibility: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    retention_s: float | None = None
    unique_for_s: float = 0.0
    unique_pending: bool = False
    executor: ExecutorKind = "auto"
    memory_limit_bytes: int | None = None
