"""What can be done from `prismq top`: each with the question that comes before it and what is said afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prismq.app import PrismQ
from prismq.cli.output import plural
from prismq.cli.top.rows import ENDED, clean
from prismq.client.operator import who_am_i
from prismq.domain.task import Task
from prismq.domain.worker import WorkerCommand
from prismq.observability.condition import WorkerView
from prismq.server.views.queues import QueueRow


class Deed(NamedTuple):
    """Something that may be done. `act` does it and says what happened; it may take long, and may raise PrismqError."""

    question: str
    act: Callable[[PrismQ], str]


class Refused(NamedTuple):
    """Why something cannot be done."""

    reason: str


def pause_queue(row: QueueRow) -> Deed:
    """Pause an open queue, or resume a paused one."""
    name = row.name
    if row.info.paused_at is not None:

        def resume(q: PrismQ) -> str:
            return f"Queue {clean(name)} {'goes on' if q.tasks.resume(name) else 'was not paused any more'}."

        return Deed(f"Resume the queue {clean(name)}?", resume)

    def pause(q: PrismQ) -> str:
        q.tasks.pause(name)
        return f"Queue {clean(name)} is paused."

    running = f" {plural(row.running, 'task')} of it will run on." if row.running else ""
    return Deed(f"Pause the queue {clean(name)}? Nothing more of it is claimed.{running}", pause)


def pause_worker(view: WorkerView) -> Deed | Refused:
    """Ask a worker to pause, or to go on."""
    worker_id, status = view.worker.worker_id, view.worker.status
    if not view.live or status == "draining":
        return Refused(f"Worker {clean(worker_id)} is {view.condition}: it takes no orders.")
    order, word = (WorkerCommand.RESUME, "resume") if status == "paused" else (WorkerCommand.PAUSE, "pause")

    def ask(q: PrismQ) -> str:
        q.store.workers.ask(worker_id, order, None, who_am_i(), q.clock.now())
        q.announce()
        return f"Worker {clean(worker_id)} was asked to {word}; it does with its next heartbeat."

    note = " It finishes what it runs, and claims nothing more." if order is WorkerCommand.PAUSE else ""
    return Deed(f"{word.capitalize()} the worker {clean(worker_id)}?{note}", ask)


def cancel_task(task: Task) -> Deed | Refused:
    """Cancel a task that has not ended."""
    name = f"task {task.id} ({clean(task.type)})"
    if task.status in ENDED:
        return Refused(f"{name[0].upper()}{name[1:]} has ended: it is {task.state}.")
    if task.state == "cancelling":
        return Refused(f"{name[0].upper()}{name[1:]} was asked to stop already, and has not yet.")

    def cancel(q: PrismQ) -> str:
        done = q.tasks.cancel(task.id)
        if done.cancelled:
            return f"Task {task.id} is cancelled."
        return f"Task {task.id} was asked to stop." if done.cancelling else f"Task {task.id} has ended meanwhile."

    running = " It is running, and is asked to stop." if task.status in ("claimed", "processing") else ""
    return Deed(f"Cancel {name}?{running}", cancel)


def retry_task(task: Task) -> Deed | Refused:
    """Queue an ended task again."""
    name = f"task {task.id} ({clean(task.type)})"
    if task.status not in ENDED:
        return Refused(f"{name[0].upper()}{name[1:]} has not ended: it is {task.state}.")

    def retry(q: PrismQ) -> str:
        return (
            f"Task {task.id} is queued again." if q.tasks.retry(task.id) else f"Task {task.id} is not ended any more."
        )

    return Deed(f"Queue {name} again? It gets all its {plural(task.max_attempts, 'attempt')}.", retry)
