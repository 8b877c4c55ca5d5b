"""The live feed: what it tells, how it goes on after a gap, and what a slow watcher costs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from prismq import PrismQ
from prismq.domain.lease import LogLine
from prismq.domain.task import TaskLog
from prismq.domain.worker import Worker
from prismq.server import ServerSettings
from prismq.server.live import Hub, Look
from prismq.server.problems import Problem
from prismq.server.runner import Beside, prepare
from tests.helpers.clock import START, FakeClock
from tests.helpers.engines import postgres_engine
from tests.helpers.redis import redis_server
from tests.server.conftest import Site

LIVE = "ws://127.0.0.1:8000/api/v1/live"


def until(feed: Any, kind: str) -> dict[str, Any]:
    """The next message of this kind."""
    while (message := feed.receive_json())["type"] != kind:
        pass
    return dict(message)


def test_it_tells_figures_and_changes(site: Site, q: PrismQ, clock: FakeClock) -> None:
    task_id = q.enqueue("mail").id
    with site.anonymous.websocket_connect(LIVE) as feed:
        assert feed.receive_json()["type"] == "hello"
        tick = until(feed, "tick")
        assert tick["depth"] == {"default": {"queued": 1}}
        assert tick["workers"] == {"live": 0, "taking_tasks": 0, "busy": 0, "slots": 0}
        q.store.logs.add(LogLine(task_id, START, "INFO", "queued → claimed → processing", None, 1))
        q.store.workers.register(Worker("w1", slots=4), clock.now())
        task = until(feed, "task")
        assert (task["task_id"], task["status"], task["path"]) == (
            task_id, "processing", ["queued", "claimed", "processing"],
        )  # fmt: skip
        worker = until(feed, "worker")
        assert (worker["worker_id"], worker["before"], worker["condition"]) == ("w1", None, "active")
        q.store.workers.remove("w1")
        assert until(feed, "worker")["condition"] == "gone"
        assert site.app.state.services.hub.watchers == 1
    assert site.anonymous.get("/api/v1/tasks").status_code == 200
    assert site.app.state.services.hub.watchers == 0


def test_it_goes_on_after_a_gap_or_says_reset(site: Site, q: PrismQ) -> None:
    with site.anonymous.websocket_connect(LIVE) as first:
        cursor = until(first, "tick")["cursor"]
        missed = [until(first, "tick")["cursor"] for _ in range(2)]
        with site.anonymous.websocket_connect(f"{LIVE}?since={cursor}") as second:
            assert second.receive_json()["type"] == "hello"
            assert second.receive_json()["cursor"] == missed[-1], "ticks but the newest are left out"
        for old in ("nonsense", "00000000-1", cursor.partition("-")[0] + "-999999", cursor + "x"):
            with site.anonymous.websocket_connect(f"{LIVE}?since={old}") as third:
                assert third.receive_json()["type"] == "hello"
                assert third.receive_json()["type"] == "reset"
                assert third.receive_json()["type"] == "tick"


def test_a_database_that_is_away_is_told_once(site: Site, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    from prismq.domain.errors import QueueDatabaseError

    with site.anonymous.websocket_connect(LIVE) as feed:
        until(feed, "tick")
        away = threading.Event()
        standing = q.store.standing

        def broken(now: float) -> Any:
            if away.is_set():
                raise QueueDatabaseError("the disk is on fire")
            return standing(now)

        monkeypatch.setattr(q.store, "standing", broken)
        away.set()
        assert until(feed, "away")["detail"] == "the disk is on fire"
        away.clear()
        assert feed.receive_json()["type"] == "tick"


# -- the hub by itself


def a_look(depth: int = 0, logs: list[TaskLog] | None = None) -> Look:
    return Look({"depth": {"q": {"queued": depth}}}, logs or [], {})


def test_nobody_polls_for_nobody() -> None:
    looks = 0

    async def look() -> Look:
        nonlocal looks
        looks += 1
        return a_look()

    async def story() -> None:
        hub = Hub(look, interval_s=0.001)
        await asyncio.sleep(0.02)
        assert looks == 0
        hub.join()
        while looks < 3:
            await asyncio.sleep(0.001)
        hub.leave()
        await asyncio.sleep(0.01)
        seen = looks
        await asyncio.sleep(0.02)
        assert looks == seen

    asyncio.run(story())


def test_two_watchers_are_one_poller() -> None:
    async def story() -> int:
        looks = 0

        async def look() -> Look:
            nonlocal looks
            looks += 1
            return a_look(looks)

        hub = Hub(look, interval_s=0.005)
        for _ in range(200):
            hub.join()
        places = [0] * 200
        for at in range(200):
            found = await hub.after(places[at])
            assert found is not None
        assert looks <= 20
        for _ in range(200):
            hub.leave()
        return looks

    assert asyncio.run(story()) >= 1


def test_a_slow_watcher_is_bounded_and_told_to_load_anew() -> None:
    async def story() -> None:
        async def look() -> Look:
            return a_look()

        hub = Hub(look, interval_s=3600, ring_max=10)
        for number in range(5):
            hub.tell("task", task_id=number)
            hub.tell("tick", number=number)
        found = await hub.after(0)
        assert found is not None
        texts, place = found
        kinds = [json.loads(text)["type"] for text in texts]
        assert kinds == ["task"] * 5 + ["tick"], "old ticks are worth nothing"
        assert json.loads(texts[-1])["number"] == 4
        hub.tell("task", task_id=9)
        assert await hub.after(0) is None, "it has fallen out of the ring"
        again = await hub.after(place)
        assert again is not None
        assert json.loads(again[0][0])["task_id"] == 9
        assert len(hub._ring) == 10

    asyncio.run(story())


def test_too_many_watchers_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async def look() -> Look:
            return a_look()

        monkeypatch.setattr("prismq.server.live.WATCHERS_MAX", 2)
        hub = Hub(look, interval_s=3600)
        hub.join()
        hub.join()
        with pytest.raises(Problem):
            hub.join()
        hub.leave()
        hub.leave()

    asyncio.run(story())


# -- over a real socket


@contextmanager
def served(q: PrismQ) -> Iterator[tuple[Any, int]]:
    """A real server on a free port."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = ServerSettings(port=port, dashboard=False)
    app, listening = prepare(q, settings)
    with Beside(app, listening, settings):
        yield app, port


def test_a_watcher_that_takes_nothing_keeps_nobody_waiting(q: PrismQ) -> None:
    """It is sent megabytes and reads none of them; the other one has its ticks, and memory stays bounded."""
    with served(q) as (app, port):
        hub = app.state.services.hub
        address = f"ws://127.0.0.1:{port}/api/v1/live"
        with connect(address, max_queue=1, compression=None) as slow, connect(address) as quick:
            assert json.loads(slow.recv())["type"] == "hello"
            assert json.loads(quick.recv())["type"] == "hello"
            loop = app.state.services.hub._poller.get_loop()

            def flood() -> None:
                for number in range(300):
                    hub.tell("task", task_id=number, text="x" * 50_000)

            told = threading.Event()
            loop.call_soon_threadsafe(lambda: (flood(), told.set()))
            assert told.wait(30)
            ticks = 0
            while ticks < 3:
                ticks += json.loads(quick.recv(timeout=30))["type"] == "tick"
            assert hub.watchers == 2
            assert len(hub._ring) <= 5_000
        assert q.tasks.count() == 0


@pytest.fixture
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrismQ]:
    """A queue on PostgreSQL whose hints go by NOTIFY or by Redis."""
    with ExitStack() as stack:
        engine = stack.enter_context(postgres_engine(tmp_path))
        redis = stack.enter_context(redis_server()) if request.param == "redis" else None
        url = None if redis is None else redis.url
        yield stack.enter_context(PrismQ(engine.url, redis_url=url))


@pytest.mark.parametrize("remote", ["notify", "redis"], indirect=True)
@pytest.mark.parametrize("who", ["who enqueues", "who works"])
def test_news_are_looked_at_at_once(remote: PrismQ, who: str) -> None:
    q = remote

    @q.task
    def job() -> None: ...

    news = q.store.wakeups.news()
    assert news is not None
    looks = 0

    async def look() -> Look:
        nonlocal looks
        looks += 1
        return Look({}, [], {})

    async def looked(times: int) -> None:
        while looks < times:
            await asyncio.sleep(0.01)

    async def watch() -> None:
        # So rarely by itself that whatever is looked at here was told of.
        hub = Hub(look, interval_s=600.0, listen=lambda: news.ear(q.clock, lambda why: None))
        hub.join()
        await asyncio.wait_for(looked(2), 30)  # the second when it has begun to listen: it may have missed something
        if who == "who enqueues":
            await job.aenqueue()
            await asyncio.wait_for(looked(3), 30)
        else:
            with q.worker(hints=True):
                told = looks
                await job.aenqueue()
                # The enqueue is one; a worker that takes and ends the task is another, a moment later.
                await asyncio.wait_for(looked(told + 2), 30)
        hub.leave()

    asyncio.run(watch())
