"""The text above the tables, and a task's story, as rich text. No terminal, no store."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from prismq.cli.output import age, clean, duration
from prismq.cli.top.looking import RATE_S, Look, Story
from prismq.cli.top.rows import cell_width, details_of, per_second, progress_of, style_of, trace_of
from prismq.cli.top.rows import clean as on_one_line
from prismq.cli.top.spark import spark
from prismq.domain.times import from_epoch
from prismq.observability.condition import WorkerView, told
from prismq.server.views.history import FAILED

_LEVELS = {"DEBUG": "dim", "INFO": "", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_VERDICTS = {"healthy": "green", "degraded": "yellow", "unhealthy": "bold red"}


def title(look: Look | None, *, width: int, interval_s: float, age_s: float | None, error: str, held: bool) -> Text:
    """The first line: which queue, how fresh what is shown is, and when that was. `age_s`: since the last look."""
    left = Text("prismq top  ", "bold")
    if look is not None and look.queue is not None:
        left.append(f"queue {on_one_line(look.queue)}  ", "cyan")
    left.append("" if look is None else clean(look.name), "not bold")
    if held:
        dot, style = "held", "yellow"
    elif look is None:
        dot, style = ("no answer", "bold red") if error else ("looking", "yellow")
    elif error or is_stale(age_s, interval_s):
        dot, style = f"stale {age(age_s)}", "bold red"
    else:
        dot, style = "live", "green"
    moment = "" if look is None else f" {from_epoch(look.at):%H:%M:%S} UTC"
    right = Text.assemble(("● ", style), (dot, style), moment, f" every {duration(interval_s)}")
    return _apart(left, right, width)


def is_stale(age_s: float | None, interval_s: float) -> bool:
    """Whether what is shown is older than two looks that were missed, and a moment."""
    return age_s is not None and age_s > max(3 * interval_s, interval_s + 5)


def banner(look: Look | None, *, age_s: float | None, interval_s: float, error: str) -> Text | None:
    """What somebody should know before anything else; None where all is well."""
    if error:
        since = "" if age_s is None else f" What is shown is {age(age_s)} old."
        return Text(f"The queue cannot be read: {clean(error)}.{since} It is tried again.", "bold white on red")
    if is_stale(age_s, interval_s):
        text = f"The queue has not answered for {age(age_s)}. What is shown is as old; it is waited for."
        return Text(text, "bold white on red")
    if look is not None and look.verdict != "healthy":
        return Text(clean(look.sentence), _VERDICTS.get(look.verdict, ""))
    return None


def summary(look: Look, width: int) -> Text:
    """The second line: what waits, what runs, who works."""
    depth = {key: sum(one.info.depth.get(key, 0) for one in look.queues) for key in ("queued", "scheduled")}
    oldest = [one.info.oldest_ready_s for one in look.queues if one.info.oldest_ready_s is not None]
    live = [one for one in look.workers if one.live]
    slots, busy = sum(one.worker.slots for one in live), sum(one.worker.busy for one in live)
    failed = sum(one.failed_hour for one in look.queues)
    parts = [
        ("ready", f"{depth['queued']:,}", "bold" if depth["queued"] else ""),
        ("oldest", age(max(oldest, default=None)), ""),
        ("later", f"{depth['scheduled']:,}", ""),
        ("running", f"{look.running_count:,}", "green" if look.running_count else ""),
        ("workers", f"{len(live)}", "" if live else "bold red"),
        ("slots", f"{busy}/{slots}", ""),
        ("failed 1h", f"{failed:,}", "red" if failed else ""),
    ]
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, value, style in parts:
        text.append(f"{name} ", "dim").append(value, style).append("  ")
    text.truncate(width, overflow="ellipsis")
    return text


def throughput(look: Look, width: int) -> Text:
    """The third line: what came in, was completed and failed in each minute of the last hour, and how fast now."""
    ended = look.minutes[:-1]  # the minute that runs is not over, and would read as a fall
    rates = look.rates.get(None)
    text = Text(no_wrap=True)
    for name, outcomes, style, at in (
        ("in", ("enqueued",), "cyan", 0), ("done", ("completed",), "green", 1), ("failed", FAILED, "red", 2)
    ):  # fmt: skip
        values = [float(slot.count(outcomes, look.queue)) for slot in ended]
        now = rates[at] if rates else sum(values[-5:]) / 300
        speed = f"{per_second(now)}/s"
        room = width // 3 - len(name) - len(speed) - 4
        text.append(f"{name} ", "dim").append(spark(values, max(0, min(60, room))), style)
        text.append(f" {speed}", "bold").append("  ")
    text.truncate(width)
    return text


def about(story: Story) -> Text:
    """The head of a task's story."""
    task = story.task
    text = Text()
    text.append(f"Task {task.id}  ", "bold").append(on_one_line(task.type), "bold").append("  queue ", "dim")
    text.append(on_one_line(task.queue)).append("  is ", "dim").append(task.state, style_of(task.state))
    text.append("  attempt ", "dim").append(f"{task.attempts} of {task.max_attempts}")
    text.append("  priority ", "dim").append(str(task.priority))
    if task.locked_by:
        text.append("  worker ", "dim").append(on_one_line(task.locked_by))
    if said := progress_of(task):
        text.append("\nprogress  ", "dim").append(said, "green")
    for reason in story.reasons[:3]:
        text.append("\n").append(clean(reason))
    if task.error_message:
        text.append("\n").append(clean(task.error_message[:2_000]), "red")
    return text


def log_lines(story: Story | None) -> Text:
    """The log, the oldest line first."""
    if story is None:
        return Text("")
    if not story.logs:
        return Text("It has no log lines. Workers write them at the level that task_log_level says.", "dim")
    text = Text()
    for line in story.logs:
        when = "" if line.at_utc is None else f"{line.at_utc:%H:%M:%S}.{line.at_utc.microsecond // 1000:03d}"
        text.append(f"{when} ", "dim").append(f"{line.level:<7} ", _LEVELS.get(line.level, ""))
        text.append(clean(line.message or ""), _LEVELS.get(line.level, ""))
        if details := details_of(line.details):
            text.append(f"  {details}", "dim")
        text.append("\n")
        for row in trace_of(line.details).splitlines():
            text.append(f"    {clean(row)}\n", "red dim")
    text.right_crop(1)
    return text


def of_worker(view: WorkerView) -> str:
    """What is to be said of a worker: what is wrong, or what it is."""
    worker = view.worker
    wrong = told(view)
    if wrong is not None:
        return clean(wrong)
    queues = "all queues" if view.queues is None else f"queues {', '.join(view.queues)}"
    return on_one_line(
        f"{worker.worker_id} on {worker.hostname or '?'}: version {worker.version or '?'}, {queues}, strategy "
        f"{worker.strategy or '?'}, {worker.restarts} restarts" + (f", {worker.note}" if worker.note else "")
    )


def tabs(names: Sequence[tuple[str, str]], chosen: str, width: int) -> Text:
    """`1 Queues 5 │ 2 Workers 4 …`: the tables, with how much is in each; the chosen one stands out."""
    text = Text(no_wrap=True)
    for name, label in names:
        text.append(f" {label} ", "reverse bold" if name == chosen else "dim").append(" ")
    text.truncate(width)
    return text


def _apart(left: Text, right: Text, width: int) -> Text:
    """Left and right on one line; the left gives way."""
    room = width - cell_width(right.plain) - 2
    left.truncate(max(0, room), overflow="ellipsis")
    gap = max(2, width - cell_width(left.plain) - cell_width(right.plain))
    return Text.assemble(left, " " * gap, right)


KEYS = (
    ("1 2 3 4", "queues, workers, running, failures"),
    ("Tab  Shift+Tab", "the next table, the one before"),
    ("↑ ↓  j k", "the row above, below; PgUp, PgDn, Home, End"),
    ("Enter", "the task with its log; of a queue: that queue alone, and all again"),
    ("p", "pause or resume the queue, or the worker"),
    ("c", "cancel the running task"),
    ("r", "queue the failed task again, with all its attempts"),
    ("/", "show only rows with a text; Esc shows all again"),
    ("s  S", "sort by the next column; the other way round"),
    ("Space", "hold still, and go on"),
    ("?", "these keys"),
    ("q", "end"),
)


def help_text(interval_s: float) -> Text:
    """What the keys do, and what the figures are."""
    text = Text()
    for keys, does in KEYS:
        text.append(f"{keys:<15}", "bold").append(f" {does}\n")
    text.append(
        f"\nIN/s and OUT/s are means of {RATE_S:.0f} s, from the books; curves have a block for each minute of the "
        f"last hour. It looks every {duration(interval_s)}. Nothing is changed without a question.",
        "dim",
    )
    return text
