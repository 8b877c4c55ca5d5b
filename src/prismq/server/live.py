"""The live feed: one look at the books a second while anybody watches, and as many watchers as there are.

What is told stands in a ring, numbered. Each watcher has its own place in it and takes what comes next when it can; who
is slow gets the newest tick instead of all, and who has fallen out of the ring is told to load anew. So a watcher costs
what it takes, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from prismq.app import PrismQ
from prismq.domain.errors import PrismqError
from prismq.domain.task import TaskLog
from prismq.domain.times import from_epoch
from prismq.observability.condition import crew_of
from prismq.observability.timeline import path_of
from prismq.observability.window import window_of
from prismq.server.problems import Problem
from prismq.storage.wakeup import Ear

INTERVAL_S = 1.0
EARLIEST_S = 0.25  # after a look, until news may cause another
RING_MAX = 5_000
WATCHERS_MAX = 1_000
EVENTS_MAX = 200  # a tick; beyond, the tick says how many were left out
_MINUTE_S = 60.0
_PROACTOR: type | tuple[()] = getattr(asyncio, "ProactorEventLoop", ())


class Message(NamedTuple):
    """Something told to all. `text` is written once, whoever reads it."""

    seq: int
    kind: str
    text: str


class Look(NamedTuple):
    """What one look at the store saw."""

    tick: dict[str, Any]
    logs: Sequence[TaskLog]  # newest first
    workers: dict[str, dict[str, Any]]


class Hub:
    """The ring, the watchers, and the poller that runs while there are any. On one event loop."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Look]],
        *,
        interval_s: float = INTERVAL_S,
        ring_max: int = RING_MAX,
        listen: Callable[[], Ear | None] = lambda: None,
    ) -> None:
        self._look, self._interval_s = look, interval_s
        self._listen = listen
        self._ring: deque[Message] = deque(maxlen=ring_max)
        # Numbers of another server, or of one that was started anew, are not ours.
        self._stream = secrets.token_hex(4)
        self._seq = 0
        self._watchers = 0
        self._news = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._log_id: int | None = None
        self._workers: dict[str, dict[str, Any]] | None = None

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return self._watchers

    # -- watchers

    def join(self) -> None:
        """One more watches. Raises Problem 503 where there are too many."""
        if self._watchers >= WATCHERS_MAX:
            raise Problem(503, f"{WATCHERS_MAX:,} watch already")
        self._watchers += 1
        if self._poller is None:
            # What happened while nobody watched is not news.
            self._log_id = self._workers = None
            self._poller = asyncio.create_task(self._poll(), name="prismq-live")

    def leave(self) -> None:
        """One less."""
        self._watchers -= 1
        if not self._watchers and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    def place_of(self, since: str | None) -> int | None:
        """The number after which a watcher goes on; None where it has to load anew: what it had is not in the ring."""
        if since is None:
            return self._seq
        stream, _, number = since.partition("-")
        if stream != self._stream or not (number.isascii() and number.isdigit() and len(number) < 16):
            return None
        seq = int(number)
        return seq if self._oldest() - 1 <= seq <= self._seq else None

    def cursor(self, seq: int | None = None) -> str:
        """What a watcher gives as `since` to go on after this message; without one, after the newest."""
        return f"{self._stream}-{self._seq if seq is None else seq}"

    async def after(self, seq: int) -> tuple[list[str], int] | None:
        """What was told after this number, at least one message, and the number of the last. Ticks but the newest are
        left out. None where it is not in the ring any more."""
        while self._seq <= seq:
            await self._news.wait()
        if seq < self._oldest() - 1:
            return None
        new = [message for message in self._ring if message.seq > seq]
        last_tick = max((message.seq for message in new if message.kind == "tick"), default=0)
        return [one.text for one in new if one.kind != "tick" or one.seq == last_tick], self._seq

    def _oldest(self) -> int:
        return self._ring[0].seq if self._ring else self._seq + 1

    # -- telling

    def tell(self, kind: str, **fields: Any) -> None:
        """Tell every watcher."""
        self._seq += 1
        text = json.dumps({"type": kind, "cursor": self.cursor(), **fields}, ensure_ascii=False, separators=(",", ":"))
        self._ring.append(Message(self._seq, kind, text))
        self._news.set()
        self._news = asyncio.Event()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()
        # Windows' own event loop waits for no plain socket; there it stays at once a second.
        ear = None if isinstance(loop, _PROACTOR) else self._listen()
        if ear is None:
            await self._look_on(heard)
            return

        def hear() -> None:
            if ear.heard():
                heard.set()

        loop.add_reader(ear.fileno(), hear)
        try:
            await self._look_on(heard)
        finally:
            loop.remove_reader(ear.fileno())
            # It waits for its thread, and the loop has others to serve.
            loop.run_in_executor(None, ear.close)

    async def _look_on(self, heard: asyncio.Event) -> None:
        away = False
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            heard.clear()
            try:
                self._note(await self._look())
                away = False
            except (Problem, PrismqError) as error:
                if not away:
                    self.tell("away", detail=getattr(error, "detail", None) or str(error))
                away = True
            next_at = max(loop.time() + self._interval_s / 2, began + self._interval_s)
            await asyncio.sleep(min(EARLIEST_S, self._interval_s / 2))
            with suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(heard.wait(), max(0.0, next_at - loop.time()))

    def _note(self, look: Look) -> None:
        left_out = self._note_tasks(look.logs)
        self._note_workers(look.workers)
        self.tell("tick", **look.tick, events_left_out=left_out)

    def _note_tasks(self, logs: Sequence[TaskLog]) -> int:
        newest = logs[0].log_id or 0 if logs else 0
        known, self._log_id = self._log_id, max(newest, self._log_id or 0)
        if known is None:
            return 0
        new = [line for line in reversed(logs) if (line.log_id or 0) > known]
        for line in new:
            path = path_of(line.message)
            if path:
                self.tell("task", task_id=line.task_id, status=path[-1], path=path, at=_iso(line), attempt=line.attempt)
        return max(0, newest - known - len(new)) if len(new) == len(logs) else 0

    def _note_workers(self, workers: dict[str, dict[str, Any]]) -> None:
        before, self._workers = self._workers, workers
        if before is None:
            return
        for worker_id, now in workers.items():
            then = before.get(worker_id)
            if then is None or then["condition"] != now["condition"]:
                self.tell("worker", worker_id=worker_id, before=then and then["condition"], **now)
        for worker_id in before.keys() - workers.keys():
            self.tell("worker", worker_id=worker_id, before=before[worker_id]["condition"], condition="gone")


def look_at(q: PrismQ) -> Look:
    """The figures of this moment, from the books, and what was logged last."""
    now, store = q.clock.now(), q.store
    standing = store.standing(now)
    ages = [one.oldest_ready_s for one in standing.queues if one.oldest_ready_s is not None]
    minute = window_of(store.insight.outcomes(max(0.0, now - _MINUTE_S), now, bins=False), _MINUTE_S)
    crew = [one for one in crew_of(standing) if one.worker.status not in ("stopped", "lost")]
    workers = {
        one.worker.worker_id: {"condition": one.condition, "busy": one.worker.busy, "slots": one.worker.slots}
        for one in crew
    }
    tick = {
        "at": from_epoch(now).isoformat(),
        "depth": {one.queue: dict(one.depth) for one in standing.queues if one.depth},
        "oldest_ready_seconds": max(ages, default=None),
        "last_minute": {
            "enqueued": minute.counts.get("enqueued", 0),
            "completed": minute.completed,
            "failed": minute.failed,
            "retried": minute.counts.get("retried", 0),
        },
        "workers": {
            "live": sum(one.live for one in crew),
            "taking_tasks": sum(one.working for one in crew),
            "busy": sum(one.worker.busy for one in crew if one.live),
            "slots": sum(one.worker.slots for one in crew if one.live),
        },
    }
    return Look(tick, store.logs.newest(limit=EVENTS_MAX), workers)


def _iso(line: TaskLog) -> str | None:
    return None if line.at_utc is None else line.at_utc.isoformat()


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """End these tasks."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
