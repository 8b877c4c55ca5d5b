"""Test helpers: a queue of one's own whose tasks run in the test's thread, with a clock that is moved by hand."""

from __future__ import annotations

from prismq.testing.clock import ManualClock
from prismq.testing.queue import TestingQueue, testing

__all__ = ["ManualClock", "TestingQueue", "testing"]
