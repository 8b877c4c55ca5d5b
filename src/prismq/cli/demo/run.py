"""The course of the demo: send, watch, judge."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from prismq.cli.demo import tasks
from prismq.cli.demo.files import Found, find_files
from prismq.cli.demo.server import PrivateServer, ServerUnavailable
from prismq.cli.demo.stay import dashboard, keep_busy
from prismq.cli.demo.story import Case, first_cases, is_over, later_cases
from prismq.cli.demo.view import View, complain, farewell, greet, is_watched, say, tell
from prismq.client.handle import TaskHandle
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import ConfigurationError, QueueDatabaseError
from prismq.domain.status import TERMINAL
from prismq.domain.worker import Worker

_LOOK_S = 0.1
_DEADLINE_S = 180.0  # many times what it takes; past it something hangs, and that is a finding, too
_END_S = 30.0


@dataclass
class Course:
    """Everything that is known of this run."""

    folder: Path
    database: Path | str  # a file, or the URL of a private server
    log: Path
    workers: int
    found: Found
    index_ids: list[int] = field(default_factory=list)
    enqueued_in_s: float = 0.0
    cases: list[Case] = field(default_factory=list)
    index_done_s: float | None = None
    took_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def shown_database(self) -> str:
        """The database as one types it here."""
        if isinstance(self.database, str):
            return self.database
        here = Path.cwd()
        return str(self.database.relative_to(here) if self.database.is_relative_to(here) else self.database)

    @property
    def on_server(self) -> bool:
        """Whether the database is a server's, which is gone after the demo."""
        return isinstance(self.database, str)

    def counts(self) -> Counter[str]:
        """Tasks by status, from the books."""
        counts: Counter[str] = Counter()
        for (_, _, status, _), n in tasks.q.store.insight.depth().items():
            counts[status] += n
        return counts

    def index_over(self) -> int:
        """How many files are done with, whatever became of them."""
        depth = tasks.q.store.insight.depth()
        ended = {status.value for status in TERMINAL}
        over = sum(n for (_, type_, status, _), n in depth.items() if type_ == tasks.INDEX and status in ended)
        return min(len(self.index_ids), over)


def run_demo(directory: Path, database: Path, workers: int, *, once: bool = True) -> int:
    """Run the demo on a file; the exit code."""
    if str(database).startswith(("postgresql:", "postgres:", "sqlite:")):
        return complain("the demo makes a database of its own. Give the path of a file with --db, or --postgres")
    try:
        folder, found = _look_at(directory)
        database = database.expanduser().absolute()
        aside = _clear(database)
    except _InTheWay as error:
        return complain(str(error))
    return _perform(Course(folder, database, database.parent / "workers.log", workers, found), aside, once=once)


def run_demo_on_postgres(directory: Path, workers: int, *, once: bool = True) -> int:
    """Run it on a private PostgreSQL server, which is removed at the end; the exit code."""
    try:
        folder, found = _look_at(directory)
        say("A private PostgreSQL server is started in a temporary folder.", "dim")
        log = Path(".demo").absolute() / "workers.log"
        _make_folder(log.parent)
        with PrivateServer() as server:
            code = _perform(Course(folder, server.url("postgres"), log, workers, found), once=once)
            say("The server and its database are removed now.", "dim")
            return code
    except (_InTheWay, ServerUnavailable) as error:
        return complain(str(error))
    except KeyboardInterrupt:  # while the server was being made, which then goes too
        return 130


def _look_at(directory: Path) -> tuple[Path, Found]:
    """The folder and its files. Raises _InTheWay where there is nothing to index."""
    folder = directory.expanduser().resolve()
    if not folder.is_dir():
        raise _InTheWay(f"{directory} is not a folder. Give one whose files may be read: prismq demo DIR")
    found = find_files(folder)
    if not found.paths:
        raise _InTheWay(f"there is no file to index in {folder}. Give another folder: prismq demo DIR")
    return folder, found


def _perform(course: Course, aside: Path | None = None, *, once: bool) -> int:
    greet(course, aside)
    try:
        with closing(tasks.q):
            tasks.q.connect(course.database)
            with dashboard(tasks.q) as address:
                _run(course)
                farewell(course)
                if is_watched() and not once and not course.wrong:
                    with _crew(course):
                        keep_busy(course, address)
    except (QueueDatabaseError, ConfigurationError) as error:
        return complain(str(error))
    except KeyboardInterrupt:
        say("Interrupted. The workers have ended; what was done is in the database.")
        return 130
    return 1 if course.wrong else 0


def _run(course: Course) -> None:
    q = tasks.q
    with q.transaction() as connection:
        connection.execute(
            "CREATE TABLE demo_summary (task_id INTEGER PRIMARY KEY, slot_utc TEXT NOT NULL UNIQUE,"
            " files INTEGER NOT NULL, bytes INTEGER NOT NULL, lines INTEGER NOT NULL)"
        )
    started = SYSTEM_CLOCK.monotonic()
    with _crew(course) as crew:
        _enqueue(course)
        with View(course) as view:
            _watch(course, crew, view, started)
        course.took_s = SYSTEM_CLOCK.monotonic() - started
        say("All is done; the workers are told to end.")
    _judge(course, crew)


@contextmanager
def _crew(course: Course) -> Iterator[subprocess.Popen[bytes]]:
    """The supervisor with its workers; it ends when its standard input does."""
    with course.log.open("wb") as log:
        crew = subprocess.Popen(
            [sys.executable, "-m", "prismq.cli.demo.crew", str(course.database), str(course.workers)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A Ctrl-C in this terminal is for the demo, which then ends the crew.
            start_new_session=True,
        )
        try:
            yield crew
        finally:
            if crew.stdin is not None:
                crew.stdin.close()
            try:
                crew.wait(_END_S)
            except subprocess.TimeoutExpired:
                crew.kill()
                crew.wait()


def _enqueue(course: Course) -> None:
    folder = str(course.folder)
    half = len(course.found.paths) // 2
    before = SYSTEM_CLOCK.monotonic()
    course.index_ids = _index(folder, course.found.paths[:half])
    course.cases = first_cases(tasks.q, folder)
    course.index_ids += _index(folder, course.found.paths[half:])
    course.enqueued_in_s = SYSTEM_CLOCK.monotonic() - before


def _index(folder: str, paths: list[str]) -> list[int]:
    calls = [{"folder": folder, "path": path} for path in paths]
    return [handle.id for handle in tasks.index_file.enqueue_many(calls)]


def _watch(course: Course, crew: subprocess.Popen[bytes], view: View, started: float) -> None:
    """Look until every task is over, and step in where the demo has a part to play."""
    nothing = threading.Event()
    walk: TaskHandle[object] | None = None
    asked = False
    while True:
        elapsed = SYSTEM_CLOCK.monotonic() - started
        if course.index_done_s is None and course.index_over() >= len(course.index_ids):
            course.index_done_s = elapsed
        # What must not be disturbed waits until nobody kills a worker any more.
        if walk is None and course.index_done_s is not None and _all_over(course.cases):
            course.cases += later_cases()
            walk = tasks.q.handle(course.cases[-1].ids[0])
        if walk is not None and not asked and walk.progress.get("done", 0) >= 5:
            asked = True
            tell(f"task {walk.id} is at step {walk.progress['done']:g}: the demo asks to cancel it")
            tell(f"task {walk.id} is {walk.cancel()} now")
        view.update(elapsed)
        if walk is not None and _all_over(course.cases):
            return
        if crew.poll() is not None:
            course.wrong.append(f"the workers ended early, with exit code {crew.returncode}; see {course.log}")
            return
        if elapsed > _DEADLINE_S:
            course.wrong.append(f"not everything was over after {_DEADLINE_S:g} s")
            return
        SYSTEM_CLOCK.wait(nothing, _LOOK_S)


def _all_over(cases: list[Case]) -> bool:
    return all(is_over(tasks.q.tasks.get(task_id)) for case in cases for task_id in case.ids)


# What should be.


def _judge(course: Course, crew: subprocess.Popen[bytes]) -> None:
    """Note what is not as it should be."""
    q, wrong = tasks.q, course.wrong
    if crew.returncode != 0:
        wrong.append(f"the supervisor ended with exit code {crew.returncode}; see {course.log}")
    for case in course.cases:
        problem = case.wrong(case.records(q))
        if problem:
            wrong.append(problem)
    index = q.tasks.find(type=tasks.INDEX, limit=len(course.index_ids) + 1)
    states = Counter(task.status for task in index if task.id in set(course.index_ids))
    if states["completed"] + states["failed"] != len(course.index_ids):
        wrong.append(f"of {len(course.index_ids)} files, only these are done with: {dict(states)}")
    summaries = q.tasks.find(type=tasks.SUMMARY, status="completed", limit=1000)
    slots = [task.idempotency_key for task in summaries]
    if not slots or len(slots) != len(set(slots)):
        wrong.append(f"the periodic task should have fired, once a slot; it fired for {slots}")
    with q.transaction() as connection:
        written = connection.execute("SELECT task_id FROM demo_summary ORDER BY task_id DESC").fetchall()
    if [row[0] for row in written] != [task.id for task in summaries]:
        wrong.append("the summaries written are not those of the tasks that completed")
    books, counted = q.store.insight.depth(), q.store.insight.recount()
    if books != counted:
        wrong.append(f"the books say {books}, and counting says {counted}")
    lost = [worker for worker in q.store.workers.all() if worker.status == "lost"]
    # Three by the poison task; the other killer may have shared a worker with it.
    if len(lost) < 3:
        wrong.append(f"three workers or more should have been killed and replaced; {len(lost)} are on record")
    if q.tasks.count(status=["claimed", "processing"]):
        wrong.append("tasks are still in the hands of workers that have ended")


# The database.


class _InTheWay(Exception):
    """There is nothing to index, or what lies at the database's place must not be moved."""


def _clear(database: Path) -> Path | None:
    """Make room for the database; where an older demo's went, if there was one. Raises _InTheWay."""
    if database.is_dir():
        raise _InTheWay(f"{database} is a folder; give the path of a file with --db")
    if not database.exists():
        _make_folder(database.parent)
        return None
    for worker in _workers_of(database):
        if worker.pid is not None and worker.status != "lost" and _is_worker(worker.pid):
            raise _InTheWay(
                f"{database} is in use: worker {worker.worker_id} (process {worker.pid}) runs. "
                f"Wait until that demo has ended, or give another place with --db"
            )
    aside = database.with_name(f"{database.stem}.previous{database.suffix}")
    for ending in ("-wal", "-shm", ""):
        old, new = Path(f"{database}{ending}"), Path(f"{aside}{ending}")
        new.unlink(missing_ok=True)
        if old.exists():
            old.replace(new)
    return aside


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _InTheWay(f"{folder} cannot be made ({error.strerror}); give another place with --db") from error


def _workers_of(database: Path) -> list[Worker]:
    """The workers that are at work in an older demo's database. Raises _InTheWay where it is nothing of a demo's."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            others = connection.execute("SELECT 1 FROM task_queue WHERE type NOT LIKE 'demo.%' LIMIT 1").fetchone()
            rows = connection.execute("SELECT * FROM workers WHERE stopped_at_utc IS NULL").fetchall()
    except sqlite3.Error as error:
        raise _InTheWay(
            f"{database} exists and is not an older demo's database ({error}). Give another place with --db"
        ) from error
    if others:
        raise _InTheWay(f"{database} holds tasks that are not the demo's. Give another place with --db")
    return [Worker.from_dict(dict(row)) for row in rows]


def _is_worker(pid: int) -> bool:
    try:
        return any("prismq" in word for word in psutil.Process(pid).cmdline())
    except psutil.Error:  # it has ended, or is not ours to look at
        return False
