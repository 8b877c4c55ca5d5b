"""`prismq top` itself: looks now and then, in a thread, and draws what was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from prismq.app import PrismQ
from prismq.cli.top import actions, words
from prismq.cli.top.desk import Answer, Desk
from prismq.cli.top.looking import Look, Lookout, Story
from prismq.cli.top.screens import Help, Question, TaskScreen
from prismq.cli.top.tables import Tables


class _Told(Message):
    """A desk has an answer for the thread that draws."""

    def __init__(self, take: Callable[[Answer], None], answer: Answer) -> None:
        super().__init__()
        self.take, self.answer = take, answer


class Top(App[None]):
    """The program. `queue`: of this queue alone. Nothing here waits for the store."""

    TITLE = "prismq top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "Quit", key_display="q"),
        Binding("question_mark", "help", "Keys", key_display="?"),
    ]

    def __init__(self, q: PrismQ, *, queue: str | None = None, interval_s: float = 2.0) -> None:
        super().__init__()
        self.interval_s = interval_s
        self.seen: Look | None = None  # the last look that succeeded
        self.error = ""  # why the last one did not
        self.held = False
        self._q = q
        self._lookout = Lookout(q, queue)
        self._seen_at: float | None = None
        self._is_looking = self._is_reading = False
        # Two: an order must not wait until a look is over.
        self._eyes, self._hands = Desk("eyes"), Desk("hands")

    def get_default_screen(self) -> Tables:
        """See App.get_default_screen."""
        return Tables()

    @property
    def tables(self) -> Tables:
        """The first screen."""
        return cast("Tables", self.screen_stack[0])

    def on_mount(self) -> None:
        """Look at once, then every interval; how old that is, is told every second."""
        self.set_interval(self.interval_s, self.look)
        self.set_interval(1.0, self.tell_age)
        self.look()

    def on_unmount(self) -> None:
        """Let go of the threads."""
        self._eyes.close()
        self._hands.close()

    # -- looking

    def look(self) -> None:
        """Have a look taken, unless one is under way or the screen is held still."""
        if self._is_looking or self.held or not self._is_shown:
            return
        self._is_looking = True
        self._eyes.ask(self._lookout.look, self._for(self._saw))
        if isinstance(self.screen, TaskScreen):
            self.read(self.screen.task_id, self.screen.show)
        else:
            self.tables.read_log()

    def look_at(self, queue: str | None) -> None:
        """From now on, at this queue alone; None: at all."""
        self._lookout.queue = queue
        self.look()

    @property
    def queue(self) -> str | None:
        """The queue that is looked at; None: all."""
        return self._lookout.queue

    @property
    def age_s(self) -> float | None:
        """Seconds since what is shown was seen."""
        return None if self._seen_at is None else self._q.clock.monotonic() - self._seen_at

    @property
    def _is_shown(self) -> bool:
        """Not at the very end: then timers go on for a moment, over no screen."""
        return self.is_running and bool(self.screen_stack)

    def _saw(self, answer: Answer) -> None:
        self._is_looking = False
        if answer.error is not None:
            self.error = str(answer.error) or type(answer.error).__name__
        else:
            self.error, self.seen = "", answer.value
            self._seen_at = self._q.clock.monotonic()
            self.tables.show(answer.value)
        self.tell_age()

    def tell_age(self) -> None:
        """Say how fresh the picture is, and what is wrong."""
        if not self._is_shown:
            return
        self.tables.tell()
        if isinstance(self.screen, TaskScreen):
            age_s = None if self.held else self.age_s
            self.screen.warn(words.banner(None, age_s=age_s, interval_s=self.interval_s, error=self.error))

    def read(self, task_id: int, show: Callable[[Story | None], None]) -> None:
        """Have a task's story read, unless another is just being read."""
        if self._is_reading:
            return
        self._is_reading = True

        def take(answer: Answer) -> None:
            self._is_reading = False
            if answer.error is None and self.is_running:
                show(answer.value)

        self._hands.ask(lambda: self._lookout.story(task_id), self._for(take))

    def _for(self, take: Callable[[Answer], None]) -> Callable[[Answer], None]:
        """What a desk calls, so that `take` runs in the thread that draws."""

        def tell(answer: Answer) -> None:
            if self.is_running:
                self.post_message(_Told(take, answer))

        return tell

    def on__told(self, message: _Told) -> None:
        """A desk has done something."""
        if self._is_shown:
            message.take(message.answer)

    # -- acting

    def propose(self, deed: actions.Deed | actions.Refused) -> None:
        """Ask, and where the answer is yes, have it done and say what happened."""
        if isinstance(deed, actions.Refused):
            self.notify(deed.reason, severity="warning", markup=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._hands.ask(lambda: deed.act(self._q), self._for(self._did))

        self.push_screen(Question(deed.question), answered)

    def _did(self, answer: Answer) -> None:
        if answer.error is not None:
            self.notify(f"It was not done: {answer.error}", severity="error", timeout=15, markup=False)
        else:
            self.notify(str(answer.value), markup=False)
        self.look()

    def propose_for_task(self, what: str, story_or_task: Any) -> None:
        """Cancel or retry a task, given itself or its story."""
        task = story_or_task.task if isinstance(story_or_task, Story) else story_or_task
        self.propose(actions.cancel_task(task) if what == "cancel" else actions.retry_task(task))

    # -- keys

    def action_help(self) -> None:
        """Show the keys."""
        if not isinstance(self.screen, (Help, Question)):
            self.push_screen(Help(self.interval_s))

    def open_task(self, task_id: int) -> None:
        """Show a task and its log."""

        def look(screen: TaskScreen) -> None:
            self._is_reading = False  # what is being read is of another
            self.read(task_id, screen.show)

        self.push_screen(TaskScreen(task_id, look, self.propose_for_task))

    def banner(self) -> Text | None:
        """What somebody should know before anything else."""
        age_s = None if self.held else self.age_s
        return words.banner(self.seen, age_s=age_s, interval_s=self.interval_s, error=self.error)
