"""What a person sees when a request did not succeed."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from prismq.server.pages.rendering import here, rendering_of, root_of
from prismq.server.problems import Problem


def page(request: Request, problem: Problem) -> Response:
    """The page that tells of it; for those who are not known, the way to the sign-in page."""
    if problem.status == 401:
        return _to_sign_in(request)
    answer = rendering_of(request).bare(request, "error.html", problem.status, problem=problem)
    answer.headers.update(problem.headers)
    return answer


def _to_sign_in(request: Request) -> Response:
    at_sign_in = f"{root_of(request)}/login"
    if request.headers.get("hx-request") == "true":
        shown = urlsplit(request.headers.get("hx-current-url", ""))
        place = shown.path + (f"?{shown.query}" if shown.query else "")
        # A part of a page cannot become the sign-in page: the whole page goes there.
        return Response(status_code=401, headers={"HX-Redirect": f"{at_sign_in}?next={quote(place, safe='')}"})
    place = here(request) if request.method == "GET" else f"{root_of(request)}/"
    return RedirectResponse(f"{at_sign_in}?next={quote(place, safe='')}", 303)
