"""Making one table of the target equal to the source's: piece by piece, compared row by row, and read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.words import plural
from prismq.storage.contract.transfer import Key, Kind, Progress, Row, Shape, Table, Transfer
from prismq.storage.sameness import CHECKSUMS, checksum, sameness

# A piece is read, compared and written in one transaction: it has to fit into memory, and hold nobody up for long.
_ROWS, _BYTES = 1_000, 8_388_608
_ALL = 1 << 31  # rows, or bytes: no bound
_EXAMPLES = 20


class Step(NamedTuple):
    """What the move does now: `what` for people, `done` of `total` rows (None: not counted)."""

    what: str
    done: int = 0
    total: int | None = None


class Obstacle(NamedTuple):
    """Values that the target cannot hold as they are."""

    table: str
    column: str
    reason: str
    remedy: str
    rows: int
    examples: list[Key]  # the keys of some


class Compared(NamedTuple):
    """A table that is the same in both databases. `checksum` is in hexadecimal."""

    table: str
    rows: int
    checksum: str


class Copier:
    """Copies and compares tables of `source` with those of `target`; `names` and `report` as in Move."""

    def __init__(
        self, source: Transfer, target: Transfer, names: tuple[str, str], report: Callable[[Step], None]
    ) -> None:
        self._from, self._to = source, target
        self._names = names
        self._report = report

    def obstacles(self, tables: Sequence[Table], total: int) -> list[Obstacle]:
        """Every value of the source that the target cannot hold. `total`: rows, for the report."""
        found: dict[tuple[str, str, str, str], Obstacle] = {}
        done = 0
        for table in tables:
            shape = self.shape(table)
            if all(kind is Kind.ANY for kind in shape.kinds):
                continue
            for piece in self._pieces(shape):
                for row in piece:
                    for column, reason, remedy in self._to.unfit(shape, row):
                        entry = found.setdefault(
                            (table.name, column, reason, remedy),
                            Obstacle(table.name, column, reason, remedy, 0, []),
                        )
                        if len(entry.examples) < _EXAMPLES:
                            entry.examples.append(shape.key_of(row))
                        found[table.name, column, reason, remedy] = entry._replace(rows=entry.rows + 1)
                done += len(piece)
                self._report(Step(f"looking at {table.name}", done, max(total, done)))
        return list(found.values())

    def _pieces(self, shape: Shape, after: Key | None = None) -> Iterator[list[Row]]:
        while piece := self._from.read(shape, after, rows=_ROWS, size=_BYTES):
            yield piece
            after = shape.key_of(piece[-1])

    def shape(self, table: Table) -> Shape:
        """The columns of a table that both have. Raises QueueDatabaseError where they differ."""
        ours, theirs = self._from.columns(table), self._to.columns(table)
        if set(ours) != set(theirs):
            odd = sorted(set(ours) ^ set(theirs))
            raise QueueDatabaseError(
                f"{table.name} has other columns in {self._names[0]} than in {self._names[1]} ({', '.join(odd)}), so "
                f"it cannot be moved. Run `prismq migrate` on both; columns of your own belong into a table of your own"
            )
        kinds = (theirs[name] if ours[name] is Kind.ANY else ours[name] for name in ours)
        return Shape(table, tuple(ours), tuple(kinds))

    def sync(self, shape: Shape, name: str, *, live: bool) -> Compared:
        """Make the target's table the source's, piece by piece from where the pass was."""
        table, same = shape.table, sameness(shape)
        progress = self._to.progress(name, table)
        total = self._from.count(table)
        what = f"{'copying' if live else 'comparing'} {table.name}"
        seen = progress.rows
        self._report(Step(what, seen, max(total, seen)))
        while not live or seen < total:  # what is added all the time would never end
            piece = self._from.read(shape, progress.after, rows=_ROWS, size=_BYTES)
            if not piece:
                break
            seen += len(piece)
            self._report(Step(what, seen, max(total, seen)))
            if live and table.of_task:
                # Enqueued after the tasks were copied: its turn comes when the source is stopped.
                at = shape.columns.index("task_id")
                absent = self._to.missing_tasks({row[at] for row in piece})
                wanted = [row for row in piece if row[at] not in absent]
            else:
                wanted = piece
            until = shape.key_of(piece[-1])
            with self._to.writing():
                found = self._make_same(shape, same, wanted, progress.after, until)
                progress = Progress(
                    until, progress.rows + len(found), (progress.checksum + checksum(table.name, found)) % CHECKSUMS
                )
                self._to.remember(name, table, progress)
        # What the target has beyond the source's last row was deleted there meanwhile.
        while not live and (rest := self._to.read(shape, progress.after, rows=_ROWS, size=_BYTES)):
            with self._to.writing():
                self._to.write(shape, [], [], [shape.key_of(row) for row in rest])
        return Compared(table.name, progress.rows, f"{progress.checksum:032x}")

    def _make_same(
        self, shape: Shape, same: Callable[[Row], Row], wanted: list[Row], after: Key | None, until: Key
    ) -> list[Row]:
        """Write what differs in a stretch of keys, and read it again; the rows, in the form that is compared."""
        try:
            expected = {shape.key_of(row): same(row) for row in wanted}
        except (ValueError, TypeError, RecursionError):
            self._require_fit(shape, wanted)
            raise
        found = {shape.key_of(row): same(row) for row in self._stretch(shape, after, until)}
        if found != expected:
            new, changed = [], []
            for row in wanted:
                key = shape.key_of(row)
                if key not in found:
                    new.append(row)
                elif found[key] != expected[key]:
                    changed.append(row)
            self._require_fit(shape, [*new, *changed])
            self._to.write(shape, new, changed, [key for key in found if key not in expected])
            found = {shape.key_of(row): same(row) for row in self._stretch(shape, after, until)}
        wrong = [key for key in expected.keys() | found.keys() if found.get(key) != expected.get(key)]
        if wrong:
            raise QueueDatabaseError(
                f"{plural(len(wrong), 'row')} of {shape.table.name} came back from {self._names[1]} other than they "
                f"were written (the first has the key {wrong[0]}). Nothing was switched"
            )
        return list(found.values())

    def _stretch(self, shape: Shape, after: Key | None, until: Key) -> list[Row]:
        return self._to.read(shape, after, until=until, rows=_ALL, size=_ALL)

    def _require_fit(self, shape: Shape, rows: Sequence[Row]) -> None:
        if all(kind is Kind.ANY for kind in shape.kinds):
            return
        for row in rows:
            for column, reason, remedy in self._to.unfit(shape, row):
                key = ", ".join(map(str, shape.key_of(row)))
                raise QueueDatabaseError(
                    f"{column} of the row {key} of {shape.table.name} has {reason}, which {self._names[1]} cannot "
                    f"hold. To mend it: {remedy}. `prismq move --dry-run` lists all such rows"
                )
