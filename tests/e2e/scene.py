"""A queue with something of everything on it, a worker at work, and a server that shows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Literal

from prismq import PrismQ, current_task
from prismq.client.tokens import create_token
from prismq.domain.account import AuditEntry, Role
from prismq.domain.backoff import Backoff
from prismq.domain.errors import PermanentError
from prismq.domain.task import NewTask
from prismq.observability.remediation.by_hand import open_breaker
from prismq.server import ServerSettings
from prismq.server.runner import Beside, prepare
from prismq.storage.contract.alerts import DUTY, AlertChange, AlertRecord, Silence
from tests.helpers.builders import a_worker
from tests.helpers.postgres import free_port

# In every place that somebody else can write to. It would set a property that the tests look for.
EVIL = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>'\"{{7*7}}"
EVIL_NAME = "<b onmouseover=window.pwned=1>evil"


class Mode(Enum):
    """What the form offers as a choice."""

    FAST = "fast"
    SAFE = "safe"


class Scene:
    """`url`: where the server is. `q`: the queue behind it. `let_go`: ends the task that runs."""

    def __init__(self, folder: Path) -> None:
        self.q = q = PrismQ(folder / "queue.db")
        self.let_go = threading.Event()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

        @q.task(name="mail.send", queue="mail")
        def send(to: str, password: str | None = None) -> dict[str, str]:
            current_task().log.info("sent", to=to)
            return {"to": to}

        @q.task(name="image.resize", queue="media", max_attempts=2, backoff=Backoff(initial_s=0.01))
        def resize(path: str, width: int = 256, mode: Mode = Mode.SAFE, fit: Literal["in", "out"] = "in") -> int:
            """Make an image smaller."""
            raise ValueError(f"cannot identify image file {path!r}")

        @q.task(name="bill.make", queue="bills")
        def bill(number: int) -> None:
            raise PermanentError("the customer is gone")

        @q.task(name="walk.far", queue="walks")
        def walk(steps: int) -> None:
            task = current_task()
            task.progress(1, steps, "on the way")
            task.log.warning("it is far")
            while not self.let_go.wait(0.05):
                task.heartbeat()

        @q.task(name="evil.task", queue=EVIL_NAME, max_attempts=1)
        def evil(text: str) -> None:
            task = current_task()
            task.log.error(text)
            task.progress(1, 2, text)
            raise RuntimeError(text)

        @q.periodic("30 6 * * MON-FRI", timezone="Europe/Prague")
        @q.task(name="clean.up")
        def clean() -> None:
            pass

        self.send, self.resize, self.bill, self.walk, self.evil = send, resize, bill, walk, evil

    def fill(self) -> None:
        """Put tasks in; some end, some fail, one runs, some wait."""
        q = self.q
        for number in range(60):
            self.send.enqueue(f"user{number}@example.com", password="hunter2")
        for number in range(4):
            self.resize.enqueue(f"/data/{number}.png", width=64)
        self.bill.enqueue(7)
        self.evil.enqueue(EVIL)
        self.running = self.walk.enqueue(4).id
        self.later = q.enqueue("mail.send", {"to": "later@example.com"}, queue="mail", delay=3600).id
        self.lonely = [q.enqueue("nobody.knows", {"n": n}, queue="lonely").id for n in range(3)]
        self.alarm()
        now = q.clock.now()
        q.store.workers.register(a_worker("gone-1", slots=4, version="0.0.9"), now)
        q.store.workers.stop("gone-1", "lost", "its process was killed", now)
        open_breaker(q.store, now, EVIL_NAME, by=EVIL_NAME, via="cli", reason=EVIL)
        open_breaker(q.store, now, "parcel.track", by="ada", via="cli", reason="the carrier is down", for_s=600)
        told = AuditEntry("remediation", "remediation.reclaim", now, EVIL_NAME, {"reason": EVIL}, 3, via="system")
        q.store.remedies.note("reclaim", 3, told, now)
        q.store.workers.register(a_worker(EVIL_NAME, slots=2, version=EVIL, queues='["nothing"]', note=EVIL), now)

    def alarm(self) -> None:
        """Alerts of every state, a silence, and a channel that fails."""
        store, now = self.q.store, self.q.clock.now()
        store.duties.take(DUTY, EVIL_NAME, 3600, now)
        store.alerts.silence(Silence(0, {"queue": "qu*"}, now, now + 3600, EVIL_NAME, now, EVIL))
        store.alerts.not_delivered("ops", [], EVIL, now - 60, retry_at=None)
        states = (("firing", "mail", None), ("firing", "quiet", None), ("pending", "b", None), ("resolved", "c", now))
        changes = [
            AlertChange(
                AlertRecord(
                    "QueueUnserved", {"queue": queue}, "page", state, 3.0, 0.0, EVIL, EVIL, now - 90, now,
                    fired_at=None if state == "pending" else now - 60, resolved_at=resolved_at, told=("ops",),
                )
            )
            for state, queue, resolved_at in states
        ]  # fmt: skip
        assert store.alerts.record(changes, EVIL_NAME, now)

    def stick(self) -> str:
        """A worker that is alive, has free slots, and for minutes has not looked at what it could run; its id."""
        now = self.q.clock.now()
        self.q.store.inbox.enqueue(NewTask("stuck.task", queue="stuck"), now - 400)
        row = a_worker("stuck-1", slots=4, queues='["stuck"]')
        self.q.store.workers.register(row, now - 300)
        self.q.store.workers.touch(row.worker_id, now)
        return row.worker_id

    @property
    def worker_id(self) -> str:
        """The worker that works."""
        return next(one.worker_id for one in self.q.store.workers.all() if one.worker_id.startswith("busy-1"))

    def wait(self) -> None:
        """Until all that ends has ended."""
        deadline = self.q.clock.monotonic() + 60
        nothing = threading.Event()
        while self.q.clock.monotonic() < deadline:
            depth: dict[str, int] = {}
            for (_, _, status, _), tasks in self.q.store.insight.depth().items():
                depth[status] = depth.get(status, 0) + tasks
            ended = depth.get("completed", 0) >= 60 and depth.get("dead_letter", 0) >= 5 and depth.get("failed", 0) >= 1
            if ended and self.q.tasks.get(self.running).progress:
                return
            nothing.wait(0.05)
        raise AssertionError(f"the scene was not set within a minute: {depth}")

    def token(self, name: str, role: Role) -> str:
        """A token of this role."""
        made = create_token(self.q.store, self.q.clock.now(), name, role, by="test", via="cli")
        return made[1]


@contextmanager
def scene(folder: Path, **settings: object) -> Iterator[Scene]:
    """The scene, as long as the block lasts."""
    one = Scene(folder)
    with one.q:
        one.fill()
        queues = ["mail", "media", "bills", "walks", "default", EVIL_NAME]
        with one.q.worker(concurrency=4, queues=queues, worker_id="busy-1"):
            try:
                one.wait()
                config = ServerSettings(port=one.port, **settings)  # type: ignore[arg-type]
                app, listening = prepare(one.q, config)
                with Beside(app, listening, config):
                    yield one
            finally:
                one.let_go.set()
