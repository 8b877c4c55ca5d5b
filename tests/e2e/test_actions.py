"""Every action, as a person does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from prismq.domain.account import AuditEntry
from tests.e2e.conftest import Tab
from tests.e2e.scene import EVIL, EVIL_NAME, Scene


def button(page: Page, name: str) -> None:
    page.locator("main").get_by_role("button", name=name, exact=True).first.click()


def notice(page: Page, words: str) -> None:
    expect(page.locator(".notice").first).to_contain_text(words)


def last_audit(scene: Scene, action: str) -> AuditEntry:
    return scene.q.store.audit.find(action=action, limit=1)[0]


def test_a_queue_is_paused_and_resumed(tab: Tab) -> None:
    page = tab.open("/queues/mail")
    button(page, "Pause")
    notice(page, "Paused")
    assert tab.scene.q.store.queues.all(0)[0].queue
    assert any(one.queue == "mail" and one.paused_at for one in tab.scene.q.tasks.queues())

    button(page, "Resume")
    notice(page, "Resumed")
    assert not any(one.paused_at for one in tab.scene.q.tasks.queues())
    assert last_audit(tab.scene, "queues.pause").target == "mail"


def test_a_queue_is_limited(tab: Tab) -> None:
    page = tab.open("/queues/mail")
    page.get_by_label("At most").fill("3")
    button(page, "Set")
    notice(page, "The limit was set")

    assert next(one for one in tab.scene.q.tasks.queues() if one.queue == "mail").max_running == 3
    page.get_by_label("At most").fill("")
    button(page, "Set")
    notice(page, "The limit was set")
    assert next(one for one in tab.scene.q.tasks.queues() if one.queue == "mail").max_running is None


def test_a_purge_tells_the_number_first_and_deletes_what_waits(tab: Tab) -> None:
    q = tab.scene.q
    for number in range(3):
        q.enqueue("to.purge", {"n": number}, queue="purged")
    page = tab.open("/queues/purged")
    page.get_by_role("link", name="Purge…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("3 waiting tasks of the queue 'purged' will be deleted")
    dialog.get_by_role("button", name="Delete 3 waiting tasks").click()
    notice(page, "3 waiting tasks deleted")
    page.wait_for_url("**/queues")

    assert q.tasks.count(queue="purged") == 0
    assert last_audit(tab.scene, "queues.purge").tasks == 3


def test_chosen_tasks_are_cancelled_and_that_is_taken_back(tab: Tab) -> None:
    q = tab.scene.q
    ids = [q.enqueue("to.cancel", queue="idle").id for _ in range(3)]
    page = tab.open("/tasks?type=to.cancel")
    for task_id in ids[:2]:
        page.get_by_label(f"Choose task {task_id}").check()
    expect(page.locator("[data-chosen]")).to_have_text("2 selected")
    button(page, "Cancel…")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Cancel 2 tasks?")
    dialog.get_by_role("button", name="Cancel: 2 tasks").click()
    notice(page, "2 tasks cancelled.")
    assert sorted(q.tasks.get(one).status for one in ids) == ["cancelled", "cancelled", "queued"]

    page.get_by_role("button", name="Undo: queue them again").click()
    notice(page, "2 tasks queued again.")
    assert {q.tasks.get(one).status for one in ids} == {"queued"}
    assert "type=to.cancel" in page.url


def test_all_that_match_get_another_priority(tab: Tab) -> None:
    q = tab.scene.q
    ids = [q.enqueue("to.hurry", queue="idle").id for _ in range(4)]
    page = tab.open("/tasks?type=to.hurry")
    page.get_by_role("link", name="Set priority all…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("4 tasks")
    dialog.get_by_label("Priority").fill("5")
    dialog.get_by_role("button", name="Set priority: 4 tasks").click()
    notice(page, "4 tasks given the priority.")

    assert {q.tasks.get(one).priority for one in ids} == {5}


def test_what_grew_since_it_was_agreed_to_is_left_alone(tab: Tab) -> None:
    q = tab.scene.q
    q.enqueue("to.grow", queue="idle")
    page = tab.open("/tasks?type=to.grow")
    page.get_by_role("link", name="Delete all…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete")
    # A delete without a status means what waits, too.
    q.enqueue("to.grow", queue="idle")
    tab.expected = ("409",)
    dialog.get_by_role("button", name=re.compile("^Delete:")).click()
    expect(page.locator("main")).to_contain_text("more than the 1 that were agreed to")

    assert q.tasks.count(type="to.grow") == 2


def test_a_dead_letter_is_redriven_with_its_group(tab: Tab) -> None:
    page = tab.open("/failures")
    row = page.get_by_role("row").filter(has_text="image.resize").first
    row.get_by_role("link", name="Redrive…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("4 tasks")
    dialog.get_by_role("button", name="Retry: 4 tasks").click()
    notice(page, "4 tasks queued again.")

    assert last_audit(tab.scene, "tasks.retry").tasks == 4


def test_a_scheduled_task_is_run_now_and_an_ended_one_retried(tab: Tab) -> None:
    q = tab.scene.q
    later = q.enqueue("mail.send", {"to": "now@example.com"}, queue="mail", delay=3600)
    page = tab.open(f"/tasks/{later.id}")
    expect(page.locator("#why-title + p")).to_contain_text("It is scheduled to run")
    button(page, "Run now")
    notice(page, "1 task made ready.")
    assert later.result(timeout=30) == {"to": "now@example.com"}

    page = tab.open(f"/tasks/{later.id}")
    button(page, "Retry")
    notice(page, "1 task queued again.")
    assert later.result(timeout=30) == {"to": "now@example.com"}


def test_a_waiting_task_is_cancelled_from_its_page_and_deleted(tab: Tab) -> None:
    q = tab.scene.q
    task_id = q.enqueue("to.delete", queue="idle").id
    page = tab.open(f"/tasks/{task_id}")
    button(page, "Cancel")
    notice(page, "1 task cancelled.")
    assert q.tasks.get(task_id).status == "cancelled"

    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete: 1 task").click()
    notice(page, "1 task deleted.")
    assert q.tasks.count(type="to.delete") == 0


def test_a_task_is_enqueued_by_a_form_made_of_its_type_hints(tab: Tab) -> None:
    page = tab.open("/tasks/new?type=image.resize")
    page.locator("#arg-path").fill("/data/by-hand.png")
    page.locator("#arg-mode").select_option(label="FAST")
    page.locator("#arg-fit").select_option(label="out")
    page.get_by_text("Options").click()
    page.get_by_label("Queue").fill("idle")
    page.get_by_label("Priority").fill("7")
    button(page, "Enqueue")
    notice(page, "was enqueued")

    task = tab.scene.q.tasks.find(type="image.resize", queue="idle", limit=1)[0]
    assert task.get_payload_dict() == {"path": "/data/by-hand.png", "mode": "fast", "fit": "out"}
    assert task.priority == 7
    assert last_audit(tab.scene, "tasks.enqueue").target == str(task.id)


def test_a_wrong_argument_is_told_and_what_was_typed_stays(tab: Tab) -> None:
    page = tab.open("/tasks/new?type=nobody.knows")
    page.locator("textarea[name=payload]").fill("{not json")
    tab.expected = ("422",)
    button(page, "Enqueue")
    expect(page.get_by_role("alert")).to_contain_text("the payload is not JSON")
    assert page.locator("textarea[name=payload]").input_value() == "{not json"


def test_a_task_is_retried_with_other_arguments_and_its_secret_is_kept(tab: Tab) -> None:
    q = tab.scene.q
    old = q.enqueue("mail.send", {"to": "old@example.com", "password": "hunter2"}, queue="mail")
    old.result(timeout=30)
    page = tab.open(f"/tasks/{old.id}/again")
    assert page.locator("#arg-password").input_value() == "[redacted]"
    page.locator("#arg-to").fill("new@example.com")
    button(page, "Enqueue")
    notice(page, "was enqueued")

    new = q.tasks.find(type="mail.send", text="new@example.com", limit=1)[0]
    assert new.get_payload_dict() == {"to": "new@example.com", "password": "hunter2"}
    assert old.task().get_payload_dict()["to"] == "old@example.com"


def test_a_worker_is_paused_resumed_and_resized(tab: Tab) -> None:
    scene = tab.scene
    page = tab.open("/workers")
    card = page.locator(f"[id='worker-{scene.worker_id}']")
    for name, status in (("Pause", "paused"), ("Resume", "active")):
        card.get_by_role("button", name=f"{name} {scene.worker_id}").click()
        notice(page, "The worker was asked")
        # The page follows by itself.
        expect(card.locator("header .badge")).to_have_text(status, timeout=30_000)
    card.get_by_label(f"Slots of {scene.worker_id}").fill("6")
    card.get_by_role("button", name="Resize").click()
    notice(page, "The worker was asked")
    expect(card).to_contain_text("of 6 slots busy", timeout=30_000)
    assert last_audit(scene, "workers.resize").which == {"slots": 6}


def test_a_worker_that_is_alive_but_takes_nothing_cannot_be_missed(tab: Tab) -> None:
    worker_id = tab.scene.stick()
    page = tab.open("/workers")
    try:
        alarm = page.get_by_role("alert").filter(has_text=worker_id)
        expect(alarm).to_contain_text("is alive with 4 free slots, but has claimed nothing")
        expect(page.locator(f"#worker-{worker_id}")).to_have_class(re.compile("is-bad"))
        page = tab.open("/")
        expect(page.locator(".verdict")).to_contain_text(worker_id)
    finally:
        tab.scene.q.store.workers.remove(worker_id)
        tab.scene.q.tasks.delete(queue="stuck")


def test_a_schedule_is_run_paused_and_resumed(tab: Tab) -> None:
    page = tab.open("/schedules")
    expect(page.locator("tbody tr")).to_contain_text("at 06:30 on Monday to Friday")
    button(page, "Run now: clean.up")
    notice(page, "was enqueued")

    page = tab.open("/schedules")
    button(page, "Pause clean.up")
    notice(page, "The schedule was changed")
    assert tab.scene.q.store.schedules.all()[0].paused_at is not None
    button(page, "Resume clean.up")
    notice(page, "The schedule was changed")
    assert tab.scene.q.store.schedules.all()[0].paused_at is None


@contextmanager
def dialogs_closed(page: Page) -> Iterator[None]:
    yield
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_the_keys_lead_through_the_pages(tab: Tab) -> None:
    page = tab.open("/")
    expect(page.locator(".feed")).to_have_attribute("data-state", "live")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/tasks")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-chosen]")).to_have_text("1 selected")
    assert page.locator("tbody tr").nth(1).get_attribute("class") == "at"
    with dialogs_closed(page):
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_contain_text("next and previous row")
        page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(f"#{tab.scene.running}")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("walk.far")


def test_a_filter_is_a_link_that_can_be_shared(tab: Tab) -> None:
    page = tab.open("/tasks")
    page.get_by_label("Type").fill("image.resize")
    page.get_by_label("Text in payload or error").fill("/data/2.png")
    button(page, "Filter")
    expect(page.locator("tbody tr")).to_have_count(1)

    shared = page.url.removeprefix(tab.scene.url)
    page = tab.open(shared)
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.get_by_label("Type").input_value() == "image.resize"


def test_a_choice_survives_what_the_page_takes_up_by_itself(tab: Tab) -> None:
    q = tab.scene.q
    first = q.enqueue("to.follow", queue="idle").id
    page = tab.open("/tasks?type=to.follow")
    page.get_by_label(f"Choose task {first}").check()
    second = q.enqueue("to.follow", queue="idle").id

    expect(page.locator(f"#task-{second}")).to_be_visible(timeout=20_000)
    assert page.get_by_label(f"Choose task {first}").is_checked()
    assert not page.get_by_label(f"Choose task {second}").is_checked()


def test_a_running_task_shows_its_progress_and_its_log_live(tab: Tab) -> None:
    scene = tab.scene
    page = tab.open(f"/tasks/{scene.running}")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "0.25")
    expect(page.locator(".logs")).to_contain_text("it is far")
    expect(page.locator(".legend")).to_contain_text("running for")


def test_what_others_wrote_is_text_wherever_it_is_shown(tab: Tab) -> None:
    q = tab.scene.q
    evil = q.tasks.find(type="evil.task", limit=1)[0]
    for path in (
        "/",
        "/tasks",
        f"/tasks/{evil.id}",
        "/workers",
        "/failures",
        "/queues",
        "/audit",
        f"/tasks/{evil.id}/again",
    ):
        page = tab.open(path)
        expect(page.locator(".feed")).to_have_attribute("data-state", "live")
        assert page.evaluate("window.pwned") is None, path
        assert page.locator("main img[src='x'], main b[onmouseover]").count() == 0, path

    page = tab.open(f"/tasks/{evil.id}")
    for place in ("[aria-label=Payload]", ".logs", "[aria-label=Error]", ".attempt"):
        expect(page.locator(place).first).to_contain_text("<img src=x onerror=window.pwned=1>")
    expect(page.locator("main")).to_contain_text("{{7*7}}")
    page = tab.open("/workers")
    expect(page.locator("main")).to_contain_text(EVIL_NAME)
    expect(page.locator("main")).to_contain_text(EVIL)


def test_the_theme_is_switched_and_kept(tab: Tab) -> None:
    page = tab.open("/")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between dark and light").click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert after != before
    page = tab.open("/tasks")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after
