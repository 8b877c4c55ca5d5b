"""`python -m tests.move.mover SCHEME LOCATION SCHEME LOCATION STEP DELAY_S`: a move in a process of its own.

It kills itself with SIGKILL so many seconds after its step of that number, wherever it then is; step 0: never. The
pieces are small, so that there are many steps. What it writes to stdout is how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from prismq.clock import SYSTEM_CLOCK
from prismq.storage import copying, move
from prismq.storage.open import open_store


def main(arguments: list[str]) -> None:
    """Move."""
    source, target = open_store(*arguments[:2]), open_store(*arguments[2:4])
    step, delay_s = int(arguments[4]), float(arguments[5])
    copying._ROWS = 25
    steps = 0

    def report(_: copying.Step) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            timer = threading.Timer(delay_s, lambda: os.kill(os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    names = (arguments[1], arguments[3])
    move.Move(source, target, names=names, clock=SYSTEM_CLOCK, report=report).run(by="test", with_leases=True)
    print(steps, flush=True)
    os._exit(0)  # without waiting for the timer, and the kill


if __name__ == "__main__":
    main(sys.argv[1:])
