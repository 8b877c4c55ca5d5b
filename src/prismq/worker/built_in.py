"""Task types that every worker knows, whatever the application declares."""

from __future__ import annotations

from collections.abc import Mapping

from prismq.domain.arguments import Arguments
from prismq.domain.handler import Handler

CANARY = "prismq.canary"


def canary() -> None:
    """Does nothing: that it was done is all that it is for."""


def with_built_ins(handlers: Mapping[str, Handler]) -> Mapping[str, Handler]:
    """The application's handlers and ours; a name that the application has taken is its own."""
    ours = Handler(CANARY, canary, False, Arguments.of(canary, name=CANARY), max_attempts=1)
    return {CANARY: ours, **handlers}
