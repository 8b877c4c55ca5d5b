"""What the documents name exists, and what exists is named."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import prismq
from prismq import PrismQ
from prismq.client.options import EnqueueOptions
from prismq.client.settings import _TAKES
from prismq.domain import errors
from prismq.domain.strategy import SchedulingStrategy
from prismq.worker.context import TaskContext
from tests.docs.generated import PARTS, SERVED_RUNBOOKS, names_in, up_to_date
from tests.docs.pages import PAGES, ROOT

_LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_TEST = re.compile(r"`?(?P<file>tests/[\w/]+\.py)(?:::(?P<name>\w+))?`?")
_EVERY_PAGE = [pytest.param(page, id=page.name) for page in PAGES]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def words_in_code(name: str) -> set[str]:
    """Every name that a page writes as code."""
    text = text_of(name)
    return set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`\n]+)`", text))))


@pytest.mark.parametrize("page", _EVERY_PAGE)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.finditer(page.read_text(encoding="utf-8")):
        if "://" in link["target"]:
            continue
        target = (page.parent / link["target"]).resolve() if link["target"] else page
        assert target.exists(), link[0]
        if link["anchor"]:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert link["anchor"] in anchors, link[0]


@pytest.mark.parametrize("page", _EVERY_PAGE)
def test_every_test_that_is_called_a_proof_exists(page: Path) -> None:
    for proof in _TEST.finditer(page.read_text(encoding="utf-8")):
        file = ROOT / proof["file"]
        assert file.is_file(), proof[0]
        if proof["name"]:
            assert f"def {proof['name']}(" in file.read_text(encoding="utf-8"), proof[0]


@pytest.mark.parametrize("page", _EVERY_PAGE)
def test_what_a_page_takes_from_the_code_is_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert text == up_to_date(text), "run: python -m tests.docs.generated"


def test_the_dashboard_serves_the_runbooks_as_the_documents_have_them() -> None:
    served = SERVED_RUNBOOKS.read_text(encoding="utf-8")

    assert served == text_of("docs/runbooks.md"), "run: python -m tests.docs.generated"


def test_the_lifecycle_and_both_tables_of_settings_are_in_the_documents() -> None:
    assert "lifecycle" in names_in(ROOT / "docs/retry-logic.md")
    assert {"worker-settings", "settings"} <= set(names_in(ROOT / "docs/worker-configuration.md"))


def test_every_part_that_is_generated_is_in_some_document() -> None:
    assert set(PARTS) == {name for page in PAGES for name in names_in(page)}


def test_every_document_is_reached_from_the_readme() -> None:
    readme = text_of("README.md")

    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in readme, page.name


def test_every_public_name_is_in_some_document() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)

    assert [name for name in prismq.__all__ if not re.search(rf"\b{name}\b", text) and name != "__version__"] == []


def test_every_option_of_a_task_and_of_an_enqueue_is_documented() -> None:
    documented = words_in_code("docs/tasks.md")

    assert set(_TAKES) - documented == set()
    assert set(EnqueueOptions.__annotations__) - documented == set()


def test_everything_that_a_running_task_can_use_is_documented() -> None:
    public = {name for name in vars(TaskContext) if not name.startswith("_")}

    assert public - set(re.findall(r"\w+", text_of("docs/tasks.md"))) == set()


def test_every_strategy_is_documented() -> None:
    assert {strategy.value for strategy in SchedulingStrategy} <= words_in_code("docs/scheduling-strategies.md")


def test_every_error_is_explained() -> None:
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == errors.__name__
    }

    assert kinds - words_in_code("docs/troubleshooting.md") == set()


def test_every_table_column_index_and_view_is_documented(tmp_path: Path) -> None:
    with closing(PrismQ(tmp_path / "queue.db")) as q:
        _ = q.store
    names: set[str] = set()
    with closing(sqlite3.connect(tmp_path / "queue.db")) as connection:
        found = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        for kind, name in found:
            if kind == "trigger":
                continue
            names.add(name)
            if kind == "table":
                names.update(row[1] for row in connection.execute(f"PRAGMA table_xinfo('{name}')"))

    assert names - words_in_code("docs/storage.md") == set()
