"""`python -m tests.move.mover SCHEME LOCATION SCHEME LOCATION KILL_AFTER_S`: a move in a process of its own.

It kills itself with SIGKILL after so many seconds since it began, wherever it then is; 0: never. The pieces are small,
so that there are many places. What it writes to stdout is how long it took, in seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from prismq.clock import SYSTEM_CLOCK
from prismq.storage import move
from prismq.storage.open import open_store


def main(arguments: list[str]) -> None:
    """Move."""
    source, target = open_store(*arguments[:2]), open_store(*arguments[2:4])
    kill_after_s = float(arguments[4])
    move._ROWS = 25
    source.pending(), target.pending()  # the connections are made before the time begins
    begun = time.monotonic()
    if kill_after_s:
        timer = threading.Timer(kill_after_s, lambda: os.kill(os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    names = (arguments[1], arguments[3])
    move.Move(source, target, names=names, clock=SYSTEM_CLOCK).run(by="test", with_leases=True)
    print(time.monotonic() - begun, flush=True)
    os._exit(0)  # the timer, and with it the kill, is over


if __name__ == "__main__":
    main(sys.argv[1:])
