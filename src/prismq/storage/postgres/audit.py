"""What operators did."""

from __future__ import annotations

import json

from prismq.domain.account import AuditEntry
from prismq.domain.task import json_object
from prismq.storage.postgres.database import PostgresDatabase

_FIND = (
    "SELECT actor, action, at_utc, target, conditions, tasks, origin, via, entry_id FROM audit_log"
    " WHERE entry_id < %(before_id)s AND (%(actor)s::text IS NULL OR actor = %(actor)s)"
    " AND (%(action)s::text IS NULL OR action = %(action)s OR starts_with(action, %(action)s || '.'))"
    " AND (%(target)s::text IS NULL OR target = %(target)s) ORDER BY entry_id DESC LIMIT %(limit)s"
)
_ID_MAX = 2**63 - 1


class PostgresAuditLog:
    """The AuditLog protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        """See AuditLog.add."""
        which = json.dumps(dict(entry.which), ensure_ascii=False)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO audit_log (at_utc, actor, via, origin, action, target, conditions, tasks)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (self._database.at(entry.at), entry.actor, entry.via, entry.origin, entry.action, entry.target, which,
                 entry.tasks),
            )  # fmt: skip

    def find(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        limit: int = 100,
        before_id: int | None = None,
    ) -> list[AuditEntry]:
        """See AuditLog.find."""
        values = {
            "before_id": _ID_MAX if before_id is None else before_id,
            "actor": actor,
            "action": action,
            "target": target,
            "limit": max(0, limit),
        }
        with self._database.reading() as connection:
            rows = connection.execute(_FIND, values).fetchall()
        return [
            AuditEntry(
                actor_, action_, self._database.back(at), target_, json_object(which), tasks, origin, via, number
            )
            for actor_, action_, at, target_, which, tasks, origin, via, number in rows
        ]

    def delete_before(self, before: float) -> int:
        """See AuditLog.delete_before."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM audit_log WHERE at_utc < %s", (self._database.at(before),)).rowcount
