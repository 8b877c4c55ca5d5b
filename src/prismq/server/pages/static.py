"""Style sheet, scripts and icon: kept by browsers for as long as their content is the same."""

from __future__ import annotations

import os
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent.parent / "static"
_YEAR_S = 365 * 86_400


class Assets(StaticFiles):
    """The files of this package. What is asked for with its version never changes."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """With the time that a browser may keep it."""
        answer = super().file_response(*args, **kwargs)
        scope: Scope = args[2] if len(args) > 2 else kwargs["scope"]
        is_versioned = scope.get("query_string", b"").startswith(b"v=")
        answer.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable" if is_versioned else "no-cache"
        return answer


@lru_cache(maxsize=64)
def version_of(name: str) -> str:
    """A few characters that change with the file's content."""
    return sha256((FOLDER / os.fspath(name)).read_bytes()).hexdigest()[:10]
