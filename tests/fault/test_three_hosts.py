"""Three hosts with clocks of their own, one of which is cut off: network namespaces, real workers, a real server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq import PrismQ
from prismq.domain.task import NewTask
from tests.helpers.history import check_books, problems, read, supervisors_kills
from tests.helpers.hosts import Host, NoHosts, hosts
from tests.helpers.postgres import PostgresServer
from tests.helpers.processes import Supervised, look, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
LEASE_S = 4.0
SKEWS_S = (0.0, 300.0, -240.0)
TASKS = 150
LATE_S = 0.5  # how much later than its lease's end a task may still be running on the host that was cut off
UNFINISHED = "SELECT count(*) FROM task_queue WHERE status IN ('scheduled', 'queued', 'claimed', 'processing')"


@pytest.fixture
def three() -> Iterator[list[Host]]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(hosts(*SKEWS_S))
        except NoHosts as error:
            pytest.skip(f"no network namespaces can be made here: {error}")
        yield made


@pytest.fixture
def server(three: list[Host]) -> Iterator[PostgresServer]:
    """It listens where the three cables end."""
    addresses = ",".join(["127.0.0.1", *(host.gateway for host in three)])
    with contextlib.closing(PostgresServer(f"listen_addresses = '{addresses}'\n", open_to="10.0.0.0/8")) as own:
        yield own


def _left(url: str) -> int:
    return int(look(url, UNFINISHED)[0][0])


def _workers_of(crew: Supervised) -> set[str]:
    return {entry["worker_id"] for entry in crew.events("worker_registered")}


def test_tasks_of_a_host_that_is_cut_off_are_taken_over_and_its_late_words_change_nothing(
    three: list[Host], server: PostgresServer, tmp_path: Path
) -> None:
    history = tmp_path / "history"
    history.mkdir()
    name = server.new_queue()
    url = server.url(name)
    crews = [
        Supervised(
            url.replace("127.0.0.1", host.gateway) + "?connect_timeout=2&tcp_user_timeout=4000", looked_at=url,
            logs=tmp_path, around=host.around, env={"PRISMQ_TEST_HISTORY": str(history)},
            processes=1, concurrency=4, lease_duration_seconds=LEASE_S, poll_interval_seconds=0.5,
            shutdown_grace_seconds=3,
        )
        for host in three
    ]  # fmt: skip
    lonely, cut_off = crews[1], three[1]
    try:
        with PrismQ(url) as q:
            wait_until(lambda: all(_workers_of(crew) for crew in crews), "all three work", 60)
            # Coroutines: libfaketime makes time.sleep() fail.
            news = [NewTask("anap", '{"seconds": 0.3}', max_attempts=20) for _ in range(TASKS)]
            acknowledged = [handle.id for handle in q.enqueue_many(news)]
            ours = {crew: _workers_of(crew) for crew in crews}
            assert len(set.union(*ours.values())) == 3, "one hostname, three identities"
            # As many long ones as there are slots, so that the partition meets some in the middle.
            long = [NewTask("anap", f'{{"seconds": {2 * LEASE_S}}}', max_attempts=20, priority=1) for _ in range(12)]
            acknowledged += [handle.id for handle in q.enqueue_many(long)]
            [first] = ours[lonely]
            held = "SELECT id FROM task_queue WHERE locked_by = ? AND status = 'processing' AND priority = 1"
            wait_until(lambda: look(url, held, (first,)), "the host has a long task", 60)
            cut_off.pull_the_cable()
            cut_at = time.time()
            taken = {task_id for (task_id,) in look(url, held, (first,))}
            assert taken
            gone = f"SELECT count(*) FROM task_attempts WHERE worker_id = '{first}' AND outcome = 'lost'"
            wait_until(lambda: look(url, gone)[0][0] >= len(taken), "the reaper of another host returns them", 60)
            wait_until(lambda: lonely.events("worker_state_changed"), "the host says that it stopped its tasks", 60)
            [stranded] = [entry for entry in lonely.events("worker_state_changed") if entry["status"] == "stranded"]
            assert "the store was away for longer than the lease" in stranded["why"]
            assert stranded["level"] == "WARNING"
            wait_until(lambda: _left(url) == 0, "the other two do all of it", 120, every_s=0.1)
            by = {
                worker for (worker,) in look(url, "SELECT DISTINCT locked_by FROM task_queue WHERE status='completed'")
            }
            before = look(url, "SELECT * FROM task_queue ORDER BY id")
            attempts = look(url, "SELECT count(*) FROM task_attempts")
            cut_off.plug_it_in()
            # It comes back as another worker, and works.
            wait_until(lambda: _workers_of(lonely) - ours[lonely], "a new worker is registered from there", 60)
            again = look(url, "SELECT worker_id FROM workers WHERE status = 'active'")
            wait_until(
                lambda: {w for (w,) in look(url, "SELECT worker_id FROM workers WHERE status = 'active'")}
                & (_workers_of(lonely) - ours[lonely]),
                f"it is known to the store; {again}", 60,
            )  # fmt: skip
            assert look(url, "SELECT * FROM task_queue ORDER BY id") == before, "late words changed something"
            assert look(url, "SELECT count(*) FROM task_attempts") == attempts
            assert by - {first}
            for crew in crews:
                assert crew.stop() == 0
    except AssertionError:
        for crew in crews:
            print(crew.log()[-3000:])
        raise
    finally:
        for crew in crews:
            crew.destroy()
    wrong = problems(url, history, acknowledged, supervisors_kills(crews)) + check_books(url)
    assert wrong == [], "\n".join(wrong[:20])
    # The leases that it held were over by the server's clock, whatever its own said, and it had stopped by then.
    late = [
        run for run in read(history)
        if run.worker_id == first and run.end is not None and run.end > cut_at + LEASE_S + LATE_S
    ]  # fmt: skip
    assert late == []
    started_late = [run for run in read(history) if run.worker_id == first and run.start > cut_at + LEASE_S + LATE_S]
    assert started_late == []
