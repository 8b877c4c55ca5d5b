"""Figures whose cost does not depend on how many tasks there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.limits import BOOK_CHUNK
from prismq.domain.times import from_epoch
from prismq.storage.contract import (
    ClaimRequest,
    Connections,
    Depth,
    HeldKey,
    HeldTask,
    Outcomes,
    QueryFigures,
    ReadyRoute,
    Space,
)
from prismq.storage.entries import HOUR_S, MINUTE_S, SPANS_S
from prismq.storage.measuring import Meter
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.folding import Sums, fold_deltas, many_wait
from prismq.storage.postgres.outlook import ahead, ask_ready_routes
from prismq.storage.postgres.planning import planned_by_index
from prismq.storage.postgres.queries import query
from prismq.storage.postgres.totals import totals

_HELD_TASKS = query("held_tasks")
_CRASHED_LATELY = query("crashed_lately")
_DEPTH = query("depth")
_OUTCOMES = query("outcomes")
_OUTCOMES_SUMMED = query("outcomes_summed")
_OLDEST_READY = query("oldest_ready")
_OLDEST_QUEUED = query("oldest_queued")
_USED = query("used_bytes")
_KEEP_THE_PLAN = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)"
# Of each priority: retries among the first, with their low ids, must not hide who has waited longer.
_LOOK_AT = 100
_FOLDINGS_MAX = 500
_LOOK_EVERY_S = 0.5  # whether much waits to be folded: one request asks for several figures

_YEAR_10000 = 253_402_300_800.0


def _window(since: float, until: float) -> dict[str, Any]:
    """The slots between two times, for the statements that read them: those that they fall into belong to it."""
    hour = HOUR_S
    until = min(until, _YEAR_10000 - 2 * hour)
    end = until - until % MINUTE_S + MINUTE_S
    return {
        **{f"since_{span_s}": from_epoch(since - since % span_s) for span_s in SPANS_S},
        "end": from_epoch(end),
        "first": from_epoch(since + -since % hour),  # of the hours that lie within it as a whole
        "last": from_epoch(end - end % hour),
        "hour_after": from_epoch(end + -end % hour),
    }


class PostgresInsight:
    """The Insight protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._look_at = float("-inf")  # monotonic

    def depth(self) -> Depth:
        """See Insight.depth. What nobody has folded yet is added up here; where that is much it is folded first."""
        self.spare_readers()
        with self._database.reading() as connection:
            return self.ask_depth(connection)()

    @staticmethod
    def ask_depth(connection: Connection) -> Callable[[], Depth]:
        """Sent; what it returns waits for the answer."""
        cursor = connection.execute(_DEPTH)
        return lambda: {(queue, type_, status, band): tasks for queue, type_, status, band, tasks in cursor.fetchall()}

    def recount(self) -> Depth:
        """See Insight.recount."""
        sql = "SELECT queue, type, status, prismq_band(priority), count(*) FROM task_queue GROUP BY 1, 2, 3, 4"
        return {(queue, type_, status, band): tasks for queue, type_, status, band, tasks in self._all(sql)}

    def outcomes(
        self,
        since: float,
        until: float,
        *,
        only: tuple[str, ...] | None = None,
        queues: tuple[str, ...] | None = None,
        bins: bool = True,
        waits: bool = True,
    ) -> list[Outcomes]:
        """See Insight.outcomes."""
        skew_s = self._database.skew_s()
        window = {
            **_window(since + skew_s, until + skew_s),
            "only": None if only is None else list(only),
            "queues": None if queues is None else list(queues),
            "waits": waits,
        }
        self.spare_readers()
        if not bins:
            return [Outcomes._make(row) for row in self._planned(_OUTCOMES_SUMMED, window)]
        found: list[Outcomes] = []
        fresh: dict[tuple[str, str, str], Sums] = {}  # one for each batch of each worker: added up here
        for row in self._planned(_OUTCOMES, window):
            if row[0]:
                found.append(Outcomes._make(row[1:]))
            else:
                fresh.setdefault(row[1:4], Sums()).add(row[4:])
        return found + [Outcomes(*key, *sums.row()) for key, sums in fresh.items()]

    def spare_readers(self) -> None:
        """Fold what waits where that is much: nobody may be at work who would."""
        mono = SYSTEM_CLOCK.monotonic()
        if mono < self._look_at:
            return
        self._look_at = mono + _LOOK_EVERY_S
        try:
            with self._database.reading() as connection:
                if self._database.in_transaction or not many_wait(connection):
                    return
                [(now,)] = connection.execute("SELECT extract(epoch FROM now())::float8").fetchall()
            for _ in range(_FOLDINGS_MAX):
                if fold_deltas(self._database, now - self._database.skew_s()) < BOOK_CHUNK:
                    return
        except QueueDatabaseError:  # read-only, full or busy: it is added up, which takes longer
            return

    def totals(self, now: float) -> list[Outcomes]:
        """See Insight.totals."""
        with self._database.reading() as connection:
            return totals(connection)

    def oldest_ready_s(self, now: float) -> float | None:
        """See Insight.oldest_ready_s."""
        with planned_by_index(self._database) as connection:
            return max(self.ask_oldest_ready(connection, now)().values(), default=None)

    def ask_oldest_ready(self, connection: Connection, now: float) -> Callable[[], dict[str, float]]:
        """The same for each queue that has a ready task. Sent; what it returns waits for the answer."""
        cursor = connection.execute(_OLDEST_READY, {"now": self._database.at(now), "look_at": _LOOK_AT})
        return lambda: {queue: max(0.0, now - self._database.back(since)) for queue, since in cursor.fetchall()}

    def oldest_queued_s(self, now: float) -> float | None:
        """See Insight.oldest_queued_s."""
        [(since,)] = self._by_index(_OLDEST_QUEUED, {"look_at": _LOOK_AT})
        return None if since is None else max(0.0, now - self._database.back(since))

    def ready_routes(self, now: float) -> list[ReadyRoute]:
        """See Insight.ready_routes."""
        with planned_by_index(self._database) as connection:
            return ask_ready_routes(self._database, connection, now)()

    def ahead(self, task_id: int, claim: ClaimRequest, at_most: int) -> int:
        """See Insight.ahead."""
        return ahead(self._database, task_id, claim, at_most)

    def held_tasks(self, at_most: int) -> list[HeldTask]:
        """See Insight.held_tasks."""
        return [self._held(row) for row in self._by_index(_HELD_TASKS, {"limit": at_most})]

    def crashed_lately(self, since: float, at_most: int) -> list[HeldTask]:
        """See Insight.crashed_lately."""
        values = {"since": self._database.at(since), "limit": at_most}
        return [self._held(row) for row in self._by_index(_CRASHED_LATELY, values)]

    def _held(self, row: tuple[Any, ...]) -> HeldTask:
        task_id, queue, type_, started, crashes = row
        return HeldTask(task_id, queue, type_, None if started is None else self._database.back(started), crashes)

    def held_keys(self, task_id: int) -> list[HeldKey]:
        """See Insight.held_keys."""
        sql = "SELECT unique_key, until_utc, pending FROM unique_keys WHERE task_id = %s"
        return [
            HeldKey(key, self._database.back(until), pending)
            for key, until, pending in sorted(self._all(sql, (task_id,)))
        ]

    def connections(self) -> Connections:
        """See Insight.connections."""
        active, total = self._database.connection_counts()
        return Connections(active, total - active, total)

    def connections_max(self) -> int | None:
        """See Insight.connections_max."""
        return self._database.pool_size

    def measure(self) -> None:
        """See Insight.measure."""
        if self._database.meter is None:
            self._database.meter = Meter()

    def queries(self) -> QueryFigures | None:
        """See Insight.queries."""
        meter = self._database.meter
        return None if meter is None else meter.figures()

    def space(self) -> Space:
        """See Insight.space. The server's disk is out of sight."""
        [(used,)] = self._all(_USED)
        return Space(used, None, None)

    def _by_index(self, sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        with planned_by_index(self._database) as connection:
            return connection.execute(sql, params).fetchall()

    def _planned(self, sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        """By a plan that is kept: to make one takes as long as to read an hour. It is by the index, for a plan for any
        time would otherwise read all statistics, in case that is what is asked for."""
        with planned_by_index(self._database) as connection:
            connection.execute(_KEEP_THE_PLAN)
            return connection.execute(sql, params, prepare=True).fetchall()

    def _all(self, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection:
            return connection.execute(sql, params).fetchall()
