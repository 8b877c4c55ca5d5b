"""Lines of text that stand for a curve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int) -> str:
    """The values, oldest first, as `width` blocks: means where there are more, the newest where there are fewer.

    The highest is a full block, whatever it is; nothing at all is the lowest.
    """
    if width <= 0 or not values:
        return ""
    shown = _condensed(values, width)
    top = max(shown)
    if top <= 0:
        return _BLOCKS[0] * len(shown)
    # What is not nothing is seen, however little it is.
    return "".join(_BLOCKS[0 if one <= 0 else max(1, round(one / top * (len(_BLOCKS) - 1)))] for one in shown)


def _condensed(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    edges = [round(at * len(values) / width) for at in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
