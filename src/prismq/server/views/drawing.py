"""Geometry of the drawings that the server makes itself: they stand without any script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

WIDTH, HEIGHT = 600.0, 140.0  # of a chart, in its own units; it is stretched to the page
SPARK_WIDTH, SPARK_HEIGHT = 120.0, 26.0

Values = Sequence[float | None]


class Line(NamedTuple):
    """One line of a chart. `tone`: good, bad, wait, run, accent or mute, as the style sheet has them."""

    label: str
    tone: str
    values: Values
    filled: bool = False


class Bar(NamedTuple):
    """A part of a bar or of a path: where it begins and how wide it is, in parts of the whole (0 to 1)."""

    x: float
    width: float
    tone: str
    title: str


@dataclass(frozen=True)
class Chart:
    """Lines over time. `x` are seconds since 1970; `unit`: `s` for durations, `n` for numbers; `marks` are moments."""

    title: str
    unit: str
    x: Sequence[float]
    lines: Sequence[Line]
    marks: Sequence[float] = ()
    note: str = ""
    href: str = ""
    empty: str = "Nothing ended in this time."

    @property
    def peak(self) -> float:
        """The largest value; 0 where there is none."""
        return max((value for line in self.lines for value in line.values if value is not None), default=0.0)

    @property
    def is_empty(self) -> bool:
        """Whether no line has a value to show."""
        return not any(value for line in self.lines for value in line.values)

    @property
    def paths(self) -> list[tuple[str, str]]:
        """Tone and path of each line."""
        return [(line.tone, path_of(line.values, WIDTH, HEIGHT, self.peak)) for line in self.lines]

    @property
    def mark_places(self) -> list[float]:
        """Where the marks stand, from the left."""
        if len(self.x) < 2:
            return []
        first, last = self.x[0], self.x[-1]
        return [round((at - first) / (last - first) * WIDTH, 1) for at in self.marks if first <= at <= last]

    def to_json(self) -> str:
        """For the script that draws it again."""
        return json.dumps(
            {
                "unit": self.unit,
                "x": [round(at) for at in self.x],
                "marks": [round(at) for at in self.marks],
                "series": [
                    {
                        "label": line.label,
                        "tone": line.tone,
                        "filled": line.filled,
                        "values": [None if value is None else float(f"{value:.4g}") for value in line.values],
                    }
                    for line in self.lines
                ],
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True)
class Spark:
    """A small line without axes."""

    values: Values
    tone: str = "accent"
    title: str = ""
    path: str = field(init=False)

    def __post_init__(self) -> None:
        peak = max((value for value in self.values if value is not None), default=0.0)
        object.__setattr__(self, "path", path_of(self.values, SPARK_WIDTH, SPARK_HEIGHT, peak))


def path_of(values: Values, width: float, height: float, peak: float) -> str:
    """An SVG path through the values, from left to right, with gaps where there is none; `` for no values."""
    step = width / max(1, len(values) - 1)
    parts: list[str] = []
    pen = "M"
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        y = height - 1 - (value / peak if peak > 0 else 0) * (height - 3)
        parts.append(f"{pen}{number * step:.1f} {y:.1f}")
        # A value between two gaps is a dot.
        pen = "L"
        alone = (number == 0 or values[number - 1] is None) and (
            number + 1 == len(values) or values[number + 1] is None
        )
        if alone:
            parts.append("h1")
    return "".join(parts)


def bars(parts: Sequence[tuple[float, str, str]], *, least: float = 0.0) -> list[Bar]:
    """(amount, tone, title) side by side; none that is there at all is narrower than `least` of the whole."""
    shown = [(amount, tone, title) for amount, tone, title in parts if amount > 0]
    whole = sum(amount for amount, _, _ in shown)
    if not whole:
        return []
    widths = [max(least, amount / whole) for amount, _, _ in shown]
    scale = 1 / sum(widths)
    found: list[Bar] = []
    x = 0.0
    for width, (_, tone, title) in zip(widths, shown, strict=True):
        found.append(Bar(round(x, 5), round(width * scale, 5), tone, title))
        x += width * scale
    return found
