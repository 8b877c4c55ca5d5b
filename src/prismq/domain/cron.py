"""When a periodic task is due: cron expressions in a time zone, and what to do about slots that were missed.

Cronsim reads the expressions as Debian's cron does, daylight saving time included: a job at a fixed time that
falls into the hour that is left out runs right after it, one in the hour that comes twice runs in the first.
"""

from __future__ import annotations

import math
import re
import zoneinfo
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import Enum
from typing import NamedTuple

from cronsim import CronSim, CronSimError
from typing_extensions import assert_never

from prismq.domain.errors import ConfigurationError, InvalidCron, closest
from prismq.domain.times import UTC, from_epoch, to_epoch

# After a long downtime nobody needs to know more than that it was thousands; visiting one takes some 10 µs.
SLOTS_COUNTED_MAX = 2_000
# What the policy `all` makes up for: a queue that was down for a month should not wake to 43,200 tasks.
CATCH_UP_MAX = 100
# A slot that is late by less than this is late, not missed.
GRACE_S = 60.0
# Longer than any expression a person writes.
EXPRESSION_CHARS_MAX = 200

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * SUN",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L or LW",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT, MON#2, 5L",
}
_HELP = (
    "The fields are minute, hour, day of month, month and day of week, with seconds before them where there "
    "are six; '*/5 * * * *' is every five minutes, '30 6 * * MON-FRI' is 06:30 on weekdays"
)
_RANGE_OF_ONE = re.compile(r"\b(\w+)-\1/0*[1-9]\d*", re.IGNORECASE | re.ASCII)
_NEVER = "it names a day that never comes"


class MissedPolicy(str, Enum):
    """What becomes of slots that passed while no worker ran; the value is what settings and rows hold."""

    LATEST = "latest"  # run once, for the newest of them
    ALL = "all"  # run for each of the newest 100
    SKIP = "skip"  # run only for what is less than a minute late

    def __str__(self) -> str:
        return self.value


class Slots(NamedTuple):
    """Moments in seconds since 1970, oldest first, and how many older ones were passed over.

    `skipped` stops counting at SLOTS_COUNTED_MAX: then it means "at least so many".
    """

    times: list[float]
    skipped: int


def parse_missed_policy(text: str) -> MissedPolicy:
    """The policy of this name in any letter case. Raises ConfigurationError, which lists them."""
    try:
        return MissedPolicy(text.strip().lower())
    except ValueError:
        names = [policy.value for policy in MissedPolicy]
        raise ConfigurationError(
            f"there is no policy {text!r} for missed slots.{closest(text, names)} Choose one of {', '.join(names)}"
        ) from None


@dataclass(frozen=True)
class CronSchedule:
    """A cron expression and the time zone whose clock it goes by. Build it with `parse`.

    All moments are whole seconds since 1970.
    """

    expression: str
    timezone: str
    _fields: str = field(repr=False, compare=False)
    _zone: tzinfo = field(repr=False, compare=False)

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC") -> CronSchedule:
        """Read five fields, six with seconds first, or an alias such as @daily.

        Raises InvalidCron: the expression cannot be read or never comes true, or the zone is unknown.
        """
        zone = _zone_of(timezone, expression)
        fields = _ALIASES.get(expression.strip().lower(), expression.strip())
        if len(expression) > EXPRESSION_CHARS_MAX:
            raise InvalidCron(
                f"a cron expression has at most {EXPRESSION_CHARS_MAX} characters, this one has "
                f"{len(expression)}: {expression[:40]!r}…"
            )
        # Cronsim takes 5-5/10 for 5/10, where crontab(5) and people mean 5.
        fields = _RANGE_OF_ONE.sub(r"\1", fields)
        try:
            CronSim(fields, from_epoch(0))
        except CronSimError as error:
            problem = _what_is_wrong(fields, error)
            raise InvalidCron(f"cron expression {expression!r}: {problem}. {_HELP}") from None
        schedule = cls(expression, "UTC" if zone is UTC else timezone, fields, zone)
        # A leap year, so that a schedule for 29 February is found quickly.
        if next(schedule._slots(946_684_800.0), None) is None:
            raise InvalidCron(f"cron expression {expression!r}: {_NEVER}. {_HELP}")
        return schedule

    def next_after(self, epoch_s: float) -> float:
        """The first slot strictly after `epoch_s`. Raises InvalidCron where none comes for fifty years."""
        slot = next(self._slots(epoch_s), None)
        if slot is None:
            raise InvalidCron(f"{self} has no slot in the fifty years after {epoch_s}")
        return slot

    def slots_between(self, after: float, until: float, limit: int) -> Slots:
        """The newest `limit` slots with after < slot <= until, and how many before them were passed over.

        The work is bounded, however long ago `after` is.
        """
        newest: deque[float] = deque(maxlen=max(limit, 0))
        count = 0
        for slot in self._slots(after):
            if slot > until:
                break
            newest.append(slot)
            count += 1
            if count == SLOTS_COUNTED_MAX + limit:
                return Slots(self._newest(after, until, limit), SLOTS_COUNTED_MAX)
        return Slots(list(newest), count - len(newest))

    def describe(self) -> str:
        """The schedule in words and its time zone: `At 06:30 on Monday through Friday (Europe/Prague)`."""
        return f"{CronSim(self._fields, from_epoch(0)).explain()} ({self.timezone})"

    def __str__(self) -> str:
        return f"{self.expression} ({self.timezone})"

    def _slots(self, after: float) -> Iterator[float]:
        """All slots strictly after `after`, until fifty years bring none or the calendar ends."""
        try:
            start = from_epoch(math.floor(after)).astimezone(self._zone)
            for moment in CronSim(self._fields, start):
                slot = to_epoch(moment)
                # In the hour that comes twice cronsim starts from its first pass, which may lie behind us.
                if slot > after:
                    after = slot
                    yield slot
        except OverflowError:
            return

    def _newest(self, after: float, until: float, limit: int) -> list[float]:
        """The newest `limit` slots in (after, until], where there are more of them, without visiting all."""
        if limit <= 0:
            return []
        # Halve towards the latest start that leaves enough of them: some 30 steps of `limit` slots each.
        enough, too_few = math.floor(after), math.ceil(until)
        while too_few - enough > 1:
            middle = (enough + too_few) // 2
            if len(self._first(middle, until, limit)) == limit:
                enough = middle
            else:
                too_few = middle
        return self._first(enough, until, limit)

    def _first(self, after: float, until: float, limit: int) -> list[float]:
        found: list[float] = []
        for slot in self._slots(after):
            if slot > until or len(found) == limit:
                break
            found.append(slot)
        return found


def due_slots(schedule: CronSchedule, last_slot: float, now: float, policy: MissedPolicy) -> Slots:
    """The slots to fire at `now` when `last_slot` is the newest one that was fired or passed over.

    Never a slot at or before `last_slot`: with a clock that went back there is nothing to fire.
    """
    if now <= last_slot:
        return Slots([], 0)
    if policy is MissedPolicy.LATEST:
        return schedule.slots_between(last_slot, now, 1)
    if policy is MissedPolicy.ALL:
        return schedule.slots_between(last_slot, now, CATCH_UP_MAX)
    if policy is MissedPolicy.SKIP:
        too_late = now - GRACE_S
        missed = schedule.slots_between(last_slot, too_late, 0).skipped if too_late > last_slot else 0
        return Slots(schedule.slots_between(max(last_slot, too_late), now, CATCH_UP_MAX).times, missed)
    assert_never(policy)


def _zone_of(name: str, expression: str) -> tzinfo:
    if name.upper() in ("UTC", "Z", "ETC/UTC"):
        # Cronsim knows this one to be free of daylight saving time, and is quicker with it.
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a name, or a folder of names
        known = zoneinfo.available_timezones()
        advice = closest(name, known) if known else " This machine has none: pip install tzdata."
        raise InvalidCron(
            f"cron expression {expression!r}: there is no time zone {name!r}.{advice} "
            f"Zones have names such as 'UTC', 'Europe/Prague' or 'America/New_York'"
        ) from None


def _what_is_wrong(fields: str, error: CronSimError) -> str:
    parts = fields.split()
    if len(parts) not in (5, 6):
        if fields.startswith("@"):
            return f"there is no alias {fields!r}.{closest(fields, _ALIASES)} There are {', '.join(_ALIASES)}"
        return f"it has {len(parts)} field{'' if len(parts) == 1 else 's'}, not 5 or 6"
    name = str(error).removeprefix("Bad ")
    if name not in _FIELDS:
        return str(error)
    if name == "day-of-month" and _is_readable(" ".join([*parts[:-2], "*", parts[-1]])):
        return _NEVER
    place = list(_FIELDS).index(name) - (6 - len(parts))
    return f"the field {name} is {parts[place]!r}, which is not made of {_FIELDS[name]} with * , - and /"


def _is_readable(fields: str) -> bool:
    try:
        CronSim(fields, from_epoch(0))
    except CronSimError:
        return False
    return True
