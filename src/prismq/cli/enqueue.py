"""`prismq enqueue`: put one task in, by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import options, output
from prismq.cli.completion import complete_queue
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.client.handle import TaskHandle


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "enqueue")
    def enqueue(
        call: Call,
        type_: Annotated[str, typer.Argument(metavar="TYPE", help="The task type: the name of its function.")],
        fields: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[KEY=VALUE]...",
                help="Arguments by name; a value is JSON where it can be read as such, and text otherwise.",
                show_default=False,
            ),
        ] = None,
        payload: Annotated[
            str | None,
            typer.Option(
                "--payload", "-p", metavar="JSON", help="All arguments as a JSON object; @FILE reads a file, - stdin."
            ),
        ] = None,
        queue: Annotated[
            str | None, typer.Option("--queue", "-q", metavar="QUEUE", help="The queue.", autocompletion=complete_queue)
        ] = None,
        priority: Annotated[int | None, typer.Option("--priority", help="Lower runs first; 100 is normal.")] = None,
        delay: Annotated[
            str | None, typer.Option("--delay", metavar="TIME", help="Run it after this time: 90, 5m, 2h, 1d.")
        ] = None,
        at: Annotated[
            str | None,
            typer.Option("--at", metavar="TIME", help="Run it at this time: 2025-01-31T06:30 (UTC)."),
        ] = None,
        key: Annotated[
            str | None, typer.Option("--key", metavar="KEY", help="Idempotency key: a second enqueue finds the first.")
        ] = None,
        max_attempts: Annotated[
            int | None, typer.Option("--max-attempts", min=1, help="How often it may be tried.")
        ] = None,
        timeout: Annotated[
            str | None, typer.Option("--timeout", metavar="TIME", help="How long an attempt may run.")
        ] = None,
        tag: Annotated[
            list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; give it again for more.")
        ] = None,
        app_reference: Annotated[
            str | None,
            typer.Option(
                "--app",
                "-A",
                metavar="MODULE:NAME",
                help="Your application: it checks the arguments, its defaults apply.",
            ),
        ] = None,
        wait: Annotated[
            str | None,
            typer.Option("--wait", "-w", metavar="TIME", help="Wait so long for the result, and print it."),
        ] = None,
    ) -> int:
        """Enqueue a task.

        Without --app it is enqueued by its name alone: nothing is known about its arguments, and a worker checks them.
        """
        given: dict[str, Any] = {
            "queue": queue,
            "priority": priority,
            "delay": None if delay is None else options.seconds_of(delay, "--delay"),
            "run_at": None if at is None else options.moment_of(at, "--at"),
            "idempotency_key": key,
            "max_attempts": max_attempts,
            "timeout": None if timeout is None else options.seconds_of(timeout, "--timeout"),
            "tags": tag or None,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        wait_s = None if wait is None else options.seconds_of(wait, "--wait")
        arguments = _arguments(payload, fields or [])
        with _queue(call, app_reference, type_) as q:
            handle = q.enqueue(type_, arguments, **chosen)
            if wait_s is None:
                _tell(call, handle)
                return Exit.OK
            return _await(call, handle, wait_s)


@contextmanager
def _queue(call: Call, app_reference: str | None, type_: str) -> Iterator[PrismQ]:
    if app_reference is None:
        with call.queue() as q:
            yield q
        return
    from prismq.cli.application import load_app
    from prismq.domain.errors import UnknownTask

    app = load_app(app_reference, call)
    try:
        if type_ not in app.handlers:
            raise UnknownTask(type_, app.handlers)
        yield app
    finally:
        app.close()


def _arguments(payload: str | None, fields: list[str]) -> dict[str, Any]:
    if payload is None:
        return dict(_pair(field) for field in fields)
    if fields:
        usage("give the arguments as key=value, or all of them with --payload; not both")
    if payload == "-":
        payload = sys.stdin.read()
    elif payload.startswith("@"):
        try:
            payload = Path(payload[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            usage(f"--payload: {payload[1:]} cannot be read: {error}")
    return options.object_of(payload, "--payload")


def _pair(field: str) -> tuple[str, Any]:
    name, equals, text = field.partition("=")
    if not equals or not name:
        usage(f"an argument is written key=value, such as path=cat.png; not {field!r}")
    try:
        return name, json.loads(text)
    except (ValueError, RecursionError):
        return name, text


def _tell(call: Call, handle: TaskHandle[Any]) -> None:
    task = handle.task()
    if call.as_json:
        output.print_json(
            {
                "id": handle.id,
                "created": handle.created,
                "type": task.type,
                "queue": task.queue,
                "status": task.status,
                "run_after_utc": None if task.run_after_utc is None else task.run_after_utc.isoformat(),
            }
        )
    elif handle.created:
        output.say(f"Task {handle.id} ({task.type}) is {task.status} in the queue {task.queue!r}.")
    else:
        output.say(f"Task {handle.id} ({task.type}) was there already, and is {task.state}; nothing was enqueued.")


def _await(call: Call, handle: TaskHandle[Any], wait_s: float) -> int:
    from prismq.domain.errors import ResultTimeout, TaskFailed

    error: Exception | None = None
    try:
        handle.result(wait_s)
    except (TaskFailed, ResultTimeout) as problem:
        error = problem
    task = handle.task()
    result = output.value_of(task.result)
    if call.as_json:
        output.print_json(
            {
                "id": handle.id,
                "created": handle.created,
                "type": task.type,
                "queue": task.queue,
                "status": task.status,
                "result": result,
                "error": task.error_message,
            }
        )
        if error is not None:
            output.note(f"error: {error}")
    elif error is not None:
        raise error
    else:
        output.say(result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False))
    return Exit.OK if error is None else Exit.FAILED
