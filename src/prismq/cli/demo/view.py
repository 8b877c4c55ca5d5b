"""What the demo shows: live in a terminal, plain lines elsewhere, and the summary at the end."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from prismq.cli.demo import tasks
from prismq.cli.demo.files import FILES_MAX
from prismq.cli.demo.story import Case, story_of
from prismq.cli.output import clean, duration, plural
from prismq.domain.task import TaskLog

if TYPE_CHECKING:
    from prismq.cli.demo.run import Course

_ORDER = ("completed", "failed", "dead_letter", "cancelled", "queued", "scheduled", "claimed", "processing")
_STYLES = {"completed": "green", "failed": "red", "dead_letter": "bold red", "cancelled": "yellow"}
_PLAIN_EVERY_S = 2.0
_PLAIN_WIDTH = 118


def _console() -> Console:
    out = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    if not out.is_terminal:
        # A log has no width of its own; eighty columns would break the stories into pieces.
        out = Console(file=sys.stdout, highlight=False, emoji=False, markup=False, width=_PLAIN_WIDTH)
    return out


_live: Live | None = None


def say(text: str = "", style: str = "") -> None:
    """A line, above what is shown live."""
    out = _live.console if _live is not None else _console()
    out.print(Text(clean(text), style=style), soft_wrap=True)


def tell(text: str) -> None:
    """Something that has just happened."""
    say(f"  · {text}", "dim")


def is_watched() -> bool:
    """Whether somebody sits at this terminal, and can be waited for."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def complain(text: str) -> int:
    """Why the demo cannot run; the exit code."""
    sys.stderr.write(f"prismq: error: {clean(text)}\n")
    return 1


def greet(course: Course, aside: object) -> None:
    """What is about to happen."""
    found = course.found
    say(f"PrismQ demo: {plural(len(found.paths), 'file')} of {course.folder}", "bold")
    if found.too_many:
        say(f"  The demo takes the first {FILES_MAX:,} files; {found.too_many:,} more are left out.")
    if found.too_large:
        say(f"  {plural(found.too_large, 'file')} of more than 32 MiB are left out.")
    if aside is not None:
        say(f"  The database of the last demo is kept as {aside}")
    say(f"  Database: {course.shown_database}")
    say(f"  Workers:  {course.workers} processes of 8 slots; what they say goes to {course.log}")
    say()


class View:
    """Live progress. Where the output is no terminal: a line for whatever happens, and the counts now and then."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._console = _console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._seen: dict[int, int] = {}  # the last log line told, by task
        self._states: dict[int, str] = {}
        self._plain_at = 0.0

    def __enter__(self) -> Self:
        global _live
        if self._console.is_terminal:
            self._live.start()
            _live = self._live
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        global _live
        _live = None
        self._live.stop()

    def update(self, elapsed_s: float) -> None:
        """Show how things stand now."""
        for case in self._course.cases:
            for task_id in case.ids:
                self._tell_news(case, task_id)
        if self._live.is_started:
            self._live.update(self._picture(elapsed_s), refresh=True)
        elif elapsed_s >= self._plain_at:
            self._plain_at = elapsed_s + _PLAIN_EVERY_S
            say(f"{elapsed_s:5.1f} s  {_counts_in_words(self._course)}")

    def _tell_news(self, case: Case, task_id: int) -> None:
        for line in tasks.q.tasks.logs(task_id, after_id=self._seen.get(task_id, 0)):
            self._seen[task_id] = line.log_id or 0
            if len(case.ids) == 1 and _is_news(line):
                tell(f"task {task_id} ({case.title}): {(line.message or '').splitlines()[0]}")

    def _picture(self, elapsed_s: float) -> RenderableType:
        course = self._course
        over, total = course.index_over(), len(course.index_ids)
        files = Table.grid(padding=(0, 2))
        files.add_row("files", ProgressBar(total=max(total, 1), completed=over, width=50), f"{over:,} of {total:,}")
        cases = Table.grid(padding=(0, 2))
        for case in course.cases:
            states = [tasks.q.tasks.get(task_id).state for task_id in case.ids]
            words = ", ".join(
                f"{states.count(state)} {state}" if len(states) > 1 else state for state in dict.fromkeys(states)
            )
            cases.add_row(Text(case.title), Text(words, style=_STYLES.get(words, "cyan")))
        return Group("", files, "", cases, "", f"{elapsed_s:5.1f} s  {_counts_in_words(course)}")


def _is_news(line: TaskLog) -> bool:
    message = line.message or ""
    return line.level != "DEBUG" and "are not indexed yet" not in message


def _counts_in_words(course: Course) -> str:
    counts = course.counts()
    return ", ".join(f"{counts[status]:,} {status}" for status in _ORDER if counts[status])


# The end.


def farewell(course: Course) -> None:
    """What happened to every task, what was found, and where to look."""
    out = _console()
    _say_counts(course)
    _say_stories(course, out)
    _say_findings(course)
    _say_where(course)
    if course.wrong:
        say("Not as it should be:", "bold red")
        for problem in course.wrong:
            say(f"  {problem}", "red")
    else:
        say("Everything went as it should.", "bold green")


def _heading(text: str) -> None:
    say()
    say(text, "bold")


def _say_counts(course: Course) -> None:
    _heading("What happened to every task")
    counts = course.counts()
    for status in _ORDER:
        if counts[status]:
            say(f"  {counts[status]:>6,}  {status:<12} {_MEANINGS[status]}", _STYLES.get(status, ""))
    say(f"  {sum(counts.values()):>6,}  in all: the books say so, and counting the table says the same")
    summaries = tasks.q.tasks.count(type=tasks.SUMMARY, status="completed")
    say(
        f"  The periodic task ran {plural(summaries, 'time')}, every {tasks.SUMMARY_EVERY_S} s, and wrote as many rows "
        f"to the table demo_summary, each in the transaction that completed its task."
    )


_MEANINGS = {
    "completed": "",
    "failed": "not to be retried: another attempt could not help",
    "dead_letter": "attempts used up: kept for a person to look at",
    "cancelled": "",
    "queued": "enqueued by the schedule while the workers ended",
    "scheduled": "waiting",
    "claimed": "in the hands of a worker",
    "processing": "running",
}


def _say_stories(course: Course, out: Console) -> None:
    _heading("Those with a story")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("  task", "what it is", "ended as", "attempts"):
        table.add_column(title, no_wrap=title == "  task")
    table.add_column("what happened", ratio=1)
    for case in course.cases:
        found = case.records(tasks.q)
        first, last = found[0][0], found[-1][0]
        statuses = list(dict.fromkeys(task.status for task, _ in found))
        number = f"  {first.id}" if len(found) == 1 else f"  {first.id}–{last.id}"
        most = max(found, key=lambda one: one[0].attempts)[0]
        table.add_row(
            number,
            case.title,
            Text(", ".join(statuses), style=_STYLES.get(statuses[0], "")),
            f"{most.attempts} of {most.max_attempts}",
            Text(clean(story_of(found))),
        )
    out.print(table)
    lost = [worker for worker in tasks.q.store.workers.all() if worker.status == "lost"]
    again = [
        task_id for task_id in course.index_ids if any(one.outcome == "lost" for one in tasks.q.tasks.attempts(task_id))
    ]
    say(f"  {len(lost)} worker processes were killed and replaced: " + ", ".join(one.worker_id for one in lost))
    if again:
        say(f"  Of the files, {len(again)} were in their hands just then; others indexed them again.")


def _say_findings(course: Course) -> None:
    case = next((case for case in course.cases if case.title.startswith("the report")), None)
    handle = tasks.q.handle(case.ids[0]) if case is not None else None
    if handle is None or handle.status.value != "completed":
        return
    report: tasks.Report = handle.result(timeout=1)
    _heading(f"What is in {course.folder}")
    say(
        f"  {plural(report.files, 'file')}, {_size(report.bytes)}, {plural(report.lines, 'line')}, "
        f"{plural(report.words, 'word')}"
    )
    say("  Most common: " + ", ".join(f"{kind} {n:,} ({_size(size)})" for kind, n, size in report.kinds[:5]))
    say("  Encodings:   " + ", ".join(f"{encoding} {n:,}" for encoding, n in report.encodings.items()))
    say("  Largest:     " + ", ".join(f"{path} ({_size(size)})" for path, size in report.largest[:3]))
    say(f"  Longest line: {report.longest_line[1]:,} characters, in {report.longest_line[0]}")
    if report.duplicates:
        one = report.duplicates[0]
        say(f"  {plural(len(report.duplicates), 'set')} of files with equal content, such as {' = '.join(one[:2])}")
    index = tasks.q.tasks.find(type=tasks.INDEX, status="completed", limit=len(course.index_ids))
    # Those that were lost with their worker waited for another one to start: that is no measure of speed.
    undisturbed = [task for task in index if task.attempts == 1] or index
    starts = [task.processing_started_utc for task in undisturbed if task.processing_started_utc]
    ends = [task.finished_at_utc for task in undisturbed if task.finished_at_utc]
    if not starts or not ends:
        return
    ran_s = (max(ends) - min(starts)).total_seconds()
    say(
        f"  Enqueued in {duration(course.enqueued_in_s)}; {plural(len(undisturbed), 'file')} indexed in "
        f"{duration(ran_s)} once the workers were up, {len(undisturbed) / max(ran_s, 0.001):,.0f} a second; "
        f"the whole demo took {duration(course.took_s)}."
    )


def _size(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:,.1f} KiB" if size < 1_048_576 else f"{size / 1_048_576:,.1f} MiB"


def _say_where(course: Course) -> None:
    if course.on_server and not is_watched():
        return  # there will be nothing to look at
    poison = next((case.ids[0] for case in course.cases if "every time" in case.title), 1)
    _heading("Where to look")
    database = course.shown_database
    for command, what in (
        ("status", "how the queue stands"),
        ("tasks list --status dead_letter", "what needs a person"),
        (f"tasks show {poison}", "the whole story of one task"),
        (f"tasks logs {poison}", "its log"),
        ("workers list --all", "who worked, and who was lost"),
        ("schedules list", "the periodic task"),
    ):
        say(f"  prismq --db {database} {command:<34} {what}")
    sql = "SELECT * FROM v_task_performance"
    say(f'  psql {database} -c "{sql}"' if course.on_server else f'  sqlite3 {database} "{sql}"')
    say(f"  {course.log} has what the workers said")
    say()
