"""The first screen: the tables, all at once where there is room, else one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from prismq.cli.top import actions, words
from prismq.cli.top.looking import FAILURES_MAX, RUNNING_MAX, Look, Story
from prismq.cli.top.rows import (
    FAILURES,
    KINDS,
    QUEUES,
    RUNNING,
    WORKERS,
    Column,
    Kind,
    Row,
    arranged,
    clean,
    fitted,
    next_sort,
)
from prismq.cli.top.screens import LogPane

if TYPE_CHECKING:
    from prismq.cli.top.application import Top

WIDE, HIGH = 120, 36  # from here on there is room for all tables


class Table(DataTable[Text]):
    """One table; it keeps its place at a row, wherever that row goes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, kind: Kind) -> None:
        super().__init__(id=kind.name, cursor_type="row", cell_padding=1, zebra_stripes=False)
        self.kind = kind
        self.sort_key: str | None = None
        self.turned = False
        self._found: list[Row] = []
        self._drawn: object = None

    def show(self, rows: list[Row], text: str) -> None:
        """Show these rows, as far as they have `text` in them."""
        self._found = arranged(self.kind, rows, text=text, sort=self.sort_key, turned=self.turned)
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """The columns depend on the width."""
        self._draw()

    @property
    def chosen(self) -> str | None:
        """What the chosen row is about; None where there is none."""
        return self._found[self.cursor_row].key if 0 <= self.cursor_row < len(self._found) else None

    @property
    def shown(self) -> int:
        """How many rows there are, drawn or not: a table that is hidden has not drawn them yet."""
        return len(self._found)

    def sort_by_next(self) -> str:
        """Sort by the next column; its title."""
        columns = [column for column, _ in self._columns()]
        self.sort_key = next_sort(self.kind, columns, self.sort_key)
        self.turned = False
        return next(column.title for column in columns if column.key == self.sort_key)

    def _columns(self) -> list[tuple[Column, int]]:
        return fitted(self.kind, self._found, max(20, self.size.width - self.scrollbar_size_vertical))

    def _draw(self) -> None:
        if not self.size.width:
            return
        columns = self._columns()
        by = self.sort_key or self.kind.sort
        cells = [
            [(row.key, row.cells[column.key].text, row.cells[column.key].style) for column, _ in columns]
            for row in self._found
        ]
        wanted = (columns, by, self.turned, cells)
        if wanted == self._drawn:
            return
        # Whoever has not gone down sees what comes at the top; whoever has, stays at the row.
        key, at = (None, 0) if self.cursor_row == 0 else (self._key_before, self.cursor_row)
        self._drawn = wanted
        self.clear(columns=True)
        for column, width in columns:
            mark = ""
            if column.key == by:
                mark = "▼" if column.falling != self.turned else "▲"
            label = Text(f"{column.title}{mark}", "bold", justify="right" if column.right else "left", no_wrap=True)
            self.add_column(label, width=width, key=column.key)
        for row, line in zip(self._found, cells, strict=True):
            self.add_row(
                *(
                    Text(text, style, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis")
                    for (column, _), (_, text, style) in zip(columns, line, strict=True)
                ),
                key=row.key,
            )
        places = {row.key: number for number, row in enumerate(self._found)}
        if self._found:
            self.move_cursor(row=places.get(key or "", min(at, len(self._found) - 1)), animate=False)
        self._key_before = self.chosen

    _key_before: str | None = None

    def watch_cursor_coordinate(self, old: object, new: object) -> None:
        """Remember which row it is."""
        super().watch_cursor_coordinate(old, new)  # type: ignore[arg-type]
        self._key_before = self.chosen


class Tables(Screen[None]):
    """Queues, workers, running tasks, failures; in a wide terminal the log of the chosen task, too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "choose('queues')", "Queues", show=False),
        Binding("2", "choose('workers')", "Workers", show=False),
        Binding("3", "choose('running')", "Running", show=False),
        Binding("4", "choose('failures')", "Failures", show=False),
        Binding("tab", "step(1)", "Next", show=False),
        Binding("shift+tab", "step(-1)", "Previous", show=False),
        Binding("p", "pause", "Pause"),
        Binding("r", "retry", "Retry"),
        Binding("c", "cancel", "Cancel"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort", "Sort"),
        Binding("S", "turn", "Turn", show=False),
        Binding("space", "hold", "Hold", key_display="Space"),
        Binding("escape", "all", "All", show=False),
    ]
    DEFAULT_CSS = """
    Tables #head { height: auto; padding: 0 1; }
    Tables #banner { height: auto; display: none; padding: 0 1; }
    Tables #tabs { height: 1; padding: 0; margin-top: 1; }
    Tables #tables { height: 1fr; layout: vertical; }
    Tables Vertical.panel { display: none; height: 1fr; }
    Tables Vertical.panel.-chosen { display: block; }
    Tables .empty { display: none; padding: 1 2; color: $text-muted; height: auto; }
    Tables .-nothing .empty { display: block; }
    Tables DataTable, Tables DataTable:focus { height: 1fr; background: $background; background-tint: transparent; }
    Tables .-nothing DataTable { height: 1; }
    Tables DataTable > .datatable--header { background: $background; color: $text-muted; }
    Tables #log { display: none; }
    Tables #filter { display: none; height: 1; border: none; padding: 0 1; background: $surface; }
    Tables #filter.-open { display: block; }
    Tables.-wide #tabs { display: none; }
    Tables.-wide #tables { layout: grid; grid-size: 2 2; grid-gutter: 0 1; height: 2fr; margin-top: 1; }
    Tables.-wide Vertical.panel { display: block; border: round $panel; border-title-color: $text-muted; height: 1fr; }
    Tables.-wide Vertical.panel.-chosen { border: round $primary; border-title-color: $text; border-title-style: bold; }
    Tables.-wide #log { display: block; height: 1fr; border: round $panel; padding: 0 1;
        border-title-color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._look: Look | None = None
        self._rows: dict[str, list[Row]] = {}
        self._text = ""
        self._chosen = QUEUES.name
        self._log_of: int | None = None
        self._is_ready = False
        # Held, not looked for: what comes while the program ends must find them, too.
        self._head, self._banner, self._tabs = Static(id="head"), Static(id="banner"), Static(id="tabs")
        self._panels = {kind.name: Vertical(classes="panel") for kind in KINDS}
        self._tables = {kind.name: Table(kind) for kind in KINDS}
        self._nothing = {kind.name: Static(Text(kind.empty), classes="empty") for kind in KINDS}
        self._log = LogPane("Choose a running (3) or a failed task (4): its log is shown here.", id="log")
        self._log.border_title = "Log"
        hint = "show only rows with this text; Enter keeps it, Esc shows all"
        self._filter = Input(id="filter", placeholder=hint, select_on_focus=False)

    @property
    def top(self) -> Top:
        """The program."""
        return cast("Top", self.app)

    def compose(self) -> ComposeResult:
        """See Screen.compose."""
        yield self._head
        yield self._banner
        yield self._tabs
        with Container(id="tables"):
            for kind in KINDS:
                with self._panels[kind.name]:
                    yield self._tables[kind.name]
                    yield self._nothing[kind.name]
        yield self._log
        yield self._filter
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin with the queues, and what was seen before there was a place for it."""
        self._is_ready = True
        if self.top.seen is not None:
            self.show(self.top.seen)
        self.tell()
        self.action_choose(QUEUES.name)

    def on_unmount(self) -> None:
        """What comes from now on has no place."""
        self._is_ready = False

    def on_resize(self, event: events.Resize) -> None:
        """All tables, or one."""
        self.set_class(event.size.width >= WIDE and event.size.height >= HIGH, "-wide")
        self.tell()

    @property
    def is_wide(self) -> bool:
        """Whether all tables are shown."""
        return self.has_class("-wide")

    # -- showing

    def show(self, look: Look) -> None:
        """Show what was seen."""
        if not self._is_ready:
            return
        self._look = look
        self._rows = {kind.name: kind.rows(look) for kind in KINDS}
        self._show_rows()

    def _show_rows(self) -> None:
        for kind in KINDS:
            rows = self._rows.get(kind.name, [])
            table = self._table(kind.name)
            table.show(rows, self._text)
            panel = self._panels[kind.name]
            panel.border_title = self._label(kind)
            self._nothing[kind.name].update(
                Text(f"No row has {self._text!r} in it; Esc shows all." if rows else kind.empty)
            )
            panel.set_class(self._look is not None and not table.shown, "-nothing")
        self.tell()

    def _label(self, kind: Kind) -> str:
        title = f"{KINDS.index(kind) + 1} {kind.title}"
        if self._look is None:
            return title
        shown, all_ = self._table(kind.name).shown, len(self._rows.get(kind.name, []))
        whole = {RUNNING.name: (self._look.running_count, RUNNING_MAX), FAILURES.name: (all_, FAILURES_MAX)}
        count, at_most = whole.get(kind.name, (all_, all_ + 1))
        more = f"{count:,}+" if kind is FAILURES and count >= at_most else f"{max(count, all_):,}"
        return f"{title} {more}" if shown == all_ else f"{title} {shown:,}/{more}"

    def tell(self) -> None:
        """The lines above the tables, and how old all this is."""
        if not self._is_ready:
            return
        top, width = self.top, max(20, self.size.width - 2)
        lines = [
            words.title(
                self._look, width=width, interval_s=top.interval_s, age_s=top.age_s, error=top.error, held=top.held
            )
        ]
        if self._look is not None:
            lines += [words.summary(self._look, width), words.throughput(self._look, width)]
        self._head.update(Text("\n").join(lines))
        banner = top.banner()
        self._banner.display = banner is not None
        self._banner.update(banner or "")
        names = [(kind.name, self._label(kind)) for kind in KINDS]
        line = words.tabs(names, self._chosen, self.size.width)
        if self._text:
            line.append(f" /{self._text}", "yellow")
        self._tabs.update(line)

    def read_log(self) -> None:
        """Have the log of the chosen task read, where there is a place for it."""
        task_id = self._task_id()
        if not self.is_wide or self.top.screen is not self:
            return
        if task_id is None:
            task_id = self._log_of
        if task_id is not None:
            self._log_of = task_id
            self.top.read(task_id, self._show_log)

    def _show_log(self, story: Story | None) -> None:
        pane = self._log
        if story is None or story.task.id != self._log_of:
            return
        pane.border_title = f"Log of task {story.task.id} ({clean(story.task.type)}), {story.task.state}"
        pane.show(words.log_lines(story))

    # -- choosing

    def _table(self, name: str) -> Table:
        return self._tables[name]

    def action_choose(self, name: str) -> None:
        """Go to a table."""
        self._chosen = name
        for kind in KINDS:
            self._panels[kind.name].set_class(kind.name == name, "-chosen")
        self._table(name).focus()
        self.tell()
        self.read_log()

    def action_step(self, by: int) -> None:
        """Go to the next table, or to the one before."""
        names = [kind.name for kind in KINDS]
        self.action_choose(names[(names.index(self._chosen) + by) % len(names)])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click chooses a table, too."""
        if isinstance(event.widget, Table) and event.widget.kind.name != self._chosen:
            self.action_choose(event.widget.kind.name)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Another row: another log."""
        if event.data_table.id == self._chosen:
            self.read_log()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter: a task with its log, or a queue alone."""
        key = self._table(self._chosen).chosen
        if key is None:
            return
        if self._chosen in (RUNNING.name, FAILURES.name):
            self.top.open_task(int(key))
        elif self._chosen == QUEUES.name:
            self.top.look_at(None if self.top.queue == key else key)
        else:
            view = next((one for one in self._seen().workers if one.worker.worker_id == key), None)
            if view is not None:
                self.notify(words.of_worker(view), markup=False, timeout=8)

    def _task_id(self) -> int | None:
        key = self._table(self._chosen).chosen if self._chosen in (RUNNING.name, FAILURES.name) else None
        return None if key is None else int(key)

    def _seen(self) -> Look:
        if self._look is None:
            raise RuntimeError("nothing was seen yet")
        return self._look

    # -- acting

    def action_pause(self) -> None:
        """Pause or resume what is chosen."""
        key = self._table(self._chosen).chosen
        if self._chosen == QUEUES.name and key is not None:
            row = next((one for one in self._seen().queues if one.name == key), None)
            if row is not None:
                self.top.propose(actions.pause_queue(row))
        elif self._chosen == WORKERS.name and key is not None:
            view = next((one for one in self._seen().workers if one.worker.worker_id == key), None)
            if view is not None:
                self.top.propose(actions.pause_worker(view))
        else:
            self.notify("Queues (1) and workers (2) can be paused.", severity="warning")

    def action_cancel(self) -> None:
        """Cancel the chosen task."""
        self._act_on_task("cancel", "Running tasks (3) can be cancelled.")

    def action_retry(self) -> None:
        """Queue the chosen task again."""
        self._act_on_task("retry", "Failed tasks (4) can be queued again.")

    def _act_on_task(self, what: str, else_: str) -> None:
        task_id = self._task_id()
        if task_id is None:
            self.notify(else_, severity="warning")
            return
        look = self._seen()
        task = next((one for one in (*look.running, *look.failures) if one.id == task_id), None)
        if task is not None:
            self.top.propose_for_task(what, task)

    # -- what is shown of them

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._table(self._chosen).sort_by_next()
        self._show_rows()

    def action_turn(self) -> None:
        """Sort the other way round."""
        table = self._table(self._chosen)
        table.turned = not table.turned
        self._show_rows()

    def action_hold(self) -> None:
        """Hold still, or go on."""
        self.top.held = not self.top.held
        self.top.look()
        self.tell()

    def action_filter(self) -> None:
        """Ask for a text."""
        self._filter.add_class("-open")
        self._filter.focus()

    def action_all(self) -> None:
        """Show all again: the filter goes, then the restriction to a queue."""
        if self._text or self._filter.has_class("-open"):
            self._set_filter("")
            self._close_filter()
        elif self.top.queue is not None:
            self.top.look_at(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is written."""
        self._set_filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and go back to the table."""
        self._close_filter()

    def _set_filter(self, text: str) -> None:
        if self._filter.value != text:
            self._filter.value = text
        self._text = text
        self._show_rows()

    def _close_filter(self) -> None:
        self._filter.remove_class("-open")
        self._table(self._chosen).focus()
