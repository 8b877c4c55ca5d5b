"""Acting on tasks: by id, or on all that match once their number was seen and agreed to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import typer

from prismq.cli import output
from prismq.cli.context import announce, usage
from prismq.cli.exits import Exit

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.domain.task import TaskFilter

# Pages are read as whole rows, and a payload may be a megabyte.
_PAGE = 200
_COUNT_MAX = 10_000_000


class Action(NamedTuple):
    """Something that can be done to tasks."""

    name: str  # as in `prismq tasks <name>`
    done: str  # "cancelled"
    acts_on: tuple[str, ...]  # the statuses in which it can be done
    by_default: tuple[str, ...]  # of these, what conditions without a status mean
    run: Callable[[PrismQ, TaskFilter], tuple[int, int]]  # how many were done, and how many were asked


def _cancel(q: PrismQ, which: TaskFilter) -> tuple[int, int]:
    done = q.store.tasks.cancel(which, q.clock.now())
    return done.cancelled, done.cancelling


_ENDED = ("completed", "failed", "dead_letter", "cancelled")
_WAITING = ("queued", "scheduled")
_LEASED = ("claimed", "processing")

RETRY = Action(
    "retry", "queued again", _ENDED, ("failed", "dead_letter"),
    lambda q, which: (q.store.tasks.retry(which, q.clock.now()), 0),
)  # fmt: skip
CANCEL = Action("cancel", "cancelled", (*_WAITING, *_LEASED), (*_WAITING, *_LEASED), _cancel)
DELETE = Action(
    "delete", "deleted", (*_WAITING, *_ENDED), (*_WAITING, *_ENDED), lambda q, which: (q.store.tasks.delete(which), 0)
)
RUN_NOW = Action(
    "run-now", "made ready", ("scheduled",), ("scheduled",),
    lambda q, which: (q.store.tasks.run_now(which, q.clock.now()), 0),
)  # fmt: skip


def priority_action(priority: int) -> Action:
    """Give waiting tasks this priority."""
    return Action(
        "priority", f"given priority {priority}", _WAITING, _WAITING,
        lambda q, which: (q.store.tasks.reprioritise(which, priority, q.clock.now()), 0),
    )  # fmt: skip


def act(q: PrismQ, action: Action, which: TaskFilter, *, yes: bool, as_json: bool) -> int:
    """Do it to the tasks meant, and say what was done; the exit code."""
    if which.is_empty:
        usage(
            f"{action.name} wants the ids of tasks, or at least one condition such as --status or --type, "
            f"so that nothing happens to all of them by accident"
        )
    if which.ids:
        if not replace(which, ids=()).is_empty:
            usage(f"{action.name} takes ids or conditions, not both")
        return _act_on_ids(q, action, which.ids, as_json=as_json)
    return act_on_matching(q, action, _within(action, which), yes=yes, as_json=as_json)


def _within(action: Action, which: TaskFilter) -> TaskFilter:
    if not which.statuses:
        return replace(which, statuses=action.by_default)
    possible = tuple(one for one in which.statuses if one in action.acts_on)
    if not possible:
        usage(
            f"{action.name} cannot be done to tasks that are {' or '.join(which.statuses)}; "
            f"it is for {', '.join(action.acts_on)}"
        )
    return replace(which, statuses=possible)


def _act_on_ids(q: PrismQ, action: Action, ids: Iterable[int], *, as_json: bool) -> int:
    from prismq.domain.task import TaskFilter

    ids = tuple(dict.fromkeys(ids))
    before = {task_id: q.tasks.get(task_id).state for task_id in ids}
    done = asked = 0
    unchanged: list[int] = []
    for task_id in ids:
        now_done, now_asked = action.run(q, TaskFilter(ids=(task_id,)))
        done, asked = done + now_done, asked + now_asked
        if not now_done and not now_asked:
            unchanged.append(task_id)
    announce(q)
    if as_json:
        output.print_json(_report(action, len(ids), done, asked, unchanged))
    else:
        _say(action, done, asked)
        for task_id in unchanged:
            output.note(f"task {task_id} was left alone: it is {before[task_id]}, and {_rule(action)}")
    return Exit.FAILED if unchanged and not done and not asked else Exit.OK


def _rule(action: Action) -> str:
    if action.name == "priority":
        return "only waiting tasks whose priority differs are changed"
    return f"{action.name} is for tasks that are {', '.join(action.acts_on)}"


def act_on_matching(q: PrismQ, action: Action, which: TaskFilter, *, yes: bool, as_json: bool) -> int:
    """Count, ask, and do it piece by piece with a progress bar."""
    matched = q.store.tasks.count(which, at_most=_COUNT_MAX)
    done = asked = 0
    if matched:
        if not yes:
            confirm(f"{output.plural(matched, 'task')} ({', '.join(which.statuses)}) will be {action.done}.")
        done, asked = _in_pages(q, action, which, matched)
        announce(q)
    if as_json:
        output.print_json(_report(action, matched, done, asked, []))
    elif not matched:
        output.say(f"No task matches ({', '.join(which.statuses)}); nothing was changed.")
    else:
        _say(action, done, asked)
    return Exit.OK


def _in_pages(q: PrismQ, action: Action, which: TaskFilter, matched: int) -> tuple[int, int]:
    if matched <= _PAGE:
        return action.run(q, which)
    done = asked = 0
    before_id: int | None = None
    with output.progress_bar(action.name, matched) as progress:
        while page := q.store.tasks.find(which, limit=_PAGE, before_id=before_id):
            before_id = page[-1].id
            # The conditions again: what has moved on since the page was read is left alone.
            ids = tuple(task.id for task in page if task.id is not None)
            now_done, now_asked = action.run(q, replace(which, ids=ids))
            done, asked = done + now_done, asked + now_asked
            progress.advance(progress.task_ids[0], len(page))
    return done, asked


def confirm(what: str) -> None:
    """Ask on stderr; anything but yes ends the command, and nothing was changed."""
    sys.stderr.write(f"{what} Go on? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\n")
        output.note("nobody answered, so nothing was changed. Add --yes to go on without being asked.")
        raise typer.Exit(Exit.FAILED)
    if answer.strip().lower() not in ("y", "yes"):
        output.note("nothing was changed")
        raise typer.Exit(Exit.FAILED)


def _report(action: Action, matched: int, done: int, asked: int, unchanged: list[int]) -> dict[str, object]:
    return {"action": action.name, "matched": matched, "changed": done, "cancelling": asked, "unchanged_ids": unchanged}


def _say(action: Action, done: int, asked: int) -> None:
    if done or not asked:
        output.say(f"{output.plural(done, 'task')} {action.done}.")
    if asked:
        output.say(f"{output.plural(asked, 'running task')} asked to stop: cancelling until it has stopped.")
