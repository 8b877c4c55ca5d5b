"""The runbooks as a page, for whoever is called at night and has no checkout of the documents.

`runbooks.md` beside the templates is a copy of docs/runbooks.md; a test holds it to be the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from fastapi import APIRouter, Request
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from prismq.server.dependencies import Viewer
from prismq.server.pages.rendering import rendering_of

router = APIRouter()

_HEADING = re.compile(r"^#{1,2} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


class Runbook(NamedTuple):
    """What to do about one alert: paragraphs and commands, as HTML."""

    name: str
    anchor: str
    blocks: Sequence[Markup]


@router.get("/runbooks")
async def show_runbooks(request: Request, who: Viewer) -> HTMLResponse:
    """What to do about each alert."""
    first, *others = runbooks()
    return rendering_of(request).page(
        request, who, "runbooks.html", title=first.name, place="alerts", follows=False, first=first, runbooks=others
    )


@cache
def runbooks() -> Sequence[Runbook]:
    """Each heading of the document and what stands below it; the first is the document's own."""
    text = resources.files("prismq.server").joinpath("templates/runbooks.md").read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    return [
        Runbook(name, re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-"), _blocks(below))
        for name, below in zip(parts[::2], parts[1::2], strict=True)
    ]


def _blocks(text: str) -> list[Markup]:
    found = []
    for number, part in enumerate(_FENCE.split(text)):
        if number % 2:
            found.append(Markup("<pre>{}</pre>").format(part.rstrip()))
        else:
            found += [Markup("<p>{}</p>").format(_line(one)) for one in part.split("\n\n") if one.strip()]
    return found


def _line(text: str) -> Markup:
    parts = " ".join(text.split()).split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else _with_links(part) for number, part in enumerate(parts)
    )


def _with_links(text: str) -> Markup:
    """Links within the page; other documents are not here, so that they are named alone."""

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        return f'<a href="{target}">{words}</a>' if target.startswith("#") else words

    return Markup(_LINK.sub(link, str(escape(text))))  # noqa: S704 - escaped, and the document is ours
