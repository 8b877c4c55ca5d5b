"""Payloads, results and tracebacks as people read them: without secrets, and not without end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from prismq.domain.redaction import Redactor

SHOWN_CHARS_MAX = 20_000
_PREVIEW_CHARS_MAX = 120
# Where a frame's file lies tells whether the code is one's own.
_OTHERS = ("/site-packages/", "\\site-packages\\", "/lib/python", "\\Lib\\", "<frozen ", "/prismq/")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]*)", line \d+')
_ERROR = re.compile(r"^[\w.]+(?:Error|Exception|Interrupt|Exit|Warning|Lost|Timeout)?(?::|$)")


class Shown(NamedTuple):
    """Text to show, and how many characters of it were left out."""

    text: str
    cut: int


class TraceLine(NamedTuple):
    """A line of a traceback. `kind`: frame-line, ours (a frame of the user's own code), source, error or text."""

    kind: str
    text: str


def redacted(text: str | None, redactor: Redactor) -> Any:
    """The value that JSON `text` holds, without secrets; the text itself where it is not JSON."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return redactor.redact({"": value})[""]


def shown(text: str | None, redactor: Redactor) -> Shown | None:
    """JSON `text` laid out to be read; None for none."""
    if text is None:
        return None
    value = redacted(text, redactor)
    laid_out = value if isinstance(value, str) and value == text else json.dumps(value, indent=2, ensure_ascii=False)
    return Shown(laid_out[:SHOWN_CHARS_MAX], max(0, len(laid_out) - SHOWN_CHARS_MAX))


def preview(text: str | None, redactor: Redactor) -> str:
    """The beginning of it, on one line."""
    if not text or text == "{}":
        return ""
    if len(text) > SHOWN_CHARS_MAX:  # a list does not read a megabyte a row
        return f"{len(text):,} characters"
    value = redacted(text, redactor)
    if isinstance(value, dict):
        line = ", ".join(f"{key}={json.dumps(inner, ensure_ascii=False)}" for key, inner in value.items())
    else:
        line = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(line.split())
    return line if len(line) <= _PREVIEW_CHARS_MAX else f"{line[: _PREVIEW_CHARS_MAX - 1]}…"


def trace_lines(traceback: str) -> Iterator[TraceLine]:
    """The lines of a Python traceback, told apart; those of other texts are `text`."""
    after_frame = False
    for line in traceback.rstrip().splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            yield TraceLine("frame-line" if any(part in frame["file"] for part in _OTHERS) else "ours", line)
        elif after_frame and line.startswith("    "):
            yield TraceLine("source", line)
        elif not line.startswith((" ", "Traceback", "During", "The above")) and _ERROR.match(line):
            yield TraceLine("error", line)
        else:
            yield TraceLine("text", line)
        after_frame = frame is not None
