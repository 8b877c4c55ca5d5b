"""Forms and queries as views take them, and where to go after one was sent."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Request
from starlette.responses import RedirectResponse

from prismq.server.pages.rendering import root_of
from prismq.server.problems import Problem
from prismq.server.views.selection import Pairs

_FIELDS_MAX = 1_200  # a thousand chosen tasks, and a few


async def _form(request: Request) -> Pairs:
    form = await request.form(max_fields=_FIELDS_MAX, max_files=0)
    return _readable([(name, value) for name, value in form.multi_items() if isinstance(value, str)])


async def _query(request: Request) -> Pairs:
    return _readable(request.query_params.multi_items())


def _readable(items: list[tuple[str, str]]) -> Pairs:
    if any("\0" in value for _, value in items):
        raise Problem(422, "text cannot hold a null character")
    return Pairs(items)


Sent = Annotated[Pairs, Depends(_form)]
Asked = Annotated[Pairs, Depends(_query)]


def needed(sent: Pairs, name: str) -> str:
    """The field's value. Raises Problem 422 where there is none."""
    value = sent.one(name)
    if value is None:
        raise Problem(422, f"the form lacks {name!r}; load the page again")
    return value


def whole(text: str | None, name: str, low: int, high: int) -> int:
    """The text as a whole number. Raises Problem 422."""
    try:
        value = int(text or "")
    except ValueError:
        value = low - 1
    if not low <= value <= high or (text or "").strip() != str(value):
        raise Problem(422, f"{name} takes a whole number from {low:,} to {high:,}")
    return value


def is_local(path: str) -> bool:
    """Whether this is a path on this server, and cannot lead elsewhere."""
    return path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()


def back(request: Request, sent: Pairs, default: str, **notice: Any) -> RedirectResponse:
    """To the page that the form was on, with a notice; `default` is a path below the root."""
    place = sent.one("back") or ""
    if not is_local(place):
        place = f"{root_of(request)}{default}"
    return there(place, **notice)


def there(place: str, **notice: Any) -> RedirectResponse:
    """To a path, with a notice."""
    query = urlencode({name: value for name, value in notice.items() if value})
    # What stands after a # would hide the notice.
    place = place.partition("#")[0]
    return RedirectResponse(place + (("&" if "?" in place else "?") + query if query else ""), 303)
