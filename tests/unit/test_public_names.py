"""What `import prismq` gives, and what it does not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prismq

_SOURCE = Path(prismq.__file__).read_text(encoding="utf-8")
_HEAVY = (
    "pydantic",
    "structlog",
    "typer",
    "rich",
    "fastapi",
    "psycopg",
    "redis",
    "opentelemetry",
    "sqlite3",
    "asyncio",
)


def test_every_public_name_can_be_imported() -> None:
    for name in prismq.__all__:
        assert getattr(prismq, name) is not None, name


def test_the_list_of_public_names_is_sorted_and_has_each_once() -> None:
    assert sorted(prismq.__all__) == sorted(set(prismq.__all__))
    assert set(prismq.__all__) == {*prismq._HOME_OF, "__version__"}


def test_type_checkers_see_the_same_names() -> None:
    seen = {
        alias.asname
        for node in ast.walk(ast.parse(_SOURCE))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == set(prismq._HOME_OF)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchThing"):
        prismq.NoSuchThing  # noqa: B018


def test_import_prismq_loads_nothing_heavy() -> None:
    code = f"import sys, prismq; print([name for name in {_HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_object_users_hold_loads_no_web_framework_and_no_command_line() -> None:
    code = (
        "import sys, prismq; prismq.PrismQ; "
        "print([n for n in ('typer', 'rich', 'fastapi', 'psycopg', 'redis', 'opentelemetry') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
