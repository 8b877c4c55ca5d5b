"""What both engines find alike, in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prismq.domain.errors import QueueBusyError, QueueDatabaseError
from prismq.domain.finding import Check, Finding, Severity
from prismq.domain.words import plural


def writable(write: Callable[[], None], remedy: Callable[[], str]) -> Iterator[Finding]:
    """Whether the queue can be written. `write`: takes the lock that a writer takes, and lets go of it; `remedy`: what
    to do where somebody else holds that lock."""
    try:
        write()
    except QueueBusyError as error:
        yield Finding(
            "writable", Severity.PROBLEM, str(error),
            "Nothing can be enqueued, claimed or completed while another program holds that lock.", remedy(),
        )  # fmt: skip
    except QueueDatabaseError as error:
        yield Finding(
            "writable", Severity.PROBLEM, str(error), "Nothing can be enqueued, claimed or completed.",
            "Do as the message says, then run `prismq doctor` again.",
        )  # fmt: skip


def payloads_check(unreadable: Callable[[], Sequence[int]]) -> Check:
    """The check for waiting tasks that no handler can be called with; `unreadable` gives their ids."""
    return Check(
        "payloads", "waiting tasks whose payload is not a JSON object, so that no handler can be called", "",
        lambda now: _payloads(unreadable()),
    )  # fmt: skip


def _payloads(bad: Sequence[int]) -> Iterator[Finding]:
    if bad:
        listed = ", ".join(map(str, bad[:5])) + (" …" if len(bad) > 5 else "")
        yield Finding(
            "payloads", Severity.WARNING,
            f"{plural(len(bad), 'waiting task')} ({listed}) {'has' if len(bad) == 1 else 'have'} a payload that is no "
            f"JSON object",
            "Such a task was written by hand; it fails as soon as a worker takes it.",
            f"Correct the rows with SQL, or `prismq tasks delete {bad[0]}`.",
        )  # fmt: skip
