"""Rows as somebody writes them with a SQL tool."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from prismq import QueueDatabase


def insert(db: QueueDatabase, **columns: Any) -> int:
    """A task by hand; a value that begins with `now` is so many seconds from now: `now-60`."""
    values = {"type": "test", "payload": "{}", **columns}
    places = []
    for value in values.values():
        is_time = isinstance(value, str) and value.startswith("now")
        places.append(f"datetime('now', '{value[3:]} seconds')" if is_time and value != "now" else "?")
    params = [
        datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S") if value == "now" else value
        for value, place in zip(values.values(), places, strict=True)
        if place == "?"
    ]
    cursor = db.execute(f"INSERT INTO task_queue ({', '.join(values)}) VALUES ({', '.join(places)})", params)
    return int(cursor.lastrowid or 0)


def insert_worker(db: QueueDatabase, worker_id: str, silent_s: int = 0, capabilities: str = "{}") -> None:
    """A worker by hand, heard of so many seconds ago."""
    db.execute(
        "INSERT INTO workers (worker_id, capabilities, heartbeat_utc) VALUES (?, ?, datetime('now', ?))",
        (worker_id, capabilities, f"-{silent_s} seconds"),
    )
