"""What a worker process answers to an orchestrator."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prismq.domain.errors import ConfigurationError
from prismq.worker.probe import Probe, ProbeOptions, State
from tests.helpers.clock import FakeClock


@dataclass
class _Pump:
    claiming: bool = True
    last_claim_at: float | None = None
    last_look_at: float | None = None
    down_since: float | None = None


@dataclass
class _Slots:
    size: int = 4
    busy: int = 0


@dataclass
class _Worker:
    pump: _Pump = field(default_factory=_Pump)
    slots: _Slots = field(default_factory=_Slots)

    def looks(self, clock: FakeClock) -> None:
        self.pump.last_look_at = clock.now()


@pytest.fixture
def worker() -> _Worker:
    return _Worker()


def probe_of(clock: FakeClock, worker: _Worker | None = None, *, stale_s: float = 30.0, poll_s: float = 1.0) -> Probe:
    probe = Probe(ProbeOptions(stale_s=stale_s), clock, poll_s=poll_s)
    if worker is not None:
        probe.watch(worker)
    return probe


def told(probe: Probe) -> tuple[State, bool, bool]:
    answer = probe.answer()
    return answer.state, answer.live, answer.ready


def test_before_there_is_a_worker_it_lives_and_is_not_ready(clock: FakeClock) -> None:
    probe = probe_of(clock)
    clock.advance(3600)
    assert told(probe) == (State.STARTING, True, False)


def test_a_worker_that_looks_for_work_is_ready(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker)
    assert told(probe) == (State.STARTING, True, False)
    worker.looks(clock)
    for _ in range(10):
        clock.advance(29)
        worker.looks(clock)
        assert told(probe) == (State.READY, True, True)


def test_one_with_free_slots_that_has_not_looked_for_too_long_is_stuck(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker)
    worker.looks(clock)
    assert told(probe)[0] is State.READY
    clock.advance(30)
    assert told(probe)[0] is State.READY
    clock.advance(0.1)
    assert told(probe) == (State.STUCK, False, False)
    assert probe.answer().reason == "4 slots are free, and it has not looked for work for 30 s"
    worker.looks(clock)
    assert told(probe)[0] is State.READY


def test_one_that_never_looked_at_all_is_stuck_too(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker)
    clock.advance(31)
    assert told(probe)[0] is State.STUCK


def test_one_with_its_hands_full_is_ready_and_has_time_to_look_afterwards(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker)
    worker.looks(clock)
    worker.slots.busy = 4
    clock.advance(3600)
    assert told(probe) == (State.READY, True, True)
    worker.slots.busy = 3
    clock.advance(20)
    assert told(probe)[0] is State.READY
    clock.advance(11)
    assert told(probe)[0] is State.STUCK


def test_one_that_was_told_to_pause_lives_and_is_not_ready(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker)
    worker.looks(clock)
    worker.pump.claiming = False
    clock.advance(3600)
    assert told(probe) == (State.PAUSED, True, False)
    worker.pump.claiming = True
    clock.advance(20)
    assert told(probe)[0] is State.READY


def test_one_that_cannot_reach_its_store_is_not_to_be_restarted(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker)
    worker.looks(clock)
    worker.pump.down_since = clock.monotonic()
    clock.advance(3600)
    assert told(probe) == (State.STORE_AWAY, True, False)
    worker.pump.down_since = None
    assert told(probe)[0] is State.READY


def test_a_long_poll_has_its_time(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker, poll_s=600)
    worker.looks(clock)
    assert told(probe)[0] is State.READY
    clock.advance(1700)
    assert told(probe)[0] is State.READY


def test_a_clock_that_is_set_makes_nobody_stuck(clock: FakeClock, worker: _Worker) -> None:
    probe = probe_of(clock, worker)
    worker.looks(clock)
    told(probe)
    for jump_s in (7200, -90_000):
        clock.jump(jump_s)
        assert told(probe)[0] is State.READY


# -- the file


def test_the_file_is_touched_while_it_lives_and_goes_with_it(tmp_path: Path, clock: FakeClock, worker: _Worker) -> None:
    path = tmp_path / "probe"
    probe = Probe(ProbeOptions(file=str(path)), clock)
    probe.watch(worker)
    worker.looks(clock)
    assert probe.step() > 0
    assert json.loads(path.read_text()) == {
        "state": "ready", "live": True, "ready": True, "reason": "it looks for work; 0 of 4 slots are busy",
    }  # fmt: skip
    os.utime(path, (1, 1))
    clock.advance(31)
    probe.step()
    assert path.stat().st_mtime == 1  # stuck: it grows old
    worker.looks(clock)
    probe.step()
    assert path.stat().st_mtime > 1
    probe.close()
    assert list(tmp_path.iterdir()) == []


def test_each_process_of_a_supervisor_has_a_file_of_its_own(tmp_path: Path, clock: FakeClock) -> None:
    for number in range(3):
        Probe(ProbeOptions(file=str(tmp_path / "probe")), clock, number=number).step()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["probe", "probe.1", "probe.2"]


def test_a_file_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path, clock: FakeClock) -> None:
    probe = Probe(ProbeOptions(file=str(tmp_path / "nowhere" / "probe")), clock)
    with pytest.raises(ConfigurationError, match=r"probe_file = .*nowhere.*cannot be written"):
        probe.start()


# -- the port


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class _HandClock(FakeClock):
    """Moved by the test alone: the probe's own thread waits in real time."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)


@pytest.fixture
def clock() -> FakeClock:
    return _HandClock()


@pytest.fixture
def served(clock: FakeClock) -> Iterator[Probe]:
    probe = Probe(ProbeOptions(port=free_port()), clock)
    probe.start()
    yield probe
    probe.close()


def get(probe: Probe, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", probe.port or 0, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_live_and_ready_are_answered_over_http(served: Probe, clock: FakeClock, worker: _Worker) -> None:
    assert (get(served, "/live")[0], get(served, "/ready")[0]) == (200, 503)
    served.watch(worker)
    worker.looks(clock)
    assert (get(served, "/live")[0], get(served, "/ready?verbose")[0]) == (200, 200)
    assert json.loads(get(served, "/ready")[1])["state"] == "ready"
    clock.advance(31)
    assert get(served, "/live")[0] == 503
    assert json.loads(get(served, "/live")[1])["state"] == "stuck"
    assert get(served, "/metrics")[0] == 404
    status, body = get(served, "/live", "HEAD")
    assert (status, body) == (503, "")


def test_a_port_that_is_taken_is_a_wrong_setting(served: Probe, clock: FakeClock) -> None:
    other = Probe(ProbeOptions(port=served.port), clock)
    with pytest.raises(ConfigurationError, match=rf"probe_port = {served.port}: cannot listen on 127.0.0.1"):
        other.start()
    other.close()


def test_nothing_runs_where_nothing_was_asked_for(clock: FakeClock) -> None:
    before = threading.active_count()
    probe = Probe(ProbeOptions(), clock)
    probe.start()
    assert threading.active_count() == before
    probe.close()
