"""What operators did."""

from __future__ import annotations

from typing import Protocol

from prismq.domain.account import AuditEntry


class AuditLog(Protocol):
    """The record of what was done by whom. Entries are never changed."""

    def add(self, entry: AuditEntry) -> None:
        """Write one entry."""
        ...

    def find(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        limit: int = 100,
        before_id: int | None = None,
    ) -> list[AuditEntry]:
        """Newest first; `before_id` is the cursor of the next page. `action` takes a whole one, `tasks.cancel`, or the
        part before the dot."""
        ...

    def delete_before(self, before: float) -> int:
        """Delete the entries whose time is before this one; how many."""
        ...
