"""The pages that show something."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from prismq.app import PrismQ
from prismq.domain.account import AuditEntry
from prismq.server.dependencies import Admin, Operator, Serving, Viewer
from prismq.server.pages.forms import Asked, whole
from prismq.server.pages.rendering import rendering_of
from prismq.server.problems import Problem
from prismq.server.routes.health import health_of
from prismq.server.views.alerts import summary_of
from prismq.server.views.enqueueing import enqueue_page
from prismq.server.views.failures import failures_page
from prismq.server.views.history import range_of
from prismq.server.views.overview import overview
from prismq.server.views.queues import queue_page, queues_page
from prismq.server.views.schedules import schedules_page
from prismq.server.views.selection import ACTIONS, Pairs, selection_of
from prismq.server.views.story import story
from prismq.server.views.system import system_page
from prismq.server.views.tasks import tasks_page
from prismq.server.views.workers import worker_card, workers_page

router = APIRouter()

ID_MAX = 2**63 - 1
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_AUDIT_PAGE = 50


@router.get("/")
async def show_overview(request: Request, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """How the whole stands."""
    render = rendering_of(request)
    span, queue = range_of(asked.one("range")), asked.one("queue")
    health = await health_of(serving)
    view, alerts = await serving.ask(lambda q: (overview(q, serving.history, health, span, queue), summary_of(q)))
    return render.page(
        request, who, "overview.html", title="Overview", place="overview", charts=True, view=view, alerts=alerts
    )


@router.get("/queues")
async def show_queues(request: Request, who: Viewer, serving: Serving) -> HTMLResponse:
    """Every queue."""
    render = rendering_of(request)
    view = await serving.ask(lambda q: queues_page(q, serving.history, q.store.standing(q.clock.now())))
    return render.page(request, who, "queues.html", title="Queues", place="queues", view=view)


@router.get("/queues/{name:path}")
async def show_queue(request: Request, name: str, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """One queue."""
    render = rendering_of(request)
    view = await serving.ask(lambda q: queue_page(q, serving.history, name, range_of(asked.one("range"))))
    if view is None:
        raise Problem(404, f"there is no queue {name[:200]!r}: none holds a task or a setting under this name")
    return render.page(request, who, "queue.html", title=f"Queue {name}", place="queues", charts=True, view=view)


@router.get("/tasks")
async def show_tasks(request: Request, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """The tasks that match."""
    render = rendering_of(request)
    text = asked.one("text")
    if text is not None and text.startswith("#") and text[1:].isdecimal() and text.isascii():
        return await show_task(request, whole(text[1:], "a task's id", 1, ID_MAX), who, serving, Pairs([]))
    before = asked.one("before_id")
    before_id = None if before is None else whole(before, "before_id", 1, ID_MAX)
    selection = selection_of(asked)
    view = await serving.ask(lambda q: tasks_page(q, selection, before_id))
    return render.page(
        request, who, "tasks.html", title="Tasks", place="tasks", follows=before_id is None, view=view,
        actions=list(ACTIONS.values()),
    )  # fmt: skip


@router.get("/tasks/new")
async def show_form(request: Request, who: Operator, serving: Serving, asked: Asked) -> HTMLResponse:
    """The form that enqueues."""
    render = rendering_of(request)
    view = await serving.ask(lambda q: enqueue_page(q, asked.one("type") or ""))
    return render.page(request, who, "enqueue.html", title="Enqueue", place="tasks", follows=False, view=view)


@router.get("/tasks/{task_id}")
async def show_task(request: Request, task_id: int, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """A task's whole story."""
    render = rendering_of(request)
    whole(str(task_id), "a task's id", 1, ID_MAX)
    level = (asked.one("level") or "DEBUG").upper()
    level = level if level in _LEVELS else "DEBUG"
    view = await serving.ask(lambda q: story(q, task_id, level))
    return render.page(
        request, who, "task.html", title=f"{view.task.type} #{task_id}", place="tasks", view=view, level=level
    )


@router.get("/tasks/{task_id}/again")
async def show_again(request: Request, task_id: int, who: Operator, serving: Serving) -> HTMLResponse:
    """The form for another task with other arguments."""
    render = rendering_of(request)
    whole(str(task_id), "a task's id", 1, ID_MAX)

    def look(q: PrismQ) -> HTMLResponse:
        task = q.tasks.get(task_id)
        view = enqueue_page(q, task.type, retry_of=task)
        return render.page(request, who, "enqueue.html", title="Retry", place="tasks", follows=False, view=view)

    return await serving.ask(look)


@router.get("/workers")
async def show_workers(request: Request, who: Viewer, serving: Serving) -> HTMLResponse:
    """Every worker."""
    render = rendering_of(request)
    view = await serving.ask(lambda q: workers_page(q, render.gauges))
    return render.page(request, who, "workers.html", title="Workers", place="workers", view=view)


@router.get("/workers/{worker_id:path}")
async def show_worker(request: Request, worker_id: str, who: Viewer, serving: Serving) -> HTMLResponse:
    """One worker."""
    render = rendering_of(request)
    view = await serving.ask(lambda q: worker_card(q, render.gauges, worker_id))
    if view is None:
        raise Problem(404, f"there is no worker {worker_id[:200]!r}; those that ended are forgotten after some days")
    return render.page(
        request, who, "worker.html", title=f"Worker {worker_id}", place="workers", view=view, at=serving.q.clock.now()
    )


@router.get("/schedules")
async def show_schedules(request: Request, who: Viewer, serving: Serving) -> HTMLResponse:
    """Every periodic task."""
    view = await serving.ask(schedules_page)
    return rendering_of(request).page(request, who, "schedules.html", title="Schedules", place="schedules", view=view)


@router.get("/failures")
async def show_failures(request: Request, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """What failed for good."""
    span = range_of(asked.one("range") or "24h")
    view = await serving.ask(lambda q: failures_page(q, serving.history, span))
    return rendering_of(request).page(
        request, who, "failures.html", title="Failures", place="failures", charts=True, view=view
    )


@router.get("/system")
async def show_system(request: Request, who: Viewer, serving: Serving, asked: Asked) -> HTMLResponse:
    """The machinery."""
    examine = asked.one("doctor") == "1"
    health = await health_of(serving)
    view = await serving.ask(lambda q: system_page(q, health, serving.uptime_s, doctor=examine, backup_dir=None))
    return rendering_of(request).page(
        request, who, "system.html", title="System", place="system", follows=not examine, view=view
    )


@router.get("/audit")
async def show_audit(request: Request, who: Operator, serving: Serving, asked: Asked) -> HTMLResponse:
    """What was done."""
    words = {name: asked.one(name) for name in ("actor", "action", "target")}
    before = asked.one("before_id")
    before_id = None if before is None else whole(before, "before_id", 1, ID_MAX)

    def look(q: PrismQ) -> list[AuditEntry]:
        return q.store.audit.find(**words, limit=_AUDIT_PAGE + 1, before_id=before_id)

    found = await serving.ask(look)
    query = urlencode({name: value for name, value in words.items() if value})
    return rendering_of(request).page(
        request, who, "audit.html", title="Audit", place="audit", follows=before_id is None, view=found[:_AUDIT_PAGE],
        asked={name: value or "" for name, value in words.items()}, asked_query=f"{query}&" if query else "",
        next_before_id=found[_AUDIT_PAGE - 1].entry_id if len(found) > _AUDIT_PAGE else None,
    )  # fmt: skip


@router.get("/settings")
async def show_settings(request: Request, who: Admin, serving: Serving) -> HTMLResponse:
    """Tokens, and how this server was set up."""
    return await settings_page(request, who, serving)


async def settings_page(
    request: Request, who: Admin, serving: Serving, *, secret: str = "", secret_name: str = "", problem: str = ""
) -> HTMLResponse:
    """The page; `secret`: a token that was just made, to be shown this once."""
    tokens = await serving.ask(lambda q: q.store.accounts.tokens())
    settings = sorted(serving.settings.model_dump().items())
    return rendering_of(request).page(
        request, who, "settings.html", title="Settings", place="settings", follows=False, tokens=tokens,
        at=serving.q.clock.now(), settings=settings, secret=secret, secret_name=secret_name, problem=problem,
        status=422 if problem else 200,
    )  # fmt: skip
