"""Is the queue well? Asked of the store within a bounded time, and judged by pure functions.

`healthy`; `degraded`: look at it today; `unhealthy`: work waits in vain, or nobody can know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prismq.clock import Clock
from prismq.domain.times import from_epoch
from prismq.domain.words import duration, plural
from prismq.observability.condition import HEARTBEAT_S, LIVE, Unserved, WorkerView, crew_of, told, unserved, views
from prismq.observability.facts import Facts, Memory, RedisProbe, gather
from prismq.observability.window import DAY_S, HOUR_S, Window, window_of
from prismq.storage.contract import QueueInfo, Store
from prismq.version import __version__

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"
NOT_CONFIGURED, UNKNOWN = "not_configured", "unknown"
_RANKS = {HEALTHY: 0, NOT_CONFIGURED: 0, UNKNOWN: 0, DEGRADED: 1, UNHEALTHY: 2}

TIMEOUT_S = 2.0  # an orchestrator's probe gives up not much later
OVERDUE_S = 10.0  # a due task that is still `scheduled`: the housekeeping of some worker should have seen it
FAILURES_MIN = 5  # fewer say nothing about a rate
FAILURE_RATE = 0.1


@dataclass(frozen=True)
class Limits:
    """From where on something is a problem."""

    oldest_ready_s: float = 300.0
    response_ms: float = 1000.0
    # A burst of a million small tasks takes half of it; a full disk stops every write.
    free_bytes: int = 1024**3
    free_bytes_min: int = 100 * 1024**2


@dataclass(frozen=True)
class Check:
    """What was looked at, and what was found. `problems` are sentences."""

    status: str
    data: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    at_worst: str = UNHEALTHY  # what the whole is on account of this, at the worst

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"status": self.status, **self.data}


@dataclass(frozen=True)
class Health:
    """The verdict, in a word, in a sentence, and by check."""

    status: str
    sentence: str
    checks: Mapping[str, Check]
    at: float  # seconds since 1970
    facts: Facts
    workers: Sequence[WorkerView]
    unserved: Sequence[Unserved]

    @property
    def problems(self) -> list[str]:
        """Every problem in a sentence, the worst first."""
        return _problems(self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The document of `/health`: status, version, timestamp, checks; and the problems in words."""
        return {
            "status": self.status,
            "version": __version__,
            "timestamp": from_epoch(self.at).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "checks": {name: check.to_dict() for name, check in self.checks.items()},
            "sentence": self.sentence,
            "problems": self.problems,
        }

    def database_document(self) -> dict[str, Any]:
        """The document of `/api/v1/health/database`; the pool is that of this process."""
        pool = self.facts.connections
        return {
            "status": self.checks["database"].status,
            "connection_pool": dict(pool._asdict()) if pool else {"active": None, "idle": None, "total": None},
            "query_latency_ms": self.checks["database"].data["response_time_ms"],
        }

    def redis_document(self) -> dict[str, Any]:
        """The document of `/api/v1/health/redis`."""
        found = self.facts.redis
        return {
            "status": self.checks["redis"].status,
            "memory_mb": found.memory_mb if found else None,
            "connected_clients": found.connected_clients if found else None,
            "ops_per_second": found.ops_per_second if found else None,
        }

    def workers_document(self) -> dict[str, Any]:
        """The document of `/api/v1/health/workers`: active ones take tasks; all are healthy or unhealthy."""
        data = self.checks["workers"].data
        known = self.facts.standing is not None
        sick = sum(_is_sick(one) for one in self.workers)
        return {
            "status": self.checks["workers"].status,
            "active_workers": data["active_count"],
            "total_workers": data["total_count"],
            "healthy_workers": data["total_count"] - sick if known else None,
            "unhealthy_workers": sick if known else None,
        }


class Probe(NamedTuple):
    """The answer to an orchestrator: yes or no, and why."""

    ok: bool
    reason: str


def check_health(
    store: Store,
    clock: Clock,
    *,
    redis: RedisProbe | None = None,
    api_uptime_s: float | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    limits: Limits = Limits(),
    timeout_s: float = TIMEOUT_S,
    memory: Memory | None = None,
) -> Health:
    """Ask the store, and Redis where there is one, for at most `timeout_s`, and judge what was found.

    `api_uptime_s`: seconds since the server started that asks; None where nobody serves. `memory`: of one who asks
    often. Never raises for a store
    that is away: that is the finding. What it costs does not grow with the number of tasks.
    """
    facts = gather(store, clock, redis=redis, timeout_s=timeout_s, memory=memory)
    return assess(facts, api_uptime_s=api_uptime_s, heartbeat_s=heartbeat_s, limits=limits)


def live(store: Store, clock: Clock, *, timeout_s: float = TIMEOUT_S) -> Probe:
    """Whether the store can be read from here."""
    facts = gather(store, clock, timeout_s=timeout_s, only=("response_ms",))
    return Probe(facts.failure is None, facts.failure or "the database answers")


def ready(
    store: Store,
    clock: Clock,
    *,
    need_worker: bool = False,
    heartbeat_s: float = HEARTBEAT_S,
    timeout_s: float = TIMEOUT_S,
) -> Probe:
    """Whether tasks can be enqueued from here; with `need_worker`, whether some worker takes them, too."""
    asked = ("response_ms", "writable", *(("standing",) if need_worker else ()))
    facts = gather(store, clock, timeout_s=timeout_s, only=asked)
    if facts.failure is not None:
        return Probe(False, facts.failure)
    if need_worker and not any(one.working for one in views(facts.known.workers, (), (), facts.at, heartbeat_s)):
        return Probe(False, "no worker takes tasks")
    return Probe(True, "the database can be read and written" + (", and a worker takes tasks" if need_worker else ""))


def assess(
    facts: Facts,
    *,
    api_uptime_s: float | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    limits: Limits = Limits(),
) -> Health:
    """The verdict on what was found. Pure."""
    standing = facts.known
    queues, crew = standing.queues, crew_of(standing, heartbeat_s)
    left_alone = unserved(standing.routes, standing.depth, queues, crew)
    hour = window_of(facts.last_hour or (), HOUR_S)
    day = window_of(facts.last_day or (), DAY_S)
    checks = {
        "database": _database(facts, limits),
        "redis": _redis(facts),
        "workers": _workers(facts, crew, waiting=bool(left_alone) or _is_overdue(facts)),
        "api": Check(
            NOT_CONFIGURED if api_uptime_s is None else HEALTHY,
            {"uptime_seconds": None if api_uptime_s is None else round(api_uptime_s)},
        ),
        "progress": _progress(facts, crew, left_alone),
        "backlog": _backlog(facts, queues, limits),
        "failures": _failures(facts, hour),
        "dead_letters": _dead_letters(facts, day),
        "disk": _disk(facts, limits),
    }
    status = max((min(check.status, check.at_worst, key=_rank) for check in checks.values()), key=_rank)
    status = HEALTHY if _rank(status) == 0 else status
    sentence = _sentence(status, _problems(checks), queues, crew, checks)
    return Health(status, sentence, checks, facts.at, facts, crew, left_alone)


def _rank(status: str) -> int:
    return _RANKS[status]


def _problems(checks: Mapping[str, Check]) -> list[str]:
    # What nobody can know comes first, then work that waits in vain, whatever the order of the checks is.
    ordered = sorted(checks.items(), key=lambda item: (item[0] != "database", item[0] != "progress"))
    return [problem for _, check in ordered for problem in check.problems]


# -- the checks


def _database(facts: Facts, limits: Limits) -> Check:
    ms = facts.response_ms
    data = {"response_time_ms": None if ms is None else round(ms, 2)}
    if facts.failure is not None:
        return Check(UNHEALTHY, data, (f"The database cannot be used: {facts.failure}.",))
    if ms is not None and ms > limits.response_ms:
        return Check(DEGRADED, data, (f"The database is slow: it took {duration(ms / 1000)} to answer.",))
    return Check(HEALTHY, data)


def _redis(facts: Facts) -> Check:
    if not facts.redis_asked:
        return Check(NOT_CONFIGURED, {"response_time_ms": None})
    if facts.redis is None:
        # Tasks are in the database; without Redis they are found by polling, a little later.
        problem = f"Redis does not answer ({facts.redis_failure}); workers find new tasks by polling until it does."
        return Check(UNHEALTHY, {"response_time_ms": None}, (problem,), at_worst=DEGRADED)
    return Check(HEALTHY, {"response_time_ms": round(facts.redis.response_time_ms, 2)})


def _workers(facts: Facts, crew: Sequence[WorkerView], *, waiting: bool) -> Check:
    if facts.standing is None:
        return Check(UNKNOWN, {"active_count": None, "total_count": None})
    known = [one for one in crew if one.worker.status in LIVE]
    active = sum(one.worker.status == "active" and not _is_sick(one) for one in known)
    data = {"active_count": active, "total_count": len(known)}
    # Who passes work over is a matter of progress, and told there.
    problems = [sentence for one in known if one.condition != "not consuming" and (sentence := told(one)) is not None]
    if not any(one.live for one in known):
        if waiting:
            return Check(UNHEALTHY, data, tuple(problems))
        if facts.known.depth:  # an empty queue that nobody has used yet wants no worker
            problems.insert(0, "No worker is running: what is enqueued will wait.")
    sick = any(_is_sick(one) for one in known)
    return Check(DEGRADED if problems or sick else HEALTHY, data, tuple(problems))


def _is_sick(view: WorkerView) -> bool:
    return view.worker.status in LIVE and view.condition != view.worker.status


def _is_overdue(facts: Facts) -> bool:
    due = facts.known.next_due
    return due is not None and facts.at - due > OVERDUE_S


def _progress(facts: Facts, crew: Sequence[WorkerView], left_alone: Sequence[Unserved]) -> Check:
    if facts.standing is None:
        return Check(UNKNOWN, {"unserved_tasks": None, "stuck_workers": None})
    problems = [
        f"{'' if one.exact else 'At least '}{plural(one.tasks, 'task')} of the queue {one.queue!r} "
        f"wait{'s' if one.tasks == 1 else ''} and {one.why}."
        for one in left_alone
    ]
    stuck = [one for one in crew if one.condition == "not consuming"]
    problems += [sentence for one in stuck if (sentence := told(one)) is not None]
    due = facts.known.next_due
    if _is_overdue(facts) and due is not None and not any(one.live for one in crew):
        problems.append(
            f"A scheduled task has been due for {duration(facts.at - due)}, and no worker is running to make it ready."
        )
    data = {
        "unserved_tasks": sum(one.tasks for one in left_alone),
        "stuck_workers": [one.worker.worker_id for one in stuck],
    }
    return Check(UNHEALTHY if problems else HEALTHY, data, tuple(problems))


def _backlog(facts: Facts, queues: Sequence[QueueInfo], limits: Limits) -> Check:
    if facts.standing is None:
        return Check(UNKNOWN, {"ready": None, "oldest_ready_seconds": None})
    waits = [(one.oldest_ready_s, one.queue) for one in queues if one.oldest_ready_s is not None]
    open_waits = [(s, one.queue) for one in queues if one.paused_at is None and (s := one.oldest_ready_s) is not None]
    problems = tuple(
        f"The oldest ready task of the queue {queue!r} has waited for {duration(ready_s)}."
        for ready_s, queue in open_waits
        if ready_s > limits.oldest_ready_s
    )
    data = {
        "ready": sum(one.depth.get("queued", 0) for one in queues),
        "oldest_ready_seconds": round(max(waits)[0], 3) if waits else None,
    }
    return Check(DEGRADED if problems else HEALTHY, data, problems)


def _failures(facts: Facts, hour: Window) -> Check:
    if facts.last_hour is None:
        return Check(UNKNOWN, {"failed_last_hour": None, "failure_rate_last_hour": None})
    data = {"failed_last_hour": hour.failed, "failure_rate_last_hour": round(hour.failure_rate, 6)}
    if hour.failed < FAILURES_MIN or hour.failure_rate <= FAILURE_RATE:
        return Check(HEALTHY, data)
    problem = (
        f"{hour.failure_rate:.0%} of the tasks that ended in the last hour failed "
        f"({hour.failed:,} of {hour.completed + hour.failed:,})."
    )
    return Check(DEGRADED, data, (problem,))


def _dead_letters(facts: Facts, day: Window) -> Check:
    if facts.standing is None or facts.last_day is None:
        return Check(UNKNOWN, {"total": None, "last_24_hours": None})
    total = sum(tasks for (_, _, status, _), tasks in facts.known.depth.items() if status == "dead_letter")
    # They are kept for months: only new ones are news, and those that were retried or deleted since are none.
    new = min(total, day.counts.get("dead_letter", 0))
    data = {"total": total, "last_24_hours": new}
    if not new:
        return Check(HEALTHY, data)
    problem = (
        f"{plural(new, 'task')} became {'a dead letter' if new == 1 else 'dead letters'} in the last 24 hours; see "
        f"`prismq tasks list --status dead_letter`."
    )
    return Check(DEGRADED, data, (problem,))


def _disk(facts: Facts, limits: Limits) -> Check:
    space = facts.space
    data = {
        "used_bytes": space.used if space else None,
        "free_bytes": space.free if space else None,
        "total_bytes": space.total if space else None,
    }
    if space is None or space.free is None:
        return Check(UNKNOWN, data)
    if space.free >= limits.free_bytes:
        return Check(HEALTHY, data)
    left = f"{space.free / 1024**2:,.0f} MiB"
    if space.free < limits.free_bytes_min:
        return Check(UNHEALTHY, data, (f"The disk is all but full: {left} are free; a full one stops every write.",))
    return Check(DEGRADED, data, (f"The disk fills up: {left} are free.",))


# -- the sentence


def _sentence(
    status: str,
    problems: Sequence[str],
    queues: Sequence[QueueInfo],
    crew: Sequence[WorkerView],
    checks: Mapping[str, Check],
) -> str:
    if problems:
        more = f" ({plural(len(problems) - 1, 'more problem')} below)" if len(problems) > 1 else ""
        return f"{status.capitalize()}: {problems[0][:-1]}{more}."
    return f"{status.capitalize()}: {', '.join(_state(queues, crew, checks))}."


def _state(queues: Sequence[QueueInfo], crew: Sequence[WorkerView], checks: Mapping[str, Check]) -> Iterator[str]:
    ready_, later = (sum(one.depth.get(word, 0) for one in queues) for word in ("queued", "scheduled"))
    running = sum(one.depth.get(word, 0) for one in queues for word in ("claimed", "processing"))
    if ready_ or running:
        yield f"{plural(ready_, 'task')} {'is' if ready_ == 1 else 'are'} ready, {running:,} running"
    else:
        yield "nothing is ready or running"
    if later:
        yield f"{later:,} {'is' if later == 1 else 'are'} scheduled for later"
    crew = [one for one in crew if one.live]
    yield f"{plural(len(crew), 'worker')} {'is' if len(crew) == 1 else 'are'} live" if crew else "no worker is running"
    paused = sum(one.paused_at is not None for one in queues)
    if paused:
        yield f"{plural(paused, 'queue')} paused"
    dead = checks["dead_letters"].data["total"]
    if dead:
        yield f"{plural(dead, 'old dead letter')} {'waits' if dead == 1 else 'wait'} for somebody"
