"""The screens over the tables: a question, the keys, a task with its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from prismq.cli.top import words
from prismq.cli.top.looking import Story


class Question(ModalScreen[bool]):
    """Yes or no. Only `y` is yes: a key that was pressed for something else changes nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]
    DEFAULT_CSS = """
    Question { align: center middle; }
    Question > Vertical {
        width: 60; max-width: 90%; height: auto; padding: 1 2; border: round $warning; background: $surface;
    }
    Question .keys { margin-top: 1; }
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """See Screen.compose."""
        keys = Text.assemble((" y ", "reverse bold"), " yes   ", (" n ", "reverse bold"), " no")
        with Vertical():
            yield Static(Text(self._question), classes="question")
            yield Static(keys, classes="keys")

    def action_answer(self, yes: bool) -> None:
        """End with the answer."""
        self.dismiss(yes)


class Help(ModalScreen[None]):
    """What the keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss(None)", "Close")]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll {
        width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 0 2; border: round $primary;
        border-title-style: bold; background: $surface;
    }
    """

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self._interval_s = interval_s

    def compose(self) -> ComposeResult:
        """See Screen.compose."""
        with VerticalScroll() as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            yield Static(words.help_text(self._interval_s))


class LogPane(VerticalScroll):
    """A task's log; it stays at its end for as long as one has not gone up in it."""

    DEFAULT_CSS = "LogPane { height: 1fr; }"

    def __init__(self, hint: str = "", *, id: str | None = None) -> None:  # noqa: A002 - as every widget has it
        super().__init__(id=id)
        self._lines = Static(Text(hint, "dim"))

    def compose(self) -> ComposeResult:
        """See Widget.compose."""
        yield self._lines

    def show(self, text: Text) -> None:
        """Show this log from now on."""
        at_end = self.scroll_y >= self.max_scroll_y - 1
        self._lines.update(text)
        if at_end:
            self.scroll_end(animate=False)


class TaskScreen(Screen[None]):
    """A task: where it is and why, and its log, live. `look` asks for its story, `act` for something to be done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace", "back", "Back", key_display="Esc"),
        Binding("c", "do('cancel')", "Cancel"),
        Binding("r", "do('retry')", "Retry"),
    ]
    DEFAULT_CSS = """
    TaskScreen .about { height: auto; max-height: 60%; padding: 0 1; border-bottom: solid $primary; }
    TaskScreen LogPane { padding: 0 1; }
    TaskScreen .banner { height: auto; display: none; padding: 0 1; }
    """

    def __init__(self, task_id: int, look: Callable[[TaskScreen], None], act: Callable[[str, Story], None]) -> None:
        super().__init__()
        self.task_id = task_id
        self.story: Story | None = None
        self._look, self._act = look, act
        self._about = Static(Text(f"Task {task_id} …", "dim"), classes="about")
        self._log, self._banner = LogPane(), Static(classes="banner")

    def compose(self) -> ComposeResult:
        """See Screen.compose."""
        yield self._about
        yield self._log
        yield self._banner
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Look at once, and have the keys that scroll go to the log."""
        self._log.focus()
        self._look(self)

    def show(self, story: Story | None) -> None:
        """Show what was found; None: the task is gone."""
        self.story = story
        if story is None:
            self._about.update(Text(f"Task {self.task_id} is not in the queue any more.", "yellow"))
            return
        self._about.update(words.about(story))
        self._log.show(words.log_lines(story))

    def warn(self, text: Text | None) -> None:
        """Say what is wrong; None: nothing."""
        self._banner.display = text is not None
        self._banner.update(text or "")

    def action_back(self) -> None:
        """To the tables."""
        self.app.pop_screen()

    def action_do(self, what: str) -> None:
        """Cancel or retry it, after a question."""
        if self.story is not None:
            self._act(what, self.story)
