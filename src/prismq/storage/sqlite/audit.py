"""What operators did."""

from __future__ import annotations

import json

from prismq.domain.account import AuditEntry
from prismq.domain.task import json_object
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.sqlite.database import QueueDatabase

_FIND = (
    "SELECT * FROM audit_log WHERE entry_id < ?1 AND (?2 IS NULL OR actor = ?2)"
    " AND (?3 IS NULL OR action = ?3 OR substr(action, 1, length(?3) + 1) = ?3 || '.') AND (?4 IS NULL OR target = ?4)"
    " ORDER BY entry_id DESC LIMIT ?5"
)
_ID_MAX = 2**63 - 1


class SqliteAuditLog:
    """The AuditLog protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        """See AuditLog.add."""
        which = json.dumps(dict(entry.which), ensure_ascii=False)
        self._database.execute(
            "INSERT INTO audit_log (at_utc, actor, via, origin, action, target, conditions, tasks)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (epoch_to_text(entry.at), entry.actor, entry.via, entry.origin, entry.action, entry.target, which,
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
        params = (_ID_MAX if before_id is None else before_id, actor, action, target, max(0, limit))
        return [
            AuditEntry(
                row["actor"],
                row["action"],
                text_to_epoch(row["at_utc"]),
                row["target"],
                json_object(row["conditions"]),
                row["tasks"],
                row["origin"],
                row["via"],
                row["entry_id"],
            )
            for row in self._database.execute(_FIND, params).fetchall()
        ]

    def delete_before(self, before: float) -> int:
        """See AuditLog.delete_before."""
        return self._database.execute("DELETE FROM audit_log WHERE at_utc < ?", (epoch_to_text(before),)).rowcount
