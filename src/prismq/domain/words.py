"""Numbers and times in words, the same wherever people read them."""

from __future__ import annotations


def plural(count: int, thing: str) -> str:
    """`1 task`, `1,200 tasks`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """`0.30 ms`, `85 ms`, `4.2 s`, `3 m 20 s`, `2 h 5 m`, `4 d 3 h`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds == float("inf"):
        return "ever"
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.{0 if seconds >= 0.00995 or seconds <= 0 else 2}f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for size, name, below, below_name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{whole} s"


def first_line(text: str) -> str:
    """The text's first line that says something; `` where none does."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def listed(words: list[str], at_most: int = 3) -> str:
    """`a, b and c`; past `at_most` the rest is counted: `a, b, c and 4 more`."""
    shown, rest = words[:at_most], len(words) - at_most
    if rest > 0:
        return f"{', '.join(shown)} and {rest:,} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
