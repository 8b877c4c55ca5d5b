"""Faults of tasks and queues: counted wrongly, held by nobody, served by nobody, forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prismq.domain.finding import Check, Finding, Severity
from prismq.domain.task import TaskFilter
from prismq.domain.times import to_epoch
from prismq.domain.words import duration, plural
from prismq.observability.condition import crew_of, unserved
from prismq.observability.doctor.patient import Patient

# A running worker returns them within a few seconds; after a minute nobody is there to do it.
STALE_S = 60.0
PAUSED_S_MAX = 3 * 86_400.0
DEAD_LETTERS_MAX = 1_000
_LEASED_MAX = 5_000  # that are looked at


def checks_of(patient: Patient) -> list[Check]:
    """Of tasks and queues."""
    return [
        Check(
            "leases", "tasks whose lease ran out long ago, because no worker is there to return them",
            "returns them to the queue", lambda now: _leases(patient, now),
        ),
        Check("unserved", "ready tasks that no live worker takes", "", lambda now: _unserved(patient, now)),
        Check("paused", "queues that were paused days ago", "", lambda now: _paused(patient, now)),
        Check("dead-letters", "many dead letters", "", lambda now: _dead_letters(patient)),
        Check(
            "books", "counts that differ from the tasks they count (counts the whole table)", "corrects the counts",
            lambda now: _books(patient),
        ),
    ]  # fmt: skip


def _leases(patient: Patient, now: float) -> Iterator[Finding]:
    leased = patient.store.tasks.find(TaskFilter(statuses=("claimed", "processing")), limit=_LEASED_MAX)
    stale = [task for task in leased if task.lease_until_utc is None or now - to_epoch(task.lease_until_utc) > STALE_S]
    if not stale:
        return

    def mend() -> str:
        returned = 0
        while expired := patient.store.upkeep.expire_leases(patient.clock.now()):
            returned += len(expired)
        return f"{plural(returned, 'task')} went back to the queue, or to the dead letters where no attempt was left"

    yield Finding(
        "leases", Severity.WARNING,
        f"{plural(len(stale), 'task')} (such as {stale[0].id}) {'is' if len(stale) == 1 else 'are'} held under a lease "
        f"that ran out more than {duration(STALE_S)} ago",
        "The worker is gone, and no other runs that would return them, so they wait.",
        "Start a worker (`prismq worker`), or run `prismq doctor --fix`.",
        mend,
    )  # fmt: skip


def _unserved(patient: Patient, now: float) -> Iterator[Finding]:
    standing = patient.store.standing(now)
    crew = crew_of(standing, patient.heartbeat_s)
    for one in unserved(standing.routes, standing.depth, standing.queues, crew):
        yield Finding(
            "unserved", Severity.PROBLEM,
            f"{'' if one.exact else 'at least '}{plural(one.tasks, 'task')} of the queue {one.queue!r} "
            f"({', '.join(one.types[:3])}{' …' if len(one.types) > 3 else ''}) "
            f"{'is' if one.tasks == 1 else 'are'} ready, and {one.why}",
            "They wait until a worker comes that takes them.",
            "Start such a worker, or see `prismq why ID` for what is missing.",
        )  # fmt: skip


def _paused(patient: Patient, now: float) -> Iterator[Finding]:
    for queue in patient.store.queues.all(now):
        if queue.paused_at is not None and now - queue.paused_at > PAUSED_S_MAX:
            waiting = queue.depth.get("queued", 0) + queue.depth.get("scheduled", 0)
            yield Finding(
                "paused", Severity.WARNING,
                f"the queue {queue.queue!r} was paused by {queue.paused_by or 'somebody'} "
                f"{duration(now - queue.paused_at)} ago; {plural(waiting, 'task')} "
                f"{'waits' if waiting == 1 else 'wait'} in it",
                "Nothing of it runs until it is resumed.",
                f"Ask who paused it, then `prismq queues resume {queue.queue}`.",
            )  # fmt: skip


def _dead_letters(patient: Patient) -> Iterator[Finding]:
    kinds: Counter[tuple[str, str]] = Counter()
    for (queue, type_, status, _), tasks in patient.store.insight.depth().items():
        if status == "dead_letter":
            kinds[queue, type_] += tasks
    total = sum(kinds.values())
    if total > DEAD_LETTERS_MAX:
        (queue, type_), most = kinds.most_common(1)[0]
        yield Finding(
            "dead-letters", Severity.WARNING,
            f"there are {plural(total, 'dead letter')}; most are of the type {type_!r} in the queue {queue!r} "
            f"({most:,})",
            "Their attempts are used up; they wait for a person until their retention is over.",
            f"See why with `prismq tasks list --status dead_letter --type {type_}`; then `prismq tasks retry` or "
            f"`prismq tasks delete` with the same options.",
        )  # fmt: skip


def _books(patient: Patient) -> Iterator[Finding]:
    wrong = patient.store.keeping.compare_books()
    if not wrong:
        return
    (queue, type_, status, _), tasks = max(wrong.items(), key=lambda item: abs(item[1]))
    off = f"{abs(tasks):,} too {'few' if tasks > 0 else 'many'}"

    def mend() -> str:
        return f"{plural(patient.store.keeping.mend_books(), 'count')} corrected"

    yield Finding(
        "books", Severity.WARNING,
        f"{plural(len(wrong), 'count')} {'differs' if len(wrong) == 1 else 'differ'} from the tasks; the most: "
        f"{status} {type_!r} in {queue!r}, {off}",
        "Figures, charts and alerts are wrong by that much. Tasks are not affected. Somebody changed the table with "
        "the triggers off, or there is a fault in prismq.",
        "Run `prismq doctor --fix`. If it comes again, please report it.",
        mend,
    )  # fmt: skip
