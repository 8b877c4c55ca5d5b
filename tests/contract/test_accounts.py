"""Tokens, sessions and the audit log: one meaning on every engine."""

from __future__ import annotations

import threading
import time

import pytest

from prismq.domain.account import AuditEntry, Role
from prismq.domain.errors import InvalidArgument, QueueBusyError
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Store
from tests.helpers.builders import a_task
from tests.helpers.clock import START
from tests.helpers.engines import Engine

HASH, OTHER = "a" * 64, "b" * 64


def test_a_token_is_found_by_its_hash(store: Store) -> None:
    made = store.accounts.add_token("ci", Role.OPERATOR, HASH, "pq_abcd", "ada", START, START + 60)

    assert store.accounts.token_of(HASH) == made
    assert (made.name, made.role, made.hint, made.created_by) == ("ci", Role.OPERATOR, "pq_abcd", "ada")
    assert (made.created_at, made.expires_at, made.last_used_at) == (START, START + 60, None)
    assert made.is_valid(START + 59.9)
    assert not made.is_valid(START + 60), "the boundary itself counts as expired"
    assert store.accounts.token_of(OTHER) is None


def test_tokens_are_listed_by_name_and_names_are_taken_once(store: Store) -> None:
    store.accounts.add_token("b", Role.VIEWER, HASH, "pq_b", "ada", START)
    store.accounts.add_token("a", Role.ADMIN, OTHER, "pq_a", "ada", START)

    with pytest.raises(InvalidArgument, match="there is a token called 'a' already"):
        store.accounts.add_token("a", Role.ADMIN, "c" * 64, "pq_c", "ada", START)
    assert [one.name for one in store.accounts.tokens()] == ["a", "b"]


def test_use_is_noted(store: Store) -> None:
    made = store.accounts.add_token("ci", Role.VIEWER, HASH, "pq_", "ada", START)
    store.accounts.used(made.token_id, START + 5)
    [found] = store.accounts.tokens()
    assert found.last_used_at == START + 5


def test_a_revoked_token_takes_its_sessions_along(store: Store) -> None:
    made = store.accounts.add_token("ci", Role.VIEWER, HASH, "pq_", "ada", START)
    store.accounts.start_session("s1", made.token_id, START + 100, START)
    found = store.accounts.session_of("s1", START + 99)
    assert found is not None
    assert (found.token.name, found.expires_at) == ("ci", START + 100)

    assert store.accounts.revoke_token("ci")
    assert not store.accounts.revoke_token("ci")
    assert store.accounts.session_of("s1", START + 1) is None
    assert store.accounts.token_of(HASH) is None
    again = store.accounts.add_token("ci", Role.VIEWER, HASH, "pq_", "ada", START)
    assert again.token_id > made.token_id, "an old session must not fit a new token"


def test_a_session_ends_with_its_time_and_by_hand(store: Store, engine: Engine) -> None:
    made = store.accounts.add_token("ci", Role.VIEWER, HASH, "pq_", "ada", START)
    store.accounts.start_session("s1", made.token_id, START + 100, START)
    assert store.accounts.session_of("s1", START + 100) is None, "the boundary itself counts as over"
    store.accounts.start_session("s2", made.token_id, START + 300, START + 200)
    assert engine.look("SELECT session_hash FROM sessions") == [("s2",)], "those that are over are removed"

    assert store.accounts.end_session("s2")
    assert not store.accounts.end_session("s2")
    assert store.accounts.session_of("s2", START + 201) is None


def test_the_audit_log_is_read_newest_first_a_page_at_a_time(store: Store) -> None:
    entries = [
        AuditEntry("ada", "tasks.cancel", START, None, {"text": "ž'\"<b>"}, 7, "10.0.0.1", "session"),
        AuditEntry("ada", "queues.pause", START + 1, "mail"),
        AuditEntry("bob", "tasks.retry", START + 2, "12", tasks=1, via="cli"),
    ]  # fmt: skip
    for entry in entries:
        store.audit.add(entry)

    found = store.audit.find()
    assert [one.action for one in found] == ["tasks.retry", "queues.pause", "tasks.cancel"]
    first = found[-1]
    assert (first.actor, first.at, first.which, first.tasks, first.origin, first.via) == (
        "ada", START, {"text": "ž'\"<b>"}, 7, "10.0.0.1", "session",
    )  # fmt: skip
    assert store.audit.find(limit=1, before_id=found[0].entry_id) == [found[1]]
    assert [one.action for one in store.audit.find(actor="ada")] == ["queues.pause", "tasks.cancel"]
    assert [one.action for one in store.audit.find(action="tasks")] == ["tasks.retry", "tasks.cancel"]
    assert store.audit.find(action="task") == []
    assert store.audit.find(action="tasks.") == []
    assert store.audit.find(target="mail") == [found[1]]
    assert store.audit.find(limit=0) == []

    assert store.audit.delete_before(START + 1) == 1
    assert len(store.audit.find()) == 2


@pytest.fixture
def crowded(engine: Engine) -> Store:
    """A store in which a search takes long enough to be broken off."""
    store = engine.store
    store.inbox.enqueue_many([a_task(payload='{"x": "' + "y" * 2000 + '"}')] * 3000, START)
    return store


def test_a_statement_of_another_thread_can_be_broken_off(crowded: Store) -> None:
    outcome: list[object] = []
    going = threading.Event()

    def search() -> None:
        going.set()
        try:
            while not outcome:
                crowded.tasks.count(TaskFilter(text="nothing has this"))
        except QueueBusyError as error:
            outcome.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    assert going.wait(10)
    deadline = time.monotonic() + 60
    while not outcome and time.monotonic() < deadline:
        assert thread.ident is not None
        crowded.interrupt(thread.ident)
        thread.join(0.01)
    outcome.append("over")
    thread.join(10)
    assert isinstance(outcome[0], QueueBusyError)
    assert crowded.tasks.count(TaskFilter(text="yyy")) == 3000, "the connection is as good as before"
    crowded.interrupt(threading.get_ident())
    assert crowded.tasks.count(TaskFilter()) == 3000, "an interrupt of nothing interrupts nothing later"
