"""`prismq top` over real queues with workers at work: every key, and what it shows and does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from prismq import PermanentError, PrismQ, TaskFailed, current_task
from prismq.cli.top.application import Top
from prismq.cli.top.screens import Help, Question, TaskScreen
from tests.helpers.engines import Engine
from tests.top.conftest import Driver, drive


class Shop:
    """Tasks that run until they are told to end, tasks that fail, and tasks that nobody takes."""

    def __init__(self, q: PrismQ) -> None:
        self.q = q
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

        @q.task(name="thumbnail", queue="media")
        def thumbnail(n: int) -> str:
            task = current_task()
            task.log.info("resizing the picture", n=n)
            task.progress(3, 10, "frames")
            self.begun.release()
            while not self.go_on.wait(0.05):
                if task.cancelled:
                    return "stopped"
            return "done"

        @q.task(name="mail.send", queue="mail")
        def send(to: str) -> None:
            raise PermanentError(f"mailbox of {to} is full")

        self.thumbnail, self.send = thumbnail, send

    @contextmanager
    def open(self) -> Iterator[None]:
        """A worker with room for four; task logs as talkative as can be."""
        with self.q.worker(concurrency=4, task_log_level="DEBUG", heartbeat_interval_seconds=0.5):
            try:
                yield
            finally:
                self.go_on.set()

    def busy(self, n: int = 2) -> list[int]:
        """Tasks that run by the time this returns."""
        handles = [self.thumbnail.enqueue(i) for i in range(n)]
        for _ in range(n):
            assert self.begun.acquire(timeout=30)
        return [handle.id for handle in handles]

    def failure(self, to: str = "ada") -> int:
        handle = self.send.enqueue(to)
        with pytest.raises(TaskFailed):
            handle.result(timeout=30)
        return handle.id


@pytest.fixture
def shop(q: PrismQ) -> Iterator[Shop]:
    shop = Shop(q)
    with shop.open():
        yield shop


def test_all_four_tables_show_what_is_there(shop: Shop) -> None:
    first, second = shop.busy()
    shop.failure()
    shop.q.enqueue("nobody.knows", {}, queue="orphans")

    async def steps(top: Driver) -> None:
        await top.sees("● live", "media", "mail", "orphans", "QUEUE▲", "workers 1")
        await top.sees("no live worker of the queue 'orphans' knows the type 'nobody.knows'")
        [media] = [line for line in top.lines() if line.startswith(" media")]
        assert media.split()[3] == "2"
        await top.press("2")
        await top.sees("WORKER", "active")
        await top.sees("2/4")
        await top.press("3")
        await top.sees("PROGRESS", str(first), str(second), "30% frames", "processing")
        await top.press("4")
        await top.sees("ERROR", "mail.send", "mailbox of ada is full")

    drive(shop.q, steps)


def test_tab_goes_round_the_tables(shop: Shop) -> None:
    async def steps(top: Driver) -> None:
        await top.sees("QUEUE▲")
        for key, header in (("tab", "WORKER"), ("tab", "PROGRESS"), ("tab", "ERROR"), ("tab", "READY"),
                            ("shift+tab", "ERROR")):  # fmt: skip
            await top.press(key)
            await top.sees(header)

    drive(shop.q, steps)


def test_a_queue_is_paused_and_resumed_after_a_question(shop: Shop) -> None:
    shop.failure()

    def paused() -> bool:
        return any(one.queue == "mail" and one.paused_at for one in shop.q.tasks.queues())

    async def steps(top: Driver) -> None:
        await top.sees("mail")
        await top.press("p")
        assert isinstance(top.app.screen, Question)
        await top.sees("Pause the queue mail?")
        await top.press("n")
        assert not paused()
        await top.press("p", "y")
        await top.until(paused)
        await top.hears("Queue mail is paused.")
        await top.sees("-  paused")  # in its row; "is paused" is told before that has been read anew
        await top.press("p")
        await top.sees("Resume the queue mail?")
        await top.press("y")
        await top.until(lambda: not paused())
        await top.hears("Queue mail goes on.")

    drive(shop.q, steps)


def test_enter_is_no_answer_to_a_question(shop: Shop) -> None:
    shop.failure()

    async def steps(top: Driver) -> None:
        await top.sees("mail")
        await top.press("p", "enter", "space")
        assert isinstance(top.app.screen, Question)
        await top.press("escape")
        assert all(one.paused_at is None for one in shop.q.tasks.queues())

    drive(shop.q, steps)


def test_a_worker_is_paused_and_resumed(shop: Shop) -> None:
    def status() -> str:
        return shop.q.store.workers.all()[0].status

    async def steps(top: Driver) -> None:
        await top.press("2")
        await top.sees("active")
        await top.press("p", "y")
        await top.until(lambda: status() == "paused")
        await top.sees("paused")
        await top.press("p")
        await top.sees("Resume the worker")
        await top.press("y")
        await top.until(lambda: status() == "active")

    drive(shop.q, steps)


def test_enter_on_a_worker_says_what_it_is(shop: Shop) -> None:
    async def steps(top: Driver) -> None:
        await top.press("2")
        await top.sees("active")
        await top.press("enter")
        await top.hears("all queues, strategy priority")

    drive(shop.q, steps)


def test_a_running_task_is_cancelled(shop: Shop) -> None:
    [task_id] = shop.busy(1)

    async def steps(top: Driver) -> None:
        await top.press("3")
        await top.sees(str(task_id), "processing")
        await top.press("c")
        await top.sees(f"Cancel task {task_id} (thumbnail)?", "is asked to stop")
        await top.press("y")
        await top.until(lambda: shop.q.tasks.get(task_id).status == "cancelled")
        await top.sees("Nothing is running.")

    drive(shop.q, steps)


def test_a_failed_task_is_queued_again_and_an_ended_one_is_not_cancelled(shop: Shop) -> None:
    task_id = shop.failure()

    async def steps(top: Driver) -> None:
        await top.press("4")
        await top.sees("mail.send")
        await top.press("c")
        await top.hears("has ended: it is failed")
        await top.press("r")
        await top.sees(f"Queue task {task_id} (mail.send) again?")
        await top.press("y")
        await top.until(lambda: len(shop.q.tasks.attempts(task_id)) == 2)

    drive(shop.q, steps)


def test_keys_that_have_nothing_to_act_on_say_so(shop: Shop) -> None:
    async def steps(top: Driver) -> None:
        await top.sees("● live")
        await top.press("c")
        await top.hears("Running tasks (3) can be cancelled.")
        await top.press("r")
        await top.hears("Failed tasks (4) can be queued again.")
        await top.press("3", "p")
        await top.hears("Queues (1) and workers (2) can be paused.")

    drive(shop.q, steps)


def test_a_task_has_a_page_with_its_log_which_goes_on_while_it_runs(shop: Shop) -> None:
    [task_id] = shop.busy(1)

    async def steps(top: Driver) -> None:
        await top.press("3")
        await top.sees(str(task_id))
        await top.press("enter")
        assert isinstance(top.app.screen, TaskScreen)
        await top.sees(f"Task {task_id}", "processing", "resizing the picture", "n=0", "has been running")
        shop.q.store.logs.add(_line(shop.q, task_id, "written meanwhile"))
        await top.sees("written meanwhile")
        await top.press("r")
        await top.hears("has not ended")
        await top.press("c", "y")
        await top.sees("cancelled")
        await top.press("escape")
        assert not isinstance(top.app.screen, TaskScreen)

    drive(shop.q, steps)


def _line(q: PrismQ, task_id: int, message: str):
    from prismq.domain.lease import LogLine

    return LogLine(task_id, q.clock.now(), "INFO", message, None, 1)


def test_the_page_of_a_failure_has_its_traceback_and_tells_when_the_task_is_gone(shop: Shop) -> None:
    task_id = shop.failure()

    async def steps(top: Driver) -> None:
        await top.press("4")
        await top.sees("mail.send")
        await top.press("enter")
        await top.sees("Traceback (most recent call last):", "PermanentError: mailbox of ada is full")
        shop.q.tasks.delete(task_id)
        await top.sees("is not in the queue any more")
        await top.press("q")
        await top.sees("Nothing failed.")

    drive(shop.q, steps, size=(100, 40))


def test_a_filter_shows_only_rows_with_the_text(shop: Shop) -> None:
    for name in ("ada", "bob"):
        shop.failure(name)

    async def steps(top: Driver) -> None:
        await top.press("4")
        await top.sees("mailbox of ada", "mailbox of bob", "4 Failures 2")
        await top.press("slash", *"BOB")
        await top.sees_no_more("mailbox of ada")
        await top.sees("mailbox of bob", "4 Failures 1/2")
        await top.press("enter", "j", "k")  # the keys are the table's again, and the filter stays
        assert "/BOB" in top.text()
        await top.press("slash", "x")
        await top.sees("No row has 'BOBx' in it")
        await top.press("escape")
        await top.sees("mailbox of ada", "mailbox of bob")

    drive(shop.q, steps)


def test_tables_are_sorted_by_any_column_either_way(shop: Shop) -> None:
    ids = [shop.failure(name) for name in ("ada", "bob", "eve")]

    def order(top: Driver) -> list[int]:
        return [int(line.split()[0]) for line in top.lines() if "mail.send" in line and line.split()[0].isdigit()]

    async def steps(top: Driver) -> None:
        await top.press("4")
        await top.sees("AGO▲", "mailbox of eve")
        await top.press("s")
        await top.sees("ERROR▲")
        assert order(top) == ids
        await top.press("S")
        await top.sees("ERROR▼")
        assert order(top) == ids[::-1]
        await top.press("s")
        await top.sees("ID▼")
        assert order(top) == ids[::-1]
        await top.press("s")
        await top.sees("TYPE▲")

    drive(shop.q, steps)


def test_the_cursor_stays_at_its_row_when_others_come(shop: Shop) -> None:
    first, second = shop.failure("ada"), shop.failure("bob")

    async def steps(top: Driver) -> None:
        await top.press("4")
        await top.sees("mailbox of ada", "mailbox of bob")
        await top.press("s", "s")  # by id, the newest first
        await top.sees("ID▼")
        assert chosen(top) == second
        third = shop.failure("eve")
        await top.sees("mailbox of eve")
        assert chosen(top) == third  # whoever is at the top sees what comes
        await top.press("j", "j")
        assert chosen(top) == first
        shop.failure("max")
        await top.sees("mailbox of max")
        assert chosen(top) == first

    drive(shop.q, steps)


def chosen(top: Driver) -> int:
    return int(top.app.tables.query_one("#failures").chosen)


def test_space_holds_the_screen_still(shop: Shop) -> None:
    async def steps(top: Driver) -> None:
        await top.sees("● live")
        await top.press("space")
        await top.sees("● held")
        looked = top.app.seen
        shop.failure()
        for _ in range(5):
            await top.pilot.pause(0.2)
        assert top.app.seen is looked
        await top.press("space")
        await top.sees("● live", "mail")

    drive(shop.q, steps)


def test_enter_on_a_queue_shows_it_alone_and_escape_all(shop: Shop) -> None:
    shop.busy(1)
    shop.failure()

    async def steps(top: Driver) -> None:
        await top.sees("mail", "media")
        await top.press("enter")
        await top.sees("queue mail")
        await top.until(lambda: top.app.seen.running == [] and len(top.app.seen.queues) == 1)
        await top.press("escape")
        await top.until(lambda: len(top.app.seen.queues) == 2)

    drive(shop.q, steps)


def test_the_option_queue_restricts_everything(shop: Shop) -> None:
    shop.busy(1)
    shop.failure()

    async def steps(top: Driver) -> None:
        await top.sees("queue media", "running 1")
        assert [one.name for one in top.app.seen.queues] == ["media"]
        assert top.app.seen.failures == []
        assert len(top.app.seen.running) == 1

    drive(shop.q, steps, queue="media")


def test_help_names_every_key(shop: Shop) -> None:
    async def steps(top: Driver) -> None:
        await top.press("question_mark")
        assert isinstance(top.app.screen, Help)
        await top.sees("pause or resume the queue", "these keys")
        shown = top.words()
        for binding in (*top.app.BINDINGS, *top.app.tables.BINDINGS):
            name = binding.key_display or binding.key.split(",")[0]
            assert {name, name.title(), name.replace("escape", "Esc")} & set(shown.replace(";", " ").split()), name
        await top.press("escape")
        assert not isinstance(top.app.screen, Help)

    drive(shop.q, steps, size=(80, 24))


def test_q_ends_it(shop: Shop) -> None:
    async def steps(top: Driver) -> None:
        await top.sees("● live")
        await top.press("q")
        await top.until(lambda: not top.app.is_running)

    drive(shop.q, steps)


def test_a_great_terminal_shows_all_tables_and_the_log_of_the_chosen_task(shop: Shop) -> None:
    [task_id] = shop.busy(1)
    shop.failure()

    async def steps(top: Driver) -> None:
        await top.sees("1 Queues 2", "2 Workers 1", "3 Running 1", "4 Failures 1", "its log is shown here")
        await top.sees("WORKER", "PROGRESS", "ERROR", "QUEUE▲")
        await top.press("3")
        await top.sees(f"Log of task {task_id} (thumbnail), processing", "resizing the picture")
        await top.press("4")
        await top.sees("(mail.send), failed", "Traceback")
        await top.pilot.resize_terminal(80, 24)
        await top.sees_no_more("PROGRESS")
        await top.sees("ERROR")

    drive(shop.q, steps, size=(160, 50))


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (119, 60), (160, 50), (250, 70)], ids=str)
def test_no_line_is_wider_than_the_terminal(q: PrismQ, size: tuple[int, int]) -> None:
    q.enqueue("a.type.with.a.name.that.does.not.end." * 3, {}, queue="q" * 150)
    q.enqueue("漢字" * 20, {}, queue="漢字" * 20)

    async def steps(top: Driver) -> None:
        await top.sees("QUEUE")
        for key in "1234":
            await top.press(key)
            shown = [table for table in top.app.tables.query("Table") if table.size.width]
            assert shown
            assert all(table.virtual_size.width <= table.size.width for table in shown)

    drive(q, steps, size=size)


def test_text_from_the_queue_cannot_speak_to_the_terminal(q: PrismQ, engine: Engine) -> None:
    _ = q.store
    name = "\x1b[31mred\x1b[0m [bold]x[/bold]"
    engine.hand("INSERT INTO task_queue (type, payload, queue) VALUES ('job', '{}', ?)", (name,))

    async def steps(top: Driver) -> None:
        await top.sees("\\x1b[31mred")
        assert "\x1b" not in top.text()
        assert "[bold]" in "".join(top.lines())

    drive(q, steps, size=(140, 30))


def test_an_empty_queue_is_no_error(q: PrismQ) -> None:
    async def steps(top: Driver) -> None:
        await top.sees("● live", "No queue holds a task.")
        await top.press("p", "enter", "s", "j", "4", "enter", "r")
        await top.sees("Nothing failed.")

    drive(q, steps)


def test_the_screen_goes_on_when_a_look_raises_what_nobody_foresaw(q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(top: Driver) -> None:
        await top.sees("● live")
        look = top.app._lookout.look
        monkeypatch.setattr(top.app._lookout, "look", lambda: 1 / 0)
        await top.sees("The queue cannot be read: division by zero", "● stale")
        monkeypatch.setattr(top.app._lookout, "look", look)
        await top.sees("● live")

    drive(q, steps)


def test_a_look_that_takes_for_ever_stops_neither_the_keys_nor_the_end(q: PrismQ) -> None:
    held = threading.Event()

    async def steps(top: Driver) -> None:
        await top.sees("● live")
        look = top.app._lookout.look

        def slow() -> object:
            held.wait(60)
            return look()

        top.app._lookout.look = slow  # type: ignore[method-assign]
        await top.sees("has not answered for")
        await top.press("2")
        await top.sees("WORKER")
        await top.press("q")
        await top.until(lambda: not top.app.is_running)

    drive(q, steps)
    held.set()


def test_the_desk_reports_errors_and_goes_on() -> None:
    from prismq.cli.top.desk import Answer, Desk

    answers: list[Answer] = []
    two = threading.Semaphore(0)
    desk = Desk("test")
    for work in (lambda: 1 / 0, lambda: 42):
        desk.ask(work, lambda answer: (answers.append(answer), two.release()))
    assert two.acquire(timeout=10)
    assert two.acquire(timeout=10)
    desk.close()
    assert isinstance(answers[0].error, ZeroDivisionError)
    assert answers[1] == Answer(42)


def test_the_program_is_the_one_the_command_runs() -> None:
    from prismq.cli.top import program_of

    assert program_of() is Top
