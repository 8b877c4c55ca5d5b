"""What the demo sends beside the files, what should become of it, and what did, told from the books and the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prismq.app import PrismQ
from prismq.cli.demo import tasks
from prismq.client.handle import TaskHandle
from prismq.domain.status import TERMINAL, TaskStatus
from prismq.domain.task import Task, TaskAttempt

LOOK_UPS = ("alpha.example", "beta.example", "gamma.example")
GROUP_SIZE, GROUP_WAIT_S = 12, 1.0
MISSING_FILE = "no-such-file.txt"
_TERMINAL = frozenset(status.value for status in TERMINAL)

Records = Sequence[tuple[Task, Sequence[TaskAttempt]]]


@dataclass
class Case:
    """A task, or a few of one kind, with a story. `wrong` says what is not as it should be, or nothing."""

    title: str
    ids: list[int]
    wrong: Callable[[Records], str]

    def records(self, q: PrismQ) -> Records:
        """Each task with its attempts that did not complete."""
        return [(q.tasks.get(task_id), q.tasks.attempts(task_id)) for task_id in self.ids]


def first_cases(q: PrismQ, folder: str) -> list[Case]:
    """Enqueue the tasks that run beside the index."""
    look_ups = [tasks.look_up.enqueue(host) for host in LOOK_UPS]
    killer = tasks.kill_worker_once.enqueue()
    poison = tasks.poison.enqueue()
    missing = q.enqueue(tasks.INDEX, {"folder": folder, "path": MISSING_FILE}, queue="files")
    once = [q.enqueue("demo.report", idempotency_key="the report") for _ in range(2)]
    return [
        Case("look-ups that fail at first", _ids(look_ups), lambda found: _completed(found, at_least=2)),
        Case("kills its worker once", [killer.id], lambda found: _completed(found, at_least=2, lost=1)),
        Case("kills its worker every time", [poison.id], _buried),
        Case(
            "a file that is not there", [missing.id], lambda found: _ended(found, TaskStatus.FAILED, "PermanentError")
        ),
        Case("the report, enqueued twice with one key", _ids(once[:1]), lambda found: _one_task(found, once)),
    ]


def later_cases() -> list[Case]:
    """Enqueue what must not be disturbed by those that kill their worker."""
    group = tasks.wait_async.enqueue_many([(number, GROUP_WAIT_S) for number in range(GROUP_SIZE)])
    never_ends = tasks.never_ends.enqueue()
    walk = tasks.long_walk.enqueue(3_000)
    return [
        Case(f"{GROUP_SIZE} coroutines that wait {GROUP_WAIT_S:g} s", _ids(group), _completed),
        Case(
            "outruns its timeout in C code",
            [never_ends.id],
            lambda found: _ended(found, TaskStatus.DEAD_LETTER, "TaskTimeout", "its process was killed"),
        ),
        Case("cancelled while it runs", [walk.id], lambda found: _ended(found, TaskStatus.CANCELLED, "while it ran")),
    ]


def _ids(handles: Sequence[TaskHandle[Any]]) -> list[int]:
    return [handle.id for handle in handles]


# What should have become of them.


def _completed(found: Records, *, at_least: int = 1, lost: int = 0) -> str:
    for task, attempts in found:
        if task.status != TaskStatus.COMPLETED.value:
            return f"task {task.id} should have completed and is {task.status}: {task.error_message}"
        if task.attempts < at_least:
            return f"task {task.id} completed on attempt {task.attempts}; it should have failed before"
        if sum(one.outcome == "lost" for one in attempts) < lost:
            return f"task {task.id} should have lost its worker, and there is no record of it"
    return ""


def _buried(found: Records) -> str:
    wrong = _ended(found, TaskStatus.DEAD_LETTER, "WorkerLost")
    task, attempts = found[0]
    lost = sum(one.outcome == "lost" for one in attempts)
    # More, where it was lost before it had begun: that uses up no attempt.
    if not wrong and not task.attempts == task.max_attempts <= lost:
        wrong = f"task {task.id} should have lost {task.max_attempts} workers in as many attempts, not {lost}"
    return wrong


def _ended(found: Records, status: TaskStatus, *words: str) -> str:
    for task, attempts in found:
        told = " ".join([task.error_message or "", *(one.error_message or "" for one in attempts)])
        if task.status != status.value or not all(word in told for word in words):
            return f"task {task.id} should have ended as {status} ({', '.join(words)}) and is {task.status}: {told}"
    return ""


def _one_task(found: Records, once: Sequence[TaskHandle[Any]]) -> str:
    first, second = once
    if first.id != second.id or not first.created or second.created:
        return f"two enqueues with one idempotency key gave tasks {first.id} and {second.id}"
    return _completed(found)


def is_over(task: Task) -> bool:
    """Whether nothing will happen to it any more."""
    return task.status in _TERMINAL


# Their story, in words.


def story_of(found: Records) -> str:
    """What happened, in a few words a step."""
    if len(found) > 1:
        return _story_of_many(found)
    task, attempts = found[0]
    steps = [_step(one, task) for one in attempts if one.outcome != "snoozed"]
    snoozed = sum(one.outcome == "snoozed" for one in attempts)
    if snoozed:
        steps.append(f"put back {snoozed} times until the index was there, which used up no attempt")
    if task.status == TaskStatus.COMPLETED.value:
        steps.append(f"attempt {task.attempts} completed" if task.attempts > 1 or not attempts else "then it completed")
    elif attempts and attempts[-1].outcome == "lost":
        steps.append("attempts used up: dead-lettered")
    return "; ".join(steps)


def _story_of_many(found: Records) -> str:
    errors = Counter(one.error_type for _, attempts in found for one in attempts if one.outcome == "retried")
    lost = sum(one.outcome == "lost" for _, attempts in found for one in attempts)
    steps = [f"{n} attempts raised {kind} and were retried" for kind, n in errors.items() if kind]
    if lost:
        steps.append(f"{lost} attempts were lost with their worker and ran again")
    starts = [task.processing_started_utc for task, _ in found if task.processing_started_utc]
    ends = [task.finished_at_utc for task, _ in found if task.finished_at_utc]
    done = sum(task.status == TaskStatus.COMPLETED.value for task, _ in found)
    undisturbed = starts and ends and not errors and not lost
    took = f" within {(max(ends) - min(starts)).total_seconds():.1f} s" if undisturbed else ""
    return "; ".join([*steps, f"{done} of {len(found)} completed{took}"])


def _step(one: TaskAttempt, task: Task) -> str:
    worker = one.worker_id or "a worker"
    error = f"{one.error_type or ''}: {one.error_message or ''}".strip(": ")
    if one.outcome == "lost":
        return f"attempt {one.attempt} lost its worker {worker} ({one.error_message})"
    if one.outcome == "retried":
        return f"attempt {one.attempt} raised {error}"
    if one.outcome == "cancelled":
        return one.error_message or "cancelled"
    if one.outcome == "released":
        return f"given back by {worker}"
    return error if one.attempt == 1 else f"attempt {one.attempt}: {error}"
