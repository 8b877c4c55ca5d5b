"""The garbage collector of a server's process."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc
from prismq.server.runner import keep_what_is_loaded

loaded = len(gc.get_objects())
keep_what_is_loaded()
print(loaded, len(gc.get_objects()), gc.get_freeze_count())
"""


def test_a_full_round_of_the_collector_no_longer_looks_through_what_was_loaded() -> None:
    said = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    loaded, left, passed_over = map(int, said.stdout.split())
    assert loaded > 10_000
    assert left < loaded / 100
    assert passed_over > loaded / 2
