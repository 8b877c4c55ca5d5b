"""Leases on duties, on either engine."""

from __future__ import annotations

from prismq.storage.contract.duties import Duty
from prismq.storage.tables import Tables

# One statement: of several who ask at once, one gets it.
_TAKE = """
INSERT INTO duties AS d (duty, holder, rank, since_utc, until_utc) VALUES (:duty, :holder, :rank, :now, :until)
ON CONFLICT (duty) DO UPDATE
   SET holder = excluded.holder, rank = excluded.rank, until_utc = excluded.until_utc,
       since_utc = CASE WHEN d.holder = excluded.holder AND d.until_utc > excluded.since_utc THEN d.since_utc
                        ELSE excluded.since_utc END
 WHERE d.holder = excluded.holder OR d.until_utc <= excluded.since_utc OR d.rank < excluded.rank
"""
_GIVE_BACK = "DELETE FROM duties WHERE duty = :duty AND holder = :holder"
_ALL = "SELECT duty, holder, rank, since_utc, until_utc FROM duties WHERE until_utc > :now"


class Duties:
    """The DutyStore protocol."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def take(self, name: str, holder: str, for_s: float, now: float, *, rank: int = 0) -> bool:
        """See DutyStore.take."""
        at = self._tables.at
        taken = self._tables.run(_TAKE, duty=name, holder=holder, rank=rank, now=at(now), until=at(now + for_s))
        return taken > 0

    def give_back(self, name: str, holder: str) -> bool:
        """See DutyStore.give_back."""
        return self._tables.run(_GIVE_BACK, duty=name, holder=holder) > 0

    def all(self, now: float) -> list[Duty]:
        """See DutyStore.all."""
        back = self._tables.back
        return sorted(
            Duty(name, holder, rank, back(since), back(until))
            for name, holder, rank, since, until in self._tables.rows(_ALL, now=self._tables.at(now))
        )
