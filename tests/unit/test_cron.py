from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prismq.domain.cron import (
    CATCH_UP_MAX,
    GRACE_S,
    SLOTS_COUNTED_MAX,
    CronSchedule,
    MissedPolicy,
    due_slots,
    parse_missed_policy,
)
from prismq.domain.errors import ConfigurationError, InvalidCron
from prismq.domain.times import UTC, from_epoch

NEW_YORK = ZoneInfo("America/New_York")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
START = datetime(2024, 2, 27, 22, 17, tzinfo=UTC).timestamp()  # shortly before a 29 February

ZONES = ["UTC", "Europe/Prague", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/Sao_Paulo"]


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    step = st.integers(1, high).map(lambda n: f"*/{n}")
    return st.one_of(
        st.just("*"),
        step,
        number.map(str),
        span,
        st.tuples(span, st.integers(1, 9)).map(lambda parts: f"{parts[0]}/{parts[1]}"),
        st.lists(number.map(str), min_size=2, max_size=4).map(",".join),
    )


def often_any(restricted: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Mostly `*`: expressions that restrict every field have hardly a slot to compare."""
    return st.sampled_from([False, False, False, True]).flatmap(lambda is_it: restricted if is_it else st.just("*"))


expressions = st.tuples(
    field(0, 59), often_any(field(0, 23)), often_any(field(1, 28)), often_any(field(1, 12)), often_any(field(0, 7))
).map(" ".join)
policies = st.sampled_from(MissedPolicy)
zones = st.sampled_from(ZONES)
offsets = st.floats(-30 * DAY, 30 * DAY)


def parsed(expression: str, zone: str = "UTC") -> CronSchedule:
    return CronSchedule.parse(expression, zone)


def numbers(text: str, low: int, high: int) -> set[int]:
    """A field, read by the book of crontab(5), independently of cronsim."""
    found: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = ("", "", "") if span == "*" else span.partition("-")
        start = int(first) if first else low
        stop = int(last) if last else (high if span == "*" else start)
        found.update(range(start, stop + 1, int(step or 1)))
    return found


def matching_minutes(expression: str, after: float, until: float) -> list[float]:
    """Brute force in UTC: every minute is looked at."""
    minute, hour, day, month, weekday = expression.split()
    minutes, hours, months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12)
    days, weekdays = numbers(day, 1, 31), {n % 7 for n in numbers(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")
    found = []
    moment = (after // MINUTE) * MINUTE
    while moment <= until:
        at = from_epoch(moment)
        in_days, in_weekdays = at.day in days, at.isoweekday() % 7 in weekdays
        if (
            after < moment
            and at.minute in minutes
            and at.hour in hours
            and at.month in months
            and ((in_days and in_weekdays) if both else (in_days or in_weekdays))
        ):
            found.append(moment)
        moment += MINUTE
    return found


def local(zone: ZoneInfo, year: int, month: int, day: int, hour: int = 0, minute: int = 0, fold: int = 0) -> float:
    return datetime(year, month, day, hour, minute, tzinfo=zone, fold=fold).timestamp()


def times(schedule: CronSchedule, after: float, until: float) -> list[str]:
    zone = ZoneInfo(schedule.timezone)
    slots = schedule.slots_between(after, until, 1000).times
    return [from_epoch(slot).astimezone(zone).strftime("%d %H:%M%z") for slot in slots]


# Against brute force


@settings(deadline=None)
@given(expressions, st.floats(0, 3 * DAY), st.floats(0, 12 * HOUR))
def test_the_slots_are_the_minutes_that_match(expression: str, offset: float, length: float) -> None:
    after = START + offset
    slots = parsed(expression).slots_between(after, after + length, 1000)
    assert slots.times == matching_minutes(expression, after, after + length)
    assert slots.skipped == 0


@settings(deadline=None)
@given(expressions, zones, offsets)
def test_the_next_slot_lies_strictly_after(expression: str, zone: str, offset: float) -> None:
    schedule = parsed(expression, zone)
    first = schedule.next_after(START + offset)
    assert first > START + offset
    assert schedule.next_after(first) > first
    assert schedule.next_after(first - 1) == first


@settings(deadline=None)
@given(expressions, zones, offsets, st.floats(0, 10 * DAY), st.integers(0, 20))
def test_slots_between_are_the_newest_of_those_that_next_after_gives(
    expression: str, zone: str, offset: float, length: float, limit: int
) -> None:
    schedule, after = parsed(expression, zone), START + offset
    chain = []
    slot = schedule.next_after(after)
    while slot <= after + length and len(chain) < 1500:
        chain.append(slot)
        slot = schedule.next_after(slot)
    assume(len(chain) < 1500)
    found = schedule.slots_between(after, after + length, limit)
    assert found.times == (chain[-limit:] if limit else [])
    assert found.skipped == len(chain) - len(found.times)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(["* * * * *", "*/2 * * * *", "*/10 * * * * *", "0-40 * * * *"]), zones, st.integers(1, 150))
def test_where_slots_are_too_many_to_visit_the_newest_are_still_found(expression: str, zone: str, limit: int) -> None:
    schedule = parsed(expression, zone)
    found = schedule.slots_between(START, START + 30 * DAY, limit)
    assert found.skipped == SLOTS_COUNTED_MAX
    assert len(found.times) == limit
    everything = schedule.slots_between(found.times[0] - 1, START + 30 * DAY, 1000)
    assert everything.times == found.times


@pytest.mark.parametrize("expression", ["* * * * * *", "* * * * *", "* * 1 1 *", "* * * 1 1 *"])
def test_decades_of_downtime_take_no_longer_than_a_weekend(expression: str) -> None:
    schedule = parsed(expression)
    walked = 0
    genuine = schedule._slots

    def counted(after: float) -> object:
        nonlocal walked
        for slot in genuine(after):
            walked += 1
            yield slot

    object.__setattr__(schedule, "_slots", counted)
    found = schedule.slots_between(START - 30 * 366 * DAY, START, 100)
    assert len(found.times) == 100
    assert walked < SLOTS_COUNTED_MAX + 5_000


def test_the_newest_slot_may_lie_at_the_end_itself_but_not_at_the_start() -> None:
    hourly = parsed("@hourly")
    assert hourly.slots_between(START - START % HOUR, START - START % HOUR + HOUR, 9).times == [
        START - START % HOUR + HOUR
    ]


@pytest.mark.parametrize("until", [START, START - 1, START - DAY])
def test_no_time_has_no_slots(until: float) -> None:
    assert parsed("* * * * *").slots_between(START, until, 10) == ([], 0)


# Time zones and daylight saving time


def test_a_job_in_the_hour_that_is_left_out_runs_once_right_after_it() -> None:
    job = parsed("30 2 * * *", "America/New_York")
    assert times(job, local(NEW_YORK, 2024, 3, 9), local(NEW_YORK, 2024, 3, 12)) == [
        "09 02:30-0500",
        "10 03:00-0400",
        "11 02:30-0400",
    ]


def test_a_job_in_the_hour_that_comes_twice_runs_in_the_first_only() -> None:
    job = parsed("30 1 * * *", "America/New_York")
    assert times(job, local(NEW_YORK, 2024, 11, 2), local(NEW_YORK, 2024, 11, 5)) == [
        "02 01:30-0400",
        "03 01:30-0400",
        "04 01:30-0500",
    ]


def test_asked_in_the_second_pass_of_an_hour_a_job_of_the_first_is_not_given_again() -> None:
    job = parsed("45 1 * * *", "America/New_York")
    in_second_pass = local(NEW_YORK, 2024, 11, 3, 1, 15, fold=1)
    assert from_epoch(job.next_after(in_second_pass)).astimezone(NEW_YORK).date() == date(2024, 11, 4)


def test_an_interval_keeps_its_pace_through_both_passes() -> None:
    job = parsed("*/30 * * * *", "America/New_York")
    slots = job.slots_between(local(NEW_YORK, 2024, 11, 3), local(NEW_YORK, 2024, 11, 3, 6), 100).times
    assert {later - earlier for earlier, later in pairwise(slots)} == {30 * MINUTE}
    assert len(slots) == 14  # seven real hours between midnight and six


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", ["0 0 * * *", "30 2 * * *", "59 23 * * *"])
def test_a_daily_job_runs_once_on_every_date_of_the_year(zone: str, expression: str) -> None:
    tz = ZoneInfo(zone)
    slots = parsed(expression, zone).slots_between(
        local(tz, 2023, 12, 31, 23, 59), local(tz, 2024, 12, 31, 23, 59), 400
    )
    dates = [from_epoch(slot).astimezone(tz).date() for slot in slots.times]
    assert dates == [date(2024, 1, 1) + timedelta(days=n) for n in range(366)]


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Africa/Casablanca", "America/St_Johns", "Asia/Tehran"])
@pytest.mark.parametrize("expression", ["*/15 * * * *", "0 */3 * * *", "15 2 * * *", "0 0 1 * *"])
def test_slots_only_ever_go_forward_in_zones_with_odd_habits(zone: str, expression: str) -> None:
    schedule = parsed(expression, zone)
    slots = list(islice(schedule._slots(START), 3000))
    assert all(later > earlier for earlier, later in pairwise(slots))


def test_a_zone_is_that_of_the_clock_on_the_wall() -> None:
    nine = parsed("0 9 * * *", "Asia/Kolkata").next_after(START)
    assert from_epoch(nine).strftime("%H:%M") == "03:30"


# Reading


@pytest.mark.parametrize(
    ("alias", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        (" @annually ", "0 0 1 1 *"),
    ],
)
def test_an_alias_is_short_for_an_expression(alias: str, same: str) -> None:
    until = START + 800 * DAY
    assert parsed(alias).slots_between(START, until, 50) == parsed(same).slots_between(START, until, 50)


def test_six_fields_begin_with_seconds() -> None:
    slots = parsed("*/20 * * * * *").slots_between(START, START + MINUTE, 10)
    assert slots.times == [START + 20, START + 40, START + 60]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "it has 0 fields, not 5 or 6"),
        ("5", "it has 1 field, not 5 or 6"),
        ("* * * *", "it has 4 fields, not 5 or 6"),
        ("* * * * * * *", "it has 7 fields"),
        ("61 * * * *", "the field minute is '61', which is not made of 0-59"),
        ("* 24 * * *", "the field hour is '24'"),
        ("* * 0 * *", "the field day-of-month is '0'"),
        ("* * * JANUARY *", "the field month is 'JANUARY'"),
        ("* * * * 8", "the field day-of-week is '8'"),
        ("70 * * * * *", "the field second is '70'"),
        ("5-1 * * * *", "the field minute is '5-1'"),
        ("*/0 * * * *", r"the field minute is '\*/0'"),
        ("@dayly", r"there is no alias '@dayly'. Did you mean '@daily'\?"),
        ("@reboot", "there is no alias '@reboot'"),
        ("0 0 31 2 *", "it names a day that never comes"),
        ("0 0 30 2 *", "it names a day that never comes"),
        ("0 0 */8 2 MON#5", "it names a day that never comes"),
        ("1," * 200 + "1 * * * *", "at most 200 characters"),
    ],
)
def test_a_bad_expression_is_quoted_explained_and_answered_with_a_good_one(expression: str, problem: str) -> None:
    with pytest.raises(InvalidCron, match=problem) as caught:
        parsed(expression)
    if len(expression) <= 200:
        assert repr(expression) in str(caught.value)
        assert "'30 6 * * MON-FRI' is 06:30 on weekdays" in str(caught.value)


@pytest.mark.parametrize("zone", ["Europe/Pragu", "Europe", "../etc/passwd", "", "a\0b", "/etc/localtime"])
def test_an_unknown_zone_is_named(zone: str) -> None:
    with pytest.raises(InvalidCron) as caught:
        parsed("* * * * *", zone)
    assert f"there is no time zone {zone!r}" in str(caught.value)


def test_a_zone_in_the_wrong_case_is_corrected() -> None:
    with pytest.raises(InvalidCron, match="Did you mean 'Europe/Prague'"):
        parsed("* * * * *", "europe/prague")


@settings(deadline=None)
@given(st.text("0123456789*/-,#L WMONjan@", max_size=40))
def test_whatever_is_typed_is_a_schedule_or_an_invalid_cron(text: str) -> None:
    try:
        schedule = parsed(text)
    except InvalidCron:
        return
    assert schedule.next_after(START) > START
    assert schedule.describe()


def test_a_schedule_describes_itself_with_its_zone() -> None:
    schedule = parsed("30 6 * * MON-FRI", "Europe/Prague")
    assert schedule.describe() == "At 06:30 on Monday through Friday (Europe/Prague)"
    assert str(schedule) == "30 6 * * MON-FRI (Europe/Prague)"


def test_schedules_are_equal_when_expression_and_zone_are() -> None:
    assert parsed("@daily") == parsed("@daily", "utc")
    assert parsed("@daily") != parsed("@daily", "Europe/Prague")


# What was missed


@settings(deadline=None)
@given(expressions, zones, offsets, st.floats(-10 * DAY, 40 * DAY), policies)
def test_a_slot_is_never_fired_again(
    expression: str, zone: str, offset: float, passed: float, policy: MissedPolicy
) -> None:
    last, now = START + offset, START + offset + passed
    due = due_slots(parsed(expression, zone), last, now, policy)
    assert all(last < slot <= now for slot in due.times)
    assert due.times == sorted(set(due.times))
    assert len(due.times) <= (1 if policy is MissedPolicy.LATEST else CATCH_UP_MAX)
    assert due.skipped >= 0


@settings(deadline=None)
@given(expressions, offsets, st.floats(0, 20 * DAY), policies)
def test_a_slot_is_either_fired_or_counted_as_passed_over(
    expression: str, offset: float, passed: float, policy: MissedPolicy
) -> None:
    last, now = START + offset, START + offset + passed
    total = len(parsed(expression).slots_between(last, now, SLOTS_COUNTED_MAX).times)
    assume(total < SLOTS_COUNTED_MAX)
    due = due_slots(parsed(expression), last, now, policy)
    assert len(due.times) + due.skipped == total


@pytest.mark.parametrize("policy", list(MissedPolicy))
@pytest.mark.parametrize("back", [0, 1, 3600, 10 * 366 * DAY])
def test_a_clock_that_goes_back_fires_nothing(policy: MissedPolicy, back: float) -> None:
    assert due_slots(parsed("* * * * *"), START, START - back, policy) == ([], 0)


def test_latest_fires_once_for_all_that_was_missed() -> None:
    assert due_slots(parsed("0 * * * *"), START, START + DAY, MissedPolicy.LATEST) == (
        [START + DAY - 17 * MINUTE],
        23,
    )


def test_all_makes_up_for_the_newest_hundred() -> None:
    due = due_slots(parsed("* * * * *"), START, START + 10 * HOUR, MissedPolicy.ALL)
    assert due.times == [START + 10 * HOUR - MINUTE * n for n in reversed(range(100))]
    assert due.skipped == 500


def test_skip_fires_what_is_late_by_less_than_the_grace() -> None:
    hourly, slot = parsed("0 * * * *"), START - START % HOUR
    assert due_slots(hourly, slot - HOUR, slot, MissedPolicy.SKIP) == ([slot], 0)
    assert due_slots(hourly, slot - HOUR, slot + GRACE_S - 1, MissedPolicy.SKIP) == ([slot], 0)
    assert due_slots(hourly, slot - HOUR, slot + GRACE_S, MissedPolicy.SKIP) == ([], 1)


def test_a_policy_is_read_in_any_case() -> None:
    assert parse_missed_policy(" LATEST ") is MissedPolicy.LATEST
    assert str(MissedPolicy.ALL) == "all"
    with pytest.raises(ConfigurationError, match=r"'lates'.*Did you mean 'latest'\?.*latest, all, skip"):
        parse_missed_policy("lates")
