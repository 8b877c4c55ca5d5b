"""What operators can do, for API routes and pages alike. Each action is written to the audit log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from prismq.app import PrismQ
from prismq.client.tokens import create_token
from prismq.config.alerts import AlertsConfig
from prismq.domain.account import ApiToken, AuditEntry, Role
from prismq.domain.breaker import Breaker
from prismq.domain.errors import InvalidArgument, TaskNotFound, closest
from prismq.domain.status import LEASED, TERMINAL, WAITING
from prismq.domain.task import Enqueued, Task, TaskFilter
from prismq.domain.times import epoch_to_text
from prismq.domain.worker import WorkerCommand
from prismq.observability.alerts import acts
from prismq.observability.alerts.trial import Trial, try_channels
from prismq.observability.remediation.by_hand import close_breaker, open_breaker
from prismq.server.auth import Principal, address_of
from prismq.server.problems import Problem
from prismq.server.services import Services
from prismq.storage.contract.alerts import AlertRecord, Silence

R = TypeVar("R")

# A preview counts no further: beyond it says "more than". The books answer where only queue, type and status are asked.
COUNTED_MAX = 100_000

_POSSIBLE = {  # action on tasks -> the statuses in which it can be done
    "cancel": WAITING | LEASED,
    "retry": TERMINAL,
    "run-now": frozenset({"scheduled"}),
    "delete": WAITING | TERMINAL,
    "reprioritise": WAITING,
}
# What a bulk retry means by default is what failed, not what went well.
_BY_DEFAULT = {"retry": ("dead_letter", "failed")}
TASK_ACTIONS = tuple(_POSSIBLE)


class Preview(NamedTuple):
    """How many tasks an action would change; `exact` is False where there are more than could be counted."""

    matching: int
    exact: bool


class Done(NamedTuple):
    """How many tasks were changed, and how many running ones were asked to stop."""

    tasks: int
    asked: int = 0


class Actor:
    """Somebody who acts, on a thread of the pool: `await acting(lambda actor: actor.cancel(7))`."""

    def __init__(self, q: PrismQ, who: Principal, origin: str | None, alerts: AlertsConfig) -> None:
        self._q, self._who, self._origin, self._alerts = q, who, origin, alerts

    # -- one task

    def cancel(self, task_id: int) -> Done:
        """Cancel a waiting task, or ask a running one to stop. Problem 409 where it has ended."""
        return self._one("cancel", task_id)

    def retry(self, task_id: int) -> Done:
        """Queue an ended task again. Problem 409 where it has not ended."""
        return self._one("retry", task_id)

    def run_now(self, task_id: int) -> Done:
        """Make a scheduled task ready. Problem 409 where it is not scheduled."""
        return self._one("run-now", task_id)

    def delete(self, task_id: int) -> Done:
        """Remove a task that nobody holds. Problem 409 where somebody does."""
        return self._one("delete", task_id)

    def reprioritise(self, task_id: int, priority: int) -> Done:
        """Change a waiting task's priority. Problem 409 where it does not wait."""
        return self._one("reprioritise", task_id, priority)

    def _one(self, action: str, task_id: int, priority: int | None = None) -> Done:
        task = self._task(task_id)
        done = self._do(action, TaskFilter(ids=(task_id,)), priority)
        if not done.tasks and not done.asked:
            possible = ", ".join(sorted(_POSSIBLE[action]))
            if task.status in _POSSIBLE[action]:  # it has that priority already, or moved on meanwhile
                return done
            raise Problem(409, f"task {task_id} is {task.state}; {action} is for tasks that are {possible}")
        which = {} if priority is None else {"priority": priority}
        self._note(f"tasks.{action}", str(task_id), which, done.tasks + done.asked)
        return done

    def _task(self, task_id: int) -> Task:
        task = self._q.store.tasks.get(task_id)
        if task is None:
            raise TaskNotFound(task_id)
        return task

    # -- all that match

    def preview(self, action: str, which: TaskFilter) -> Preview:
        """How many tasks a bulk action would change."""
        return preview(self._q, action, which)

    def on_all(self, action: str, which: TaskFilter, *, expected: int, priority: int | None = None) -> Done:
        """Do it to all that match. `expected`: the number that a preview gave. Problem 409, and nothing done, where
        more match now: what was agreed to was not that."""
        found = preview(self._q, action, which)
        if found.matching > expected:
            raise Problem(
                409,
                f"{found.matching:,} tasks match now, more than the {expected:,} that were agreed to; nothing was "
                f"done. Look again",
                matching=found.matching,
            )
        done = self._do(action, within(action, which), priority)
        noted = conditions_of(which) | ({} if priority is None else {"priority": priority})
        self._note(f"tasks.{action}", None, noted, done.tasks + done.asked)
        return done

    def _do(self, action: str, which: TaskFilter, priority: int | None) -> Done:
        tasks, now = self._q.store.tasks, self._q.clock.now()
        if action == "cancel":
            cancelled = tasks.cancel(which, now)
            done = Done(cancelled.cancelled, cancelled.cancelling)
        elif action == "retry":
            done = Done(tasks.retry(which, now))
        elif action == "run-now":
            done = Done(tasks.run_now(which, now))
        elif action == "delete":
            done = Done(tasks.delete(which))
        else:
            if priority is None:
                raise InvalidArgument("reprioritise wants a priority")
            done = Done(tasks.reprioritise(which, priority, now))
        self._q.announce()
        return done

    def retry_with(self, task_id: int, payload: Mapping[str, Any]) -> Enqueued:
        """Enqueue a task like this one with other arguments; the old one stays as it is."""
        task = self._task(task_id)
        options: dict[str, Any] = {
            "queue": task.queue,
            "priority": task.priority,
            "max_attempts": task.max_attempts,
            "compatibility": task.get_compatibility_dict(),
            "tags": json.loads(task.tags) if task.tags else [],
            "timeout": task.timeout_seconds,
            "headers": {"prismq.enqueued_by": self._who.name, "prismq.retry_of": str(task_id)},
        }
        handle = self._q.enqueue(task.type, payload, **options)
        self._note("tasks.retry-with", str(task_id), {"new_task_id": handle.id}, 1)
        return Enqueued(handle.id, handle.created)

    # -- queues

    def pause_queue(self, queue: str) -> None:
        """Claim nothing more of it."""
        self._known_queue(queue)
        self._q.tasks.pause(queue, self._who.name)
        self._note("queues.pause", queue)

    def resume_queue(self, queue: str) -> bool:
        """Claim from it again; False where it was not paused."""
        self._known_queue(queue)
        resumed = self._q.tasks.resume(queue)
        self._note("queues.resume", queue)
        return resumed

    def limit_queue(self, queue: str, max_running: int | None) -> None:
        """At most so many of its tasks at once; None: no limit."""
        self._known_queue(queue)
        self._q.tasks.limit(queue, max_running)
        self._note("queues.limit", queue, {"max_running": max_running})

    def purge_queue(self, queue: str, *, expected: int) -> Done:
        """Delete its waiting tasks. `expected` as in on_all."""
        self._known_queue(queue)
        which = purge_filter(queue)
        found = preview(self._q, "delete", which)
        if found.matching > expected:
            raise Problem(
                409,
                f"{found.matching:,} tasks wait in {queue!r} now, more than the {expected:,} that were agreed to; "
                f"nothing was deleted. Look again",
                matching=found.matching,
            )
        done = self._do("delete", which, None)
        self._note("queues.purge", queue, tasks=done.tasks)
        return done

    def _known_queue(self, queue: str) -> None:
        known = [one.queue for one in self._q.tasks.queues()]
        if queue not in known:
            raise Problem(404, f"there is no queue {queue[:200]!r}.{closest(queue, known)}")

    # -- workers

    def tell_worker(self, worker_id: str, command: WorkerCommand, slots: int | None = None) -> None:
        """Ask a worker to pause, resume, drain or resize. Problem 404 for one that is not known, 409 for one that has
        ended."""
        worker = self._q.store.workers.get(worker_id)
        if worker is None:
            raise Problem(404, f"there is no worker {worker_id[:200]!r}")
        if worker.status in ("stopped", "lost"):
            raise Problem(409, f"worker {worker_id} is {worker.status}")
        self._q.store.workers.ask(worker_id, command, slots, self._who.name, self._q.clock.now())
        self._q.announce()
        self._note(f"workers.{command}", worker_id, {} if slots is None else {"slots": slots})

    # -- the breakers of types

    def open_breaker(self, type_: str, reason: str, for_s: float | None) -> Breaker:
        """Let the tasks of a type wait; see by_hand.open_breaker."""
        made = open_breaker(
            self._q.store, self._q.clock.now(), type_, by=self._who.name, via=self._who.via, origin=self._origin,
            reason=reason, for_s=for_s,
        )  # fmt: skip
        self._q.announce()
        return made

    def close_breaker(self, type_: str) -> bool:
        """Have them claimed again; False where they were."""
        made = close_breaker(
            self._q.store, self._q.clock.now(), type_, by=self._who.name, via=self._who.via, origin=self._origin
        )
        self._q.announce()
        return made is not None

    # -- schedules

    def pause_schedule(self, name: str, *, paused: bool) -> None:
        """Let its times pass, or have it run again from its next time on."""
        if not self._q.store.schedules.pause(name, paused, self._q.clock.now()):
            raise Problem(404, f"there is no schedule {name[:200]!r}")
        self._q.announce()
        self._note("schedules.pause" if paused else "schedules.resume", name)

    def run_schedule(self, name: str) -> Enqueued:
        """Enqueue its task now, beside its times."""
        found = next((one for one in self._q.store.schedules.all() if one.name == name), None)
        if found is None:
            raise Problem(404, f"there is no schedule {name[:200]!r}")
        headers = {**found.template.headers, "prismq.run_by": self._who.name}
        done = self._q.store.inbox.enqueue(replace(found.template, schedule=name, headers=headers), self._q.clock.now())
        self._q.announce()
        self._note("schedules.run", name, tasks=1 if done.created else 0)
        return done

    def remove_schedule(self, name: str) -> None:
        """Forget it. Code that still declares it brings it back when a worker starts."""
        if not self._q.store.schedules.remove(name):
            raise Problem(404, f"there is no schedule {name[:200]!r}")
        self._note("schedules.remove", name)

    # -- tokens

    def create_token(self, name: str, role: Role, expires_at: float | None) -> tuple[ApiToken, str]:
        """A new token, and the secret itself, which is shown once and kept nowhere."""
        return create_token(
            self._q.store,
            self._q.clock.now(),
            name,
            role,
            expires_at,
            by=self._who.name,
            via=self._who.via,
            origin=self._origin,
        )

    def revoke_token(self, name: str) -> None:
        """Delete a token; sessions that were opened with it end."""
        if not self._q.store.accounts.revoke_token(name):
            raise Problem(404, f"there is no token {name[:200]!r}")
        self._note("tokens.revoke", name)

    # -- alerts

    def acknowledge_alert(self, alert_id: int, note: str | None) -> AlertRecord:
        """Look after it. Problem 404 where there is none that is open."""
        try:
            found = acts.acknowledge(self._q.store, alert_id, self._who.name, note, self._q.clock.now())
        except acts.NoSuchAlert as error:
            raise Problem(404, str(error)) from error
        self._note("alerts.acknowledge", str(alert_id), {"rule": found.rule, "labels": dict(found.labels)})
        return found

    def silence(self, matchers: Mapping[str, str], seconds: float, reason: str, starts_at: float | None) -> Silence:
        """Let alerts that match not be told for a while."""
        now, by = self._q.clock.now(), self._who.name
        made = acts.silence(self._q.store, self._alerts, matchers, seconds, by, reason, now, starts_at=starts_at)
        self._note("alerts.silence", str(made.silence_id), {"matchers": dict(matchers), "seconds": seconds})
        return made

    def unsilence(self, silence_id: int) -> None:
        """End a silence. Problem 404 where it is not in force."""
        try:
            acts.unsilence(self._q.store, silence_id, self._q.clock.now())
        except acts.NoSuchAlert as error:
            raise Problem(404, str(error)) from error
        self._note("alerts.unsilence", str(silence_id))

    def test_channels(self, names: Sequence[str]) -> list[Trial]:
        """Send a message to these channels; to all where none is named."""
        tried = try_channels(self._q.store, self._q.clock, self._alerts, names, self._who.name)
        self._note("alerts.test", ", ".join(one.channel for one in tried) or None)
        return tried

    def _note(
        self, action: str, target: str | None, which: Mapping[str, Any] | None = None, tasks: int | None = None
    ) -> None:
        entry = AuditEntry(
            self._who.name, action, self._q.clock.now(), target, which or {}, tasks, self._origin, self._who.via
        )
        self._q.store.audit.add(entry)


def purge_filter(queue: str) -> TaskFilter:
    """What a purge deletes: the waiting tasks of a queue."""
    return TaskFilter(queue=queue, statuses=("queued", "scheduled"))


def preview(q: PrismQ, action: str, which: TaskFilter) -> Preview:
    """How many tasks a bulk action would change: from the books where they can tell, else by counting so far."""
    meant = within(action, which)
    if replace(meant, statuses=(), type=None, queue=None).is_empty:
        depth = q.store.insight.depth()
        matching = sum(
            tasks
            for (queue, type_, status, _), tasks in depth.items()
            if (not meant.statuses or status in meant.statuses)
            and meant.queue in (None, queue)
            and meant.type in (None, type_)
        )
        return Preview(matching, True)
    matching = q.store.tasks.count(meant, at_most=COUNTED_MAX + 1)
    return Preview(matching, matching <= COUNTED_MAX)


def within(action: str, which: TaskFilter) -> TaskFilter:
    """The filter, with the statuses in which the action can be done. Raises InvalidArgument where none is left, or
    where there is no condition at all."""
    if which.is_empty:
        raise InvalidArgument(
            f"{action} wants at least one condition, such as a status, so that nothing happens to all by accident"
        )
    possible = _POSSIBLE[action]
    meant = which.statuses or _BY_DEFAULT.get(action) or tuple(sorted(str(one) for one in possible))
    statuses = tuple(one for one in meant if one in possible)
    if not statuses:
        raise InvalidArgument(
            f"{action} cannot be done to tasks that are {' or '.join(which.statuses)}; it is for "
            f"{', '.join(sorted(str(one) for one in possible))}"
        )
    return replace(which, statuses=statuses)


def conditions_of(which: TaskFilter) -> dict[str, Any]:
    """The filter as the audit log keeps it."""
    found: dict[str, Any] = {
        name: value
        for name, value in (
            ("ids", list(which.ids[:100])),
            ("status", list(which.statuses)),
            ("type", which.type),
            ("queue", which.queue),
            ("schedule", which.schedule),
            ("tag", which.tag),
            ("text", which.text),
        )
        if value
    }
    for name, at in (("created_after", which.created_after), ("created_before", which.created_before)):
        if at is not None:
            found[name] = epoch_to_text(at)
    return found


class _Acting:
    """Runs what somebody does on a thread for it."""

    def __init__(self, services: Services, request: HTTPConnection) -> None:
        self._services, self._request = services, request

    async def __call__(self, action: Callable[[Actor], R]) -> R:
        who: Principal = self._request.state.principal  # there, because every route names its role
        actor = Actor(self._services.q, who, address_of(self._request), self._services.alerts)
        try:
            return await self._services.act(lambda: action(actor))
        finally:
            self._services.accounts.forget()


async def _acting(request: HTTPConnection) -> _Acting:
    return _Acting(request.app.state.services, request)


# `acting: Acting` after the role, then `await acting(lambda actor: actor.cancel(7))`.
Acting = Annotated[_Acting, Depends(_acting)]
