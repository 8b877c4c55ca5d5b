"""`prismq tasks`: look at tasks and act on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import options, output, selection
from prismq.cli.context import Call, command, pause, usage

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.domain.task import Task, TaskLog

group = typer.Typer(no_args_is_help=True, help="Look at tasks, retry, cancel, delete them.")

_FOLLOW_S = 0.25
_LOG_PAGE = 1000

TaskId = Annotated[int, typer.Argument(metavar="ID", min=1, help="The task's id.")]


@command(group, "list")
def list_tasks(
    call: Call,
    status: options.Statuses = None,
    type_: options.Type = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    text: options.Text = None,
    schedule: options.OfSchedule = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")] = 20,
    before: Annotated[
        int | None, typer.Option("--before", metavar="ID", min=1, help="Older than this task: the next page.")
    ] = None,
) -> None:
    """List tasks, newest first."""
    with call.queue() as q:
        now = q.clock.now()
        which = options.filter_of(
            now,
            status=status,
            type_=type_,
            queue=queue,
            tag=tag,
            text=text,
            schedule=schedule,
            since=since,
            until=until,
        )
        found = q.store.tasks.find(which, limit=limit, before_id=before)
    if call.as_json:
        output.print_json([output.task_json(task) for task in found])
        return
    if not found:
        output.say("There are no tasks." if which.is_empty and not before else "No task matches.")
        return
    _print_tasks(found, now)
    if len(found) == limit:
        output.note(f"there may be more; the next page is --before {found[-1].id}")


def _print_tasks(found: list[Task], now: float) -> None:
    from prismq.domain.times import to_epoch

    output.print_table(
        [
            output.Column("ID", right=True, whole=True),
            output.Column("STATUS", whole=True),
            output.Column("TYPE"),
            output.Column("QUEUE"),
            output.Column("PRIO", right=True, whole=True),
            output.Column("TRY", right=True, whole=True),
            output.Column("AGE", right=True, whole=True),
            output.Column("NOTE"),
        ],
        [
            (
                str(task.id),
                task.state,
                task.type,
                task.queue,
                str(task.priority),
                f"{task.attempts}/{task.max_attempts}",
                output.age(None if task.created_at_utc is None else now - to_epoch(task.created_at_utc)),
                _note(task, now),
            )
            for task in found
        ],
    )


def _note(task: Task, now: float) -> str:
    from prismq.domain.times import to_epoch

    if task.status == "scheduled" and task.run_after_utc is not None:
        due = f"due in {output.age(to_epoch(task.run_after_utc) - now)}"
        return f"{due}: {task.error_message}" if task.error_message else due
    if task.status in ("claimed", "processing"):
        done = output.value_of(task.progress)
        if isinstance(done, dict) and done.get("total"):
            return f"{done.get('done')} of {done['total']}"
        return f"by {task.locked_by}"
    return task.error_message or ""


@command(group, "show")
def show_task(call: Call, task_id: TaskId) -> None:
    """Show everything about a task: payload, result, errors of every attempt, progress, timeline."""
    from prismq.cli.task_page import page_json, print_page

    with call.queue() as q:
        task = q.tasks.get(task_id)
        attempts, logs = q.tasks.attempts(task_id), all_logs(q, task_id)
        waits = _why_it_waits(q, call, task)
        now = q.clock.now()
    if call.as_json:
        output.print_json(page_json(task, attempts, logs, waits))
    else:
        print_page(task, attempts, logs, waits, now)


def _why_it_waits(q: PrismQ, call: Call, task: Task) -> str | None:
    from prismq.observability.why import explain

    if task.status not in ("scheduled", "queued") or task.id is None:
        return None
    heartbeat_s = call.settings.worker.heartbeat_interval_seconds
    return explain(q.store, task.id, q.clock.now(), heartbeat_s=heartbeat_s).sentence


@command(group, "timeline")
def task_timeline(call: Call, task_id: TaskId) -> None:
    """Tell a task's whole story: every attempt, what operators did, and what is to come."""
    from prismq.cli.task_page import print_timeline

    with call.queue() as q:
        found = q.timeline(task_id)
        task = q.tasks.get(task_id)
    if call.as_json:
        output.print_json([one.to_dict() for one in found])
    else:
        output.say(output.coloured(f"Task {task.id}: {task.type} is ", task.state))
        print_timeline(found)


def all_logs(q: PrismQ, task_id: int, after_id: int = 0) -> list[TaskLog]:
    """Every log line of a task, page by page."""
    found: list[TaskLog] = []
    while page := q.tasks.logs(task_id, limit=_LOG_PAGE, after_id=after_id):
        found += page
        after_id = page[-1].log_id or 0
    return found


def log_json(line: TaskLog) -> dict[str, Any]:
    """A log line for programs."""
    row = line.to_dict()
    row["details"] = output.value_of(row["details"])
    return row


@command(group, "logs")
def task_logs(
    call: Call,
    task_id: TaskId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the task has ended; with --json, a document a line.")
    ] = False,
) -> None:
    """Print a task's log lines, oldest first."""
    from prismq.domain.status import TERMINAL, TaskStatus

    with call.queue() as q:
        q.tasks.get(task_id)
        if not follow:
            lines = all_logs(q, task_id)
            if call.as_json:
                output.print_json([log_json(line) for line in lines])
            elif lines:
                for line in lines:
                    _print_log(line)
            else:
                output.note(f"task {task_id} has no log lines")
            return
        last_id = 0
        while True:
            # The status first: lines that come after a task has ended belong to its end.
            ended = TaskStatus(q.tasks.get(task_id).status) in TERMINAL
            for line in all_logs(q, task_id, last_id):
                last_id = line.log_id or last_id
                if call.as_json:
                    output.print_json_line(log_json(line))
                else:
                    _print_log(line)
            if ended:
                return
            pause(q, _FOLLOW_S)


def _print_log(line: TaskLog) -> None:
    details = line.get_details_dict()
    shown = " ".join(f"{key}={value}" for key, value in details.items() if key not in ("traceback", "stack_trace"))
    attempt = f" #{line.attempt}" if line.attempt else ""
    output.say(
        f"{output.moment(line.at_utc)} {line.level:<7}{attempt} {line.message or ''}{'  ' if shown else ''}{shown}"
    )


def _act(call: Call, action: selection.Action, ids: list[int] | None, yes: bool, **conditions: Any) -> int:
    with call.queue() as q:
        which = options.filter_of(q.clock.now(), ids=ids, **conditions)
        return selection.act(q, action, which, yes=yes, as_json=call.as_json)


@command(group, "retry")
def retry_tasks(
    call: Call,
    ids: options.Ids = None,
    status: options.Statuses = None,
    type_: options.Type = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    text: options.Text = None,
    schedule: options.OfSchedule = None,
    since: options.Since = None,
    until: options.Until = None,
    yes: options.Yes = False,
) -> int:
    """Queue ended tasks again, with all their attempts.

    Conditions without --status mean tasks that are failed or dead_letter.
    """
    return _act(
        call, selection.RETRY, ids, yes,
        status=status, type_=type_, queue=queue, tag=tag, text=text, schedule=schedule, since=since, until=until,
    )  # fmt: skip


@command(group, "cancel")
def cancel_tasks(
    call: Call,
    ids: options.Ids = None,
    status: options.Statuses = None,
    type_: options.Type = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    text: options.Text = None,
    schedule: options.OfSchedule = None,
    since: options.Since = None,
    until: options.Until = None,
    yes: options.Yes = False,
) -> int:
    """Cancel tasks: waiting ones at once; running ones are asked to stop, and are `cancelling` until they have."""
    return _act(
        call, selection.CANCEL, ids, yes,
        status=status, type_=type_, queue=queue, tag=tag, text=text, schedule=schedule, since=since, until=until,
    )  # fmt: skip


@command(group, "delete")
def delete_tasks(
    call: Call,
    ids: options.Ids = None,
    status: options.Statuses = None,
    type_: options.Type = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    text: options.Text = None,
    schedule: options.OfSchedule = None,
    since: options.Since = None,
    until: options.Until = None,
    yes: options.Yes = False,
) -> int:
    """Delete tasks that no worker holds, with their logs and attempts. There is no way back."""
    return _act(
        call, selection.DELETE, ids, yes,
        status=status, type_=type_, queue=queue, tag=tag, text=text, schedule=schedule, since=since, until=until,
    )  # fmt: skip


@command(group, "run-now")
def run_tasks_now(
    call: Call,
    ids: options.Ids = None,
    type_: options.Type = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    text: options.Text = None,
    schedule: options.OfSchedule = None,
    since: options.Since = None,
    until: options.Until = None,
    yes: options.Yes = False,
) -> int:
    """Make scheduled tasks ready at once: delayed ones, and those that wait for a retry."""
    return _act(
        call, selection.RUN_NOW, ids, yes,
        type_=type_, queue=queue, tag=tag, text=text, schedule=schedule, since=since, until=until,
    )  # fmt: skip


@command(group, "priority", context_settings={"ignore_unknown_options": True})
def change_priority(
    call: Call,
    priority: Annotated[int, typer.Argument(metavar="PRIORITY", help="The new one; lower runs first, 100 is normal.")],
    ids: options.Ids = None,
    status: options.Statuses = None,
    type_: options.Type = None,
    queue: options.Queue = None,
    tag: options.Tag = None,
    text: options.Text = None,
    schedule: options.OfSchedule = None,
    since: options.Since = None,
    until: options.Until = None,
    yes: options.Yes = False,
) -> int:
    """Give waiting tasks another priority."""
    from prismq.domain.limits import PRIORITY_MAX, PRIORITY_MIN

    if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
        usage(f"a priority is a whole number from {PRIORITY_MIN:,} to {PRIORITY_MAX:,}, not {priority}")
    return _act(
        call, selection.priority_action(priority), ids, yes,
        status=status, type_=type_, queue=queue, tag=tag, text=text, schedule=schedule, since=since, until=until,
    )  # fmt: skip
