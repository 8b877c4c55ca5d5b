"""What happens by the clock: schedules and backups, and when each last went well."""

from __future__ import annotations

from functools import lru_cache

from prismq.clock import Clock
from prismq.domain.cron import CronSchedule
from prismq.domain.errors import InvalidCron
from prismq.domain.limits import METRIC_SCHEDULES_MAX
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.times import to_epoch
from prismq.observability.exposition.samples import Labels, Samples
from prismq.storage.backups import BackupFolder
from prismq.storage.contract import Schedule, Store


def schedule_samples(store: Store, now: float) -> tuple[Samples, int]:
    """The schedules by name, and how many are left out. What has no figure, such as the next time of a paused one, is
    absent."""
    schedules = store.schedules.all()
    shown = schedules[:METRIC_SCHEDULES_MAX]
    ids = tuple(one.last_task_id for one in shown if one.last_task_id is not None)
    tasks = {task.id: task for task in store.tasks.find(TaskFilter(ids=ids), limit=len(ids))} if ids else {}
    samples: Samples = {}

    def put(name: str, labels: Labels, value: float | None) -> None:
        if value is not None:
            samples.setdefault(f"prismq_schedule_{name}", []).append((labels, value))

    for one in shown:
        me = (one.name,)
        due, interval_s = _times(one, now)
        put("next_due_timestamp_seconds", me, due)
        put("interval_seconds", me, interval_s)
        put("paused", me, int(one.paused_at is not None))
        last = tasks.get(one.last_task_id or 0)
        if last is not None and last.created_at_utc is not None:
            put("last_fire_timestamp_seconds", me, to_epoch(last.created_at_utc))
        if last is not None and last.status == TaskStatus.COMPLETED and last.finished_at_utc is not None:
            put("last_success_timestamp_seconds", me, to_epoch(last.finished_at_utc))
    return samples, len(schedules) - len(shown)


def _times(schedule: Schedule, now: float) -> tuple[float | None, float | None]:
    """When it is due, which may be in the past, and how long from then to the time after."""
    try:
        due, interval_s = _slots(
            schedule.expression, schedule.timezone, now if schedule.last_slot is None else schedule.last_slot
        )
    except InvalidCron:  # a row that was written by hand: it never fires
        return None, None
    return (due if schedule.paused_at is None else None), interval_s


# Between two firings the answer is the same at every look.
@lru_cache(maxsize=1024)
def _slots(expression: str, timezone: str, after: float) -> tuple[float, float]:
    cron = CronSchedule.parse(expression, timezone)
    due = cron.next_after(after)
    return due, cron.next_after(due) - due


def backup_samples(store: Store, clock: Clock, folder: str | None) -> Samples:
    """The newest backup in `folder` (None: `backups` beside the database); nothing where there is none to be seen."""
    try:
        backups = BackupFolder(store.keeping, clock, folder).list()
    except OSError:  # a folder that may not be read from here
        return {}
    if not backups:
        return {}
    newest = backups[0]
    return {
        "prismq_backup_last_success_timestamp_seconds": [((), to_epoch(newest.created_at))],
        "prismq_backup_size_bytes": [((), newest.size_bytes)],
    }
