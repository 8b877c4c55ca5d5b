"""The task functions and schedules that code declares."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prismq.domain.arguments import Arguments
from prismq.domain.errors import InvalidArgument
from prismq.domain.handler import Handler
from prismq.storage.contract import Schedule


class Registry:
    """Handlers by type, schedules by name. A name means one function."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.schedules: dict[str, Schedule] = {}

    def handler(self, function: Callable[..., Any], name: str, settings: Mapping[str, Any]) -> Handler:
        """Register `function`. Raises InvalidArgument where the name is taken by another function."""
        taken = self.handlers.get(name)
        if taken is not None and _place(taken.function) != _place(function):
            raise InvalidArgument(
                f"task type {name!r} is registered twice: by {_place(taken.function)} and by {_place(function)}. "
                f"Give one of them a name of its own: @q.task(name=...)"
            )
        is_async = inspect.iscoroutinefunction(function)
        if is_async and settings.get("executor") == "process":
            raise InvalidArgument(
                f"task {name!r} is a coroutine and cannot run with executor='process'; make it a plain function"
            )
        if is_async and settings.get("executor") == "thread":
            raise InvalidArgument(f"task {name!r} is a coroutine; it runs on the event loop, not in a thread")
        arguments = Arguments.of(function, name=name)
        handler = Handler(name=name, function=function, is_async=is_async, arguments=arguments, **settings)
        self.handlers[name] = handler
        return handler

    def schedule(self, schedule: Schedule) -> None:
        """Register a schedule. Raises InvalidArgument where the name is taken."""
        if schedule.name in self.schedules and self.schedules[schedule.name] != schedule:
            raise InvalidArgument(f"schedule {schedule.name!r} is declared twice; give one a name of its own")
        self.schedules[schedule.name] = schedule


def _place(function: Callable[..., Any]) -> str:
    # The main module of a script is imported under another name by the processes it spawns.
    module = getattr(function, "__module__", "?")
    return f"{'__main__' if module == '__mp_main__' else module}.{getattr(function, '__qualname__', repr(function))}"


def default_name(function: Callable[..., Any]) -> str:
    """The task type of a function that gives none: module and qualified name."""
    module = getattr(function, "__module__", "") or ""
    name = getattr(function, "__qualname__", type(function).__name__).replace("<locals>.", "")
    # A script's tasks are the same tasks when its worker imports it under its file's name.
    if module in ("__main__", "__mp_main__"):
        file = getattr(sys.modules.get(module), "__file__", None)
        module = Path(file).stem if file else "__main__"
    return f"{module}.{name}"
