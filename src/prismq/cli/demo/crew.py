"""The demo's supervisor, in a process of its own: `python -m prismq.cli.demo.crew DATABASE WORKERS`.

It is the one of `prismq worker`. It ends gracefully when its standard input does, so that it never outlives the demo.
"""

from __future__ import annotations

import signal
import sys
import threading

from prismq.config import WorkerConfig
from prismq.worker.supervisor import run

APPLICATION = "prismq.cli.demo.tasks:q"


def config(workers: int) -> WorkerConfig:
    """Short times, so that the demo need not wait for anything."""
    return WorkerConfig(
        worker_id="demo",
        processes=workers,
        concurrency=8,
        lease_duration_seconds=15,
        shutdown_grace_seconds=5,
        hints=True,
    )


def main(database: str, workers: int) -> int:
    """Run until the standard input ends; the exit code."""

    def watch() -> None:
        sys.stdin.read()
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="demo-watch", daemon=True).start()
    return run(APPLICATION, config(workers), database=database, log_level="INFO", log_json=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
