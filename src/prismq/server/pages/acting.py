"""The forms that change something, and the questions that come before what cannot be taken back."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from prismq.app import PrismQ
from prismq.domain.account import AuditEntry, Role
from prismq.domain.errors import InvalidArgument, PayloadTooLarge
from prismq.domain.limits import PRIORITY_MAX, PRIORITY_MIN
from prismq.domain.status import WAITING
from prismq.domain.task import TaskFilter
from prismq.domain.words import plural
from prismq.domain.worker import WorkerCommand
from prismq.server.actions import Acting, Actor, Done, preview, purge_filter
from prismq.server.auth import address_of
from prismq.server.dependencies import Admin, Operator, Serving
from prismq.server.pages.forms import Asked, Sent, back, is_local, needed, there, whole
from prismq.server.pages.looking import ID_MAX, settings_page
from prismq.server.pages.rendering import pairs_without, rendering_of, root_of
from prismq.server.problems import Problem
from prismq.server.views.enqueueing import enqueue_page, order_of, restored
from prismq.server.views.selection import Pairs, action_of, ask, selection_of

router = APIRouter()

_UNDONE_MAX = 500  # tasks whose cancellation can be taken back; they are read before
_DAY_S = 86_400.0
_OWN_FIELDS = ("csrf_token", "back", "action", "expected", "priority")


# -- one task


@router.post("/tasks/{task_id:int}/{action}")
async def act_on_task(
    request: Request, task_id: int, action: str, who: Operator, acting: Acting, sent: Sent
) -> Response:
    """Retry, cancel or run a task now."""
    whole(str(task_id), "a task's id", 1, ID_MAX)
    if action == "again":
        return await _again(request, task_id, who, acting, sent)
    did = {"retry": Actor.retry, "cancel": Actor.cancel, "run-now": Actor.run_now}.get(action)
    if did is None:
        raise Problem(404, f"there is no action {action[:40]!r} on a task")
    serving = request.app.state.services
    task = await serving.ask(lambda q: q.tasks.get(task_id))
    done: Done = await acting(lambda actor: did(actor, task_id))
    undo = ""
    if action == "cancel" and task.status in WAITING:
        undo = rendering_of(request).undos.keep("retry", (task_id,), "Undo: queue it again", serving.q.clock.now())
    return there(f"{root_of(request)}/tasks/{task_id}", done=action, n=done.tasks, m=done.asked, undo=undo)


async def _again(request: Request, task_id: int, who: Operator, acting: Acting, sent: Sent) -> Response:
    render = rendering_of(request)
    serving = request.app.state.services

    def payload_of(q: PrismQ) -> Any:
        task = q.tasks.get(task_id)
        order = order_of(enqueue_page(q, task.type, sent=sent, retry_of=task), sent)
        return restored(order.payload, task.get_payload_dict())

    try:
        payload = await serving.ask(payload_of)
        made = await acting(lambda actor: actor.retry_with(task_id, payload))
    except (InvalidArgument, PayloadTooLarge) as error:
        problem = str(error)

        def form(q: PrismQ) -> Any:
            task = q.tasks.get(task_id)
            return enqueue_page(q, task.type, sent=sent, retry_of=task, problem=problem)

        view = await serving.ask(form)
        return render.page(
            request, who, "enqueue.html", title="Retry", place="tasks", follows=False, status=422, view=view
        )
    return there(
        f"{root_of(request)}/tasks/{made.task_id}", done="enqueue" if made.created else "found", n=made.task_id
    )


@router.post("/tasks/new")
async def enqueue(request: Request, who: Operator, serving: Serving, sent: Sent) -> Response:
    """Enqueue what the form says."""
    type_ = sent.one("type") or ""

    def send(q: PrismQ) -> tuple[int, bool]:
        order = order_of(enqueue_page(q, type_, sent=sent), sent)
        handle = q.enqueue(order.type, order.payload, **order.options, headers={"prismq.enqueued_by": who.name})
        entry = AuditEntry(
            who.name, "tasks.enqueue", q.clock.now(), str(handle.id), {"type": order.type}, 1 if handle.created else 0,
            address_of(request), who.via,
        )  # fmt: skip
        q.store.audit.add(entry)
        return handle.id, handle.created

    try:
        task_id, created = await serving.act(lambda: send(serving.q))
    except (InvalidArgument, PayloadTooLarge) as error:
        problem = str(error)
        view = await serving.ask(lambda q: enqueue_page(q, type_, sent=sent, problem=problem))
        return rendering_of(request).page(
            request, who, "enqueue.html", title="Enqueue", place="tasks", follows=False, status=422, view=view
        )
    return there(f"{root_of(request)}/tasks/{task_id}", done="enqueue" if created else "found", n=task_id)


# -- many tasks


@router.get("/tasks/act")
async def ask_about_tasks(request: Request, who: Operator, serving: Serving, asked: Asked) -> HTMLResponse:
    """What an action on the chosen tasks, or on all that match, would do."""
    action = action_of(asked.one("action"))
    selection = selection_of(asked)
    found = await serving.ask(lambda q: ask(q, action, selection))
    number = plural(found.count, "task") if found.exact else f"more than {found.count - 1:,} tasks"
    pairs = [("action", action.key), *found.selection.pairs(), ("expected", str(found.count))]
    if found.count and not found.exact:
        sentence = (
            f"{number[:1].upper()}{number[1:]} match ({found.selection.words}): that is too many to agree to at once."
        )
        return _question(
            request, who, asked, heading=f"{action.verb} {number}?", sentence=f"{sentence} Narrow the filter by queue, "
            f"type or status alone, or by time.", count=0, sample=found.sample,
        )  # fmt: skip
    return _question(
        request, who, asked,
        heading=f"{action.verb} {number}?" if found.count else "No task matches",
        sentence=(
            f"{number} ({found.selection.words}) will be {action.done}."
            if found.count else f"Nothing can be {action.done}: {found.selection.words}."
        ),
        count=found.count, sample=found.sample, left_alone=found.left_alone, warning=action.warning, pairs=pairs,
        path="/tasks/act", button=f"{action.verb}: {number}", dangerous=action.is_dangerous,
        with_priority=action.key == "reprioritise",
    )  # fmt: skip


@router.post("/tasks/act")
async def act_on_tasks(request: Request, who: Operator, serving: Serving, acting: Acting, sent: Sent) -> Response:
    """Do it, where no more match now than were agreed to."""
    action = action_of(sent.one("action"))
    selection = selection_of(Pairs(pairs_without(sent.items, *_OWN_FIELDS)))
    expected = whole(sent.one("expected"), "expected", 0, ID_MAX)
    priority = None
    if action.key == "reprioritise":
        priority = whole(sent.one("priority"), "priority", PRIORITY_MIN, PRIORITY_MAX)
    waiting: tuple[int, ...] = ()
    if action.key == "cancel" and expected <= _UNDONE_MAX:
        waiting = await serving.ask(lambda q: _waiting(q, selection.which))
    done = await acting(lambda actor: actor.on_all(action.key, selection.which, expected=expected, priority=priority))
    undo = ""
    if waiting:
        undo = rendering_of(request).undos.keep("retry", waiting, "Undo: queue them again", serving.q.clock.now())
    return back(request, sent, "/tasks", done=action.key, n=done.tasks, m=done.asked, undo=undo)


def _waiting(q: PrismQ, which: TaskFilter) -> tuple[int, ...]:
    found = q.store.tasks.find(which, limit=_UNDONE_MAX)
    return tuple(task.id for task in found if task.id is not None and task.status in WAITING)


@router.post("/undo")
async def undo(request: Request, who: Operator, serving: Serving, acting: Acting, sent: Sent) -> Response:
    """Take the last action back, as far as that goes."""
    found = rendering_of(request).undos.take(needed(sent, "undo"), serving.q.clock.now())
    if found is None:
        return back(request, sent, "/tasks", done="late")
    which = TaskFilter(ids=found.ids, statuses=("cancelled",))
    done = await acting(lambda actor: actor.on_all(found.action, which, expected=len(found.ids)))
    return back(request, sent, "/tasks", done=found.action, n=done.tasks)


def _question(request: Request, who: Operator, asked: Asked, **values: Any) -> HTMLResponse:
    place = asked.one("back") or ""
    root = root_of(request)
    if not is_local(place):
        place = f"{root}/{values.pop('default_back', 'tasks')}"
    values.pop("default_back", None)
    shown = {
        "left_alone": 0, "warning": "", "pairs": [], "path": "", "button": "", "dangerous": False,
        "with_priority": False, "sample": [],
    }  # fmt: skip
    return rendering_of(request).page(
        request, who, "ask.html", title=values["heading"], place="tasks", follows=False, back=place,
        back_path=place.removeprefix(root), **{**shown, **values},
    )  # fmt: skip


# -- queues


@router.post("/queues/pause")
async def pause_queue(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Claim nothing more of it."""
    queue = needed(sent, "queue")
    await acting(lambda actor: actor.pause_queue(queue))
    return back(request, sent, "/queues", done="pause")


@router.post("/queues/resume")
async def resume_queue(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Claim from it again."""
    queue = needed(sent, "queue")
    await acting(lambda actor: actor.resume_queue(queue))
    return back(request, sent, "/queues", done="resume")


@router.post("/queues/limit")
async def limit_queue(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """How many of its tasks run at once."""
    queue, text = needed(sent, "queue"), sent.one("max_running")
    limit = None if text is None else whole(text, "the limit", 1, 1_000_000)
    await acting(lambda actor: actor.limit_queue(queue, limit))
    return back(request, sent, "/queues", done="limit")


@router.get("/queues/purge")
async def ask_about_purge(request: Request, who: Operator, serving: Serving, asked: Asked) -> HTMLResponse:
    """How many tasks a purge would delete."""
    queue = needed(asked, "queue")
    which = purge_filter(queue)

    def look(q: PrismQ) -> tuple[int, list[Any]]:
        found = preview(q, "delete", which)
        return found.matching, q.store.tasks.find(which, limit=min(10, found.matching)) if found.matching else []

    count, sample = await serving.ask(look)
    number = plural(count, "waiting task")
    return _question(
        request, who, asked, default_back=f"queues/{quote(queue)}",
        heading=f"Purge {queue!r}?" if count else "Nothing waits",
        sentence=f"{number} of the queue {queue!r} will be deleted." if count else f"No task waits in {queue!r}.",
        warning="Running tasks, and those that ended, stay. This cannot be undone.", count=count, sample=sample,
        path="/queues/purge", pairs=[("queue", queue), ("expected", str(count))], button=f"Delete {number}",
        dangerous=True,
    )  # fmt: skip


@router.post("/queues/purge")
async def purge_queue(request: Request, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Delete its waiting tasks, where no more wait now than were agreed to."""
    queue, expected = needed(sent, "queue"), whole(sent.one("expected"), "expected", 0, ID_MAX)
    done = await acting(lambda actor: actor.purge_queue(queue, expected=expected))
    # Not back to the queue's own page: it may have ended with its tasks.
    return there(f"{root_of(request)}/queues", done="purge", n=done.tasks)


# -- workers and schedules


@router.post("/workers/{command}")
async def tell_worker(request: Request, command: str, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Pause, resume, drain or resize a worker."""
    known = {one.value: one for one in WorkerCommand}
    if command not in known:
        raise Problem(404, f"workers know no command {command[:40]!r}; they know {', '.join(known)}")
    worker_id = needed(sent, "worker_id")
    slots = whole(sent.one("slots"), "slots", 1, 1000) if command == WorkerCommand.RESIZE.value else None
    await acting(lambda actor: actor.tell_worker(worker_id, known[command], slots))
    return back(request, sent, "/workers", done="worker")


@router.post("/schedules/{action}")
async def act_on_schedule(request: Request, action: str, who: Operator, acting: Acting, sent: Sent) -> Response:
    """Run a schedule now, pause or resume it."""
    name = needed(sent, "name")
    if action == "run":
        made = await acting(lambda actor: actor.run_schedule(name))
        return there(
            f"{root_of(request)}/tasks/{made.task_id}", done="enqueue" if made.created else "found", n=made.task_id
        )
    if action not in ("pause", "resume"):
        raise Problem(404, f"there is no action {action[:40]!r} on a schedule")
    await acting(lambda actor: actor.pause_schedule(name, paused=action == "pause"))
    return back(request, sent, "/schedules", done="schedule")


# -- tokens


@router.post("/settings/tokens")
async def create_token(request: Request, who: Admin, serving: Serving, acting: Acting, sent: Sent) -> Response:
    """Make a token, and show it this once."""
    name, days = needed(sent, "name"), sent.one("days")
    role = {one.value: one for one in Role}.get(sent.one("role") or "")
    if role is None:
        raise Problem(422, f"a role is one of {', '.join(one.value for one in Role)}")
    expires_at = None if days is None else serving.q.clock.now() + whole(days, "days", 1, 3650) * _DAY_S
    try:
        _, secret = await acting(lambda actor: actor.create_token(name, role, expires_at))
    except InvalidArgument as error:
        return await settings_page(request, who, serving, problem=str(error))
    return await settings_page(request, who, serving, secret=secret, secret_name=name)


@router.get("/settings/revoke")
async def ask_about_token(request: Request, who: Admin, asked: Asked) -> HTMLResponse:
    """Before a token goes."""
    name = needed(asked, "name")
    return _question(
        request, who, asked, default_back="settings", heading=f"Revoke {name!r}?",
        sentence="Programs and browsers that use it are let in no more.", warning="This cannot be undone.", count=1,
        path="/settings/revoke", pairs=[("name", name)], button="Revoke", dangerous=True,
    )  # fmt: skip


@router.post("/settings/revoke")
async def revoke_token(request: Request, who: Admin, acting: Acting, sent: Sent) -> Response:
    """Delete a token."""
    name = needed(sent, "name")
    await acting(lambda actor: actor.revoke_token(name))
    return back(request, sent, "/settings", done="revoke")
