"""The live feed over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from prismq.server.auth import identify_anew
from prismq.server.dependencies import Serving, Viewer
from prismq.server.live import INTERVAL_S, cancelled
from prismq.server.problems import Problem

router = APIRouter(prefix="/api/v1", tags=["live"])

# A browser that takes nothing for so long is gone, or might as well be.
SEND_S = 15.0
# A session that has ended, or a token that was revoked, is shown nothing for longer than this.
CHECK_S = 15.0


@router.websocket("/live")
async def live(
    websocket: WebSocket,
    who: Viewer,
    serving: Serving,
    since: Annotated[str | None, Query(max_length=100)] = None,
) -> None:
    """Messages are JSON objects with a `type`. `hello` first; then `tick` once a second, `task` and `worker` for what
    changed, `away` where the database does not answer. Each has a `cursor`; `?since=` that cursor goes on after it, or
    begins with `reset` where that is too long ago: load everything anew."""
    hub = serving.hub
    hub.join()
    try:
        await websocket.accept()
        sender = asyncio.create_task(_send(websocket, serving, since))
        receiver = asyncio.create_task(_receive(websocket))
        guard = asyncio.create_task(_guard(websocket))
        try:
            await asyncio.wait({sender, receiver, guard}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled(sender, receiver, guard)
    finally:
        hub.leave()


async def _send(websocket: WebSocket, serving: Serving, since: str | None) -> None:
    hub = serving.hub
    place = hub.place_of(since)
    await _text(websocket, json.dumps({"type": "hello", "cursor": hub.cursor(), "interval_seconds": INTERVAL_S}))
    while True:
        if place is None:
            cursor = hub.cursor()
            place = hub.place_of(cursor) or 0
            await _text(websocket, json.dumps({"type": "reset", "cursor": cursor}))
        found = await hub.after(place)
        if found is None:
            place = None
            continue
        texts, place = found
        for text in texts:
            await _text(websocket, text)


async def _text(websocket: WebSocket, text: str) -> None:
    try:
        await asyncio.wait_for(websocket.send_text(text), SEND_S)
    except (asyncio.TimeoutError, TimeoutError):
        raise WebSocketDisconnect(1001) from None


async def _receive(websocket: WebSocket) -> None:
    """Nothing is asked for; this notices that the other side has gone."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _guard(websocket: WebSocket) -> None:
    while True:
        await asyncio.sleep(CHECK_S)
        try:
            await identify_anew(websocket)
        except Problem as problem:
            if problem.status in (401, 403):
                await websocket.close(1008, problem.detail[:100])
                return
