"""Which routes may be claimed from where breakers of some types are not closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def open_routes(
    routes: Iterable[str], breakers: dict[str, bool], type_of: Callable[[str], str]
) -> Iterator[tuple[str, bool]]:
    """Routes of types whose breaker is closed, and one for each type of which a task may be tried: that is True then.

    `breakers`: the types that are not closed, and of which of them a task may be tried; with the first route of such a
    type it is used up, whatever the queues and the compatibilities of its tasks.
    """
    for route in routes:
        type_ = type_of(route)
        if type_ not in breakers:
            yield route, False
        elif breakers[type_]:
            breakers[type_] = False
            yield route, True
