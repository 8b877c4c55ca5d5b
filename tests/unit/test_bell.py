"""The bell wakes for rings from inside and for hints from outside, and tells which it was."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from prismq.storage.wakeup import LoopbackEar
from prismq.worker.bell import Bell


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    yield bell
    bell.close()


def test_a_ring_before_the_wait_ends_it_at_once(bell: Bell) -> None:
    bell.ring()
    assert bell.wait(30) is False
    assert bell.rung


def test_a_ring_from_another_thread_ends_the_wait(bell: Bell) -> None:
    thread = threading.Timer(0.01, bell.ring)
    thread.start()
    bell.wait(30)
    thread.join()
    assert bell.rung


def test_what_was_seen_to_is_not_rung_for_any_more(bell: Bell) -> None:
    bell.ring()
    bell.wait(30)
    bell.still()
    assert not bell.rung
    assert bell.wait(0) is False


def test_waking_is_no_ring(bell: Bell) -> None:
    bell.wake()
    bell.wait(30)
    assert not bell.rung


def test_a_thousand_rings_and_wakes_block_nobody(bell: Bell) -> None:
    for _ in range(100_000):
        bell.still()
        bell.ring()
    bell.wait(30)
    assert bell.rung


def test_many_hints_are_one(bell: Bell) -> None:
    ear = LoopbackEar()
    bell.add(ear)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(3):
            sender.sendto(b"q", ("127.0.0.1", ear.port))
        assert bell.wait(30) is True
        assert not bell.rung
        assert bell.wait(0) is False
    ear.close()


def test_an_ear_that_fails_is_left_out_and_the_bell_still_rings(bell: Bell) -> None:
    class Broken:
        def __init__(self) -> None:
            self.near, self.far = socket.socketpair()

        def fileno(self) -> int:
            return self.near.fileno()

        def heard(self) -> bool:
            raise OSError("gone")

        def close(self) -> None:
            self.near.close()
            self.far.close()

    ear = Broken()
    bell.add(ear)
    ear.far.send(b"x")
    assert bell.wait(30) is False
    assert bell.wait(0) is False  # it would return at once for ever if it still listened
    bell.ring()
    bell.wait(30)
    ear.close()


def test_ringing_a_closed_bell_does_nothing() -> None:
    bell = Bell()
    bell.close()
    bell.still()
    bell.ring()
