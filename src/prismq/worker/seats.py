"""The places of a supervisor's processes, and what can be seen of a process from outside."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass, field

import psutil


@dataclass
class Seat:
    """A place for one process, with its history."""

    number: int
    process: subprocess.Popen[str] | None = None
    worker_id: str = ""
    started_mono: float = 0.0
    restarts: int = 0
    failures: int = 0
    start_at: float = 0.0  # monotonic
    closed: bool = False  # drained by an operator: not filled again
    idle: bool = False  # kept empty by the autoscaler, for now
    retiring: bool = False  # told to drain by the autoscaler
    seen: object = None  # the last heartbeat seen, and when it was new
    seen_mono: float = 0.0
    cpu_s: float = 0.0
    stood_in_since: float | None = field(default=None)


def computes(seat: Seat) -> bool:
    """Whether its process has used the processor since this was asked last."""
    if seat.process is None:
        return False
    try:
        process = psutil.Process(seat.process.pid)
        if process.status() == psutil.STATUS_STOPPED:
            return False
        times = process.cpu_times()
    except psutil.Error:  # it has just ended
        return False
    used, seat.cpu_s = times.user + times.system - seat.cpu_s, times.user + times.system
    return used > 0.05


def ended_how(code: int) -> str:
    """How a process with this exit code ended, in words."""
    if code < 0:
        name = signal.Signals(-code).name if -code in {one.value for one in signal.Signals} else str(-code)
        return f"was killed by {name}"
    return f"ended with exit code {code}"
