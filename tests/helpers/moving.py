"""Queues to move: rows of every kind, and what two databases hold, to be compared."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from prismq.domain.times import epoch_to_text
from prismq.storage.contract import Store
from prismq.storage.contract.transfer import MOVED, Kind, Shape
from prismq.storage.sameness import sameness

STATUSES = ("queued", "scheduled", "claimed", "processing", "completed", "failed", "dead_letter", "cancelled")
T0 = time.time() // 60 * 60 - 7_200.0

_TEXTS = (
    "plain",
    "žluťoučký kůň – 馬 🐎",
    "a\nb\tc \"q\" 'q' \\ back",
    " ",
    "\u2028\u00a0\u0378",
    "%s {} $1 :name ?",
    "\x7f\x01\x1b[31m",
)
_PAYLOADS = (
    "{}",
    '{"a": 1, "b": [1, 2.5, -3e-7, 1E5, 0.1, 100, 1.50, -0], "format": "mp4"}',
    '{ "z":1,"a" : {"y":[],"x":{}} , "\\u00e9": "\\ud83d\\ude00", "n": null, "t": true }',
    '{"big": 123456789012345678901234567890, "small": 1e-300, "huge": 1.7976931348623157e308}',
    '{"slash": "\\/", "escapes": "\\b\\f\\n\\r\\t\\u0001", "literal": "\\\\u0000"}',
    '[1, "not an object"]',
    '"text"',
    "null",
)


def fill(connection: sqlite3.Connection, tasks: int = 160, seed: int = 1, *, big: int = 200_000) -> None:
    """A queue's file with rows in every table, as the engine and as hands write them, which any engine can hold."""
    rng = Random(seed)

    def at(spread_s: float = 86_400.0) -> str:
        return epoch_to_text(T0 + round(rng.uniform(-spread_s, spread_s), 3))

    def odd() -> str:
        moment = at()
        return rng.choice(
            [moment, moment[:19], f"{moment[:10]}T{moment[11:]}Z", f"{moment}456", f"{moment[:19]}+02:00"]
        )

    ids = []
    for number in range(tasks):
        status = STATUSES[number % len(STATUSES)]
        ended = status in STATUSES[4:]
        leased = status in ("claimed", "processing")
        payload = rng.choice(_PAYLOADS)
        if number == 7:
            payload = json.dumps({"blob": "ž" * big})
        cursor = connection.execute(
            "INSERT INTO task_queue (type, queue, priority, payload, compatibility, status, attempts, max_attempts,"
            " run_after_utc, lease_until_utc, reserved_at_utc, processing_started_utc, finished_at_utc, locked_by,"
            " error_message, idempotency_key, created_at_utc, updated_at_utc, tags, timeout_seconds, backoff,"
            " retention_seconds, result, progress, headers, schedule, crashes, cancel_requested_utc, fencing_token,"
            " revision) VALUES (" + ", ".join("?" * 30) + ")",
            (
                rng.choice(["mail", "video.cut", "ž"]), rng.choice(["default", "media"]),
                rng.choice([100, 1, -1_000_000, 2_147_483_647]), payload,
                rng.choice(["{}", '{"region": "eu", "gpu": 8.0}']), status, rng.randint(0, 5), 5, odd(),
                at() if leased and number % 3 else None, odd() if leased or ended else None,
                at() if leased or ended else None, at() if ended else None, "host-1" if leased else None,
                rng.choice(_TEXTS) if status in ("failed", "dead_letter") else None,
                f"key-{number}-{rng.choice(_TEXTS)}" if number % 4 == 0 else None, odd(), at(),
                rng.choice([None, '["a", "b"]']), rng.choice([None, 0.1, 30.0, 1e-9]),
                rng.choice([None, '{"initial_s": 1.0}']), rng.choice([None, 3600.5]),
                rng.choice([None, "null", "3.14", '"ž"']) if ended else None,
                rng.choice([None, '{"done": 1, "total": 3}']), rng.choice([None, '{"traceparent": "00-ab"}']),
                rng.choice([None, "nightly"]), rng.choice([0, 2]), at() if number % 11 == 0 else None,
                rng.randint(0, 2**40), rng.randint(1, 50),
            ),
        )  # fmt: skip
        ids.append(cursor.lastrowid)
    # The least that a hand can write, and an id far above the others.
    connection.execute("INSERT INTO task_queue (type, payload) VALUES ('by.hand', '{\"x\": 1}')")
    connection.execute("INSERT INTO task_queue (id, type, payload) VALUES (1000000, 'by.hand', '{}')")
    connection.execute("DELETE FROM task_queue WHERE id IN (3, 1000000)")
    ids.remove(3)
    for number in range(tasks * 4):
        connection.execute(
            "INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt) VALUES (?, ?, ?, ?, ?, ?)",
            (rng.choice(ids), odd(), rng.choice(["INFO", "DEBUG", "ERROR"]), rng.choice([*_TEXTS, None]),
             rng.choice([None, "{}", '{"k": [1.0, 2]}']), rng.choice([None, 1, 2])),
        )  # fmt: skip
        if number % 3 == 0:
            connection.execute(
                "INSERT OR IGNORE INTO task_attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (rng.choice(ids), rng.randint(1, 2**40), 1, "failed", "host-1", at(), at(), odd(), "ValueError",
                 rng.choice(_TEXTS), "Traceback\n  …", None),
            )  # fmt: skip
    for number, task_id in enumerate(ids[:9]):
        connection.execute(
            "INSERT INTO task_spans VALUES (?, ?, 1, ?, ?)",
            (task_id, 2**33 + number, f"{number:032x}", '[{"id": "a", "parent": null, "duration_s": 0.25}]'),
        )
    for number, text in enumerate(_TEXTS):
        connection.execute("INSERT INTO unique_keys VALUES (?, ?, ?, ?)", (f"u{text}", ids[number], at(), number % 2))
        connection.execute(
            "INSERT INTO workers (worker_id, status, heartbeat_utc, capabilities, cpu_percent, memory_bytes, queues,"
            " note, completed) VALUES (?, 'stopped', ?, ?, ?, ?, ?, ?, ?)",
            (f"w{text}", at(), '{"gpu": true}', 12.5, 2**40, '["default"]', text, number),
        )
        connection.execute(
            "INSERT INTO worker_commands (worker_id, command, argument, asked_by, asked_at_utc, taken_at_utc)"
            " VALUES (?, 'resize', ?, ?, ?, ?)", (f"w{text}", number, text, at(), None if number % 2 else at()),
        )  # fmt: skip
        connection.execute("INSERT INTO queues VALUES (?, ?, ?, ?)", (f"q{text}", at(), text, number or None))
        connection.execute(
            "INSERT INTO schedules VALUES (?, '* * * * *', 'UTC', 'latest', ?, ?, ?, ?, ?)",
            (f"s{text}", '{"type": "mail", "payload": "{}"}', at(), number, None if number % 2 else at(), at()),
        )
        connection.execute("INSERT INTO ends_by_worker VALUES (?, ?, ?)", (f"w{text}", number, 2 * number))
        connection.execute(
            "INSERT INTO api_tokens (name, role, token_hash, hint, created_at_utc, created_by, expires_at_utc)"
            " VALUES (?, 'viewer', ?, 'pq_abc', ?, ?, ?)",
            (f"t{text}", f"{number:064x}", at(), text, at() if number % 2 else None),
        )
        connection.execute(
            "INSERT INTO audit_log (at_utc, actor, via, origin, action, target, conditions, tasks)"
            " VALUES (?, ?, 'token', '10.0.0.1', 'tasks.cancel', ?, ?, ?)",
            (at(), text, None if number % 2 else text, '{"status": ["failed"], "text": "ž"}', number or None),
        )
        connection.execute(
            "INSERT INTO breakers (type, state, since_utc, reason, changed_by, opened_at_utc, trips, probe_at_utc,"
            " probe_task_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (f"type{number}", ("closed", "open", "half_open", "probing")[number % 4], at(), text, text,
             at() if number % 2 else None, number, at() if number % 4 == 1 else None, number or None),
        )  # fmt: skip
        connection.execute(
            "INSERT INTO remediation_totals (act, times, tasks, last_utc) VALUES (?, ?, ?, ?)",
            (f"act{number}", number, number * 7, at()),
        )
        connection.execute(
            "INSERT INTO alerts (rule, labels, severity, state, value, threshold, summary, description, since_utc,"
            " seen_utc, clear_since_utc, fired_at_utc, told, acked_at_utc, acked_by, ack_note)"
            " VALUES (?, ?, 'page', 'firing', ?, 1.5, ?, '', ?, ?, ?, ?, '[\"mail\"]', ?, ?, ?)",
            (f"r{text}", '{"queue": "ž"}', rng.random(), text, at(), at(), None, at(), at(), text,
             None if number % 2 else text),
        )  # fmt: skip
        connection.execute(
            "INSERT INTO alert_notices (alert_id, channel, kind, content, created_at_utc, due_utc, tries, error,"
            " done_at_utc, given_up) VALUES (?, ?, 'firing', '{\"a\": [1, null]}', ?, ?, 2, ?, ?, ?)",
            (number + 1, text, at(), at(), text, at() if number % 2 else None, number % 2),
        )
        connection.execute(
            "INSERT INTO alert_silences (matchers, starts_utc, until_utc, created_by, created_at_utc, reason)"
            ' VALUES (\'{"rule": "*"}\', ?, ?, ?, ?, ?)',
            (at(), at(), text, at(), text),
        )
        connection.execute(
            "INSERT INTO service_samples VALUES (?, 60, ?, ?, ?)",
            (f"s{text}", epoch_to_text(T0 - T0 % 60)[:19], rng.random(), 7.0),
        )
        for slot in range(5):
            connection.execute(
                "INSERT INTO task_stats (slot_utc, span_s, queue, type, outcome, tasks, attempts, retried, wait_s,"
                " run_s, wait_bins, run_bins) VALUES (?, ?, ?, 'mail', 'completed', 3, 4, 1, 0.1, ?, ?, ?)",
                (epoch_to_text(T0 - T0 % 60 + 60 * slot)[:19], (60, 600, 3600)[slot % 3], f"q{text}",
                 rng.random() * 100, '{"1": 2, "-5": 1}', None),
            )  # fmt: skip


def rows_of(store: Store, other: Store | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Everything a store holds, by table and key; in the form that does not depend on the engine.

    `other`: the store that it will be compared with. Where both are SQLite, values are as they lie in the file.
    """
    found = {}
    for table in MOVED:
        mine, theirs = store.transfer.columns(table), (other or store).transfer.columns(table)
        kinds = tuple(theirs[name] if mine[name] is Kind.ANY else mine[name] for name in sorted(mine))
        shape = Shape(table, tuple(sorted(mine)), kinds)
        rows = store.transfer.read(shape, None, rows=10**9, size=10**12)
        found[table.name] = list(map(sameness(shape), rows))
    return found


def differences(before: dict[str, Sequence[Any]], after: dict[str, Sequence[Any]]) -> list[str]:
    """Table by table, in words, so that a failed test says which row it is."""
    found = []
    for table, rows in before.items():
        if list(rows) != list(after[table]):
            missing = [row for row in rows if row not in after[table]]
            extra = [row for row in after[table] if row not in rows]
            found.append(f"{table}: {len(rows)} → {len(after[table])}; missing {missing[:1]}, instead {extra[:1]}")
    return found
