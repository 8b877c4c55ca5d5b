"""The demo's dashboard, and the work that keeps coming for those who look at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from prismq.app import PrismQ
from prismq.cli.demo import tasks
from prismq.cli.demo.server import free_port
from prismq.cli.demo.story import LOOK_UPS, MISSING_FILE
from prismq.cli.demo.view import say
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from prismq.cli.demo.run import Course

_PORT = 8000  # what `prismq server` takes; another where that is taken
_BUSY_S = 600.0
_WAVE_S = 1.0
_FILES_PER_WAVE = 12
_MISSING_PER_WAVE = 0.1  # how often a file is not there: something for the page of failures


@contextmanager
def dashboard(q: PrismQ) -> Iterator[str | None]:
    """The dashboard over the queue, in this process; its address, or None where the extra is not installed."""
    from prismq.cli.server import runner_of
    from prismq.config.server import ServerConfig

    try:
        runner = runner_of()
    except ConfigurationError:
        say("  Dashboard: none, for it wants pip install 'prismq[server]'", "dim")
        yield None
        return
    try:
        settings = ServerConfig(port=_PORT)
        app, listening = runner.prepare(q, settings)
    except ConfigurationError:  # somebody listens there already
        settings = ServerConfig(port=free_port())
        app, listening = runner.prepare(q, settings)
    address: str = runner.address_of(settings)
    say(f"  Dashboard: {address}", "bold")
    say()
    with runner.Beside(app, listening, settings):
        yield address


def keep_busy(course: Course, address: str | None) -> None:
    """Enqueue for ten minutes, and wait for Ctrl-C; it returns then."""
    say(
        f"Work keeps coming for ten minutes. Ctrl-C ends the demo{f'; until then: {address}' if address else ''}",
        "bold",
    )
    rng, nothing = Random(), threading.Event()
    until = SYSTEM_CLOCK.monotonic() + _BUSY_S
    folder = str(course.folder)
    try:
        while SYSTEM_CLOCK.monotonic() < until:
            some = rng.choices(course.found.paths, k=rng.randint(1, _FILES_PER_WAVE))
            tasks.index_file.enqueue_many([{"folder": folder, "path": path} for path in some])
            tasks.look_up.enqueue(rng.choice(LOOK_UPS))
            tasks.wait_async.enqueue(0, rng.uniform(0.1, 5.0))
            if rng.random() < _MISSING_PER_WAVE:
                tasks.q.enqueue(tasks.INDEX, {"folder": folder, "path": MISSING_FILE}, queue="files")
            SYSTEM_CLOCK.wait(nothing, _WAVE_S)
        say("No more work is sent; the workers and the dashboard stay until Ctrl-C.")
        while True:
            SYSTEM_CLOCK.wait(nothing, _BUSY_S)
    except KeyboardInterrupt:
        say("The workers and the dashboard end.")
