"""Formulas of queueing theory: how many slots an arrival rate and a service time need. Pure arithmetic.

Source: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
exchanges" (1917), as in L. Kleinrock, "Queueing Systems, Volume 1" (1975), sections 3.5 and 3.6; J. D. C. Little, "A
proof for the queuing formula L = λW", Operations Research 9 (1961); and for service times that are not exponential
the approximation of A. O. Allen and J. L. Cunneen, in Allen, "Probability, Statistics, and Queueing Theory" (1990).

Their limits. M/M/c supposes one queue, first come first served, for c slots that are alike; arrivals that know nothing
of each other (Poisson); exponential service times; nobody who gives up; and a rate that lasts long enough for the
system to settle. Tasks that come in bursts (a schedule that enqueues thousands at once) wait longer than this says:
there the backlog rule of sizing.py, and the simulator, which replays what really came, are better guides.
"""

from __future__ import annotations

import math

from prismq.domain.errors import InvalidArgument

# Past this many busy slots the loop of slots_for takes too long, and nobody has them.
LOAD_MAX = 100_000.0


def offered_load(arrivals_per_s: float, service_s: float) -> float:
    """How many slots are busy on average, where there are enough: Little's law, L = λ · s.

    It holds whatever the distributions are. Fewer slots than that cannot keep up, however long one waits. Raises
    InvalidArgument for numbers that are negative or not finite.
    """
    load = arrivals_per_s * service_s
    if not (arrivals_per_s >= 0 and service_s >= 0 and math.isfinite(load)):
        raise InvalidArgument(
            f"an arrival rate and a service time are numbers of 0 or more, not {arrivals_per_s!r} and {service_s!r}"
        )
    return load


def erlang_b(slots: int, load: float) -> float:
    """The probability that all `slots` are busy where nobody waits (M/M/c/c), by the stable recursion
    B(n) = a·B(n-1) / (n + a·B(n-1)), B(0) = 1. 0 to 1."""
    blocked = 1.0
    for number in range(1, slots + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked


def erlang_c(slots: int, load: float) -> float:
    """The probability that a task has to wait at all (M/M/c): C = B / (1 - u(1 - B)), u = load / slots.

    1.0 where the slots cannot keep up (load >= slots).
    """
    if load <= 0:
        return 0.0
    if slots <= load:
        return 1.0
    return _waits(erlang_b(slots, load), slots, load)


def part_within(target_s: float, slots: int, load: float, service_s: float, variability: float = 1.0) -> float:
    """The part of the tasks that wait at most `target_s` seconds, 0 to 1:  1 - C·exp(-(c - a)·t / (k·s)).

    `variability` is the k of Allen and Cunneen, (1 + cs²) / 2 with cs the coefficient of variation of the service time:
    1 for exponential times (then this is exact), 0.5 for constant ones. 0.0 where the slots cannot keep up.
    """
    if load <= 0:
        return 1.0
    if slots <= load:
        return 0.0
    return 1 - erlang_c(slots, load) * math.exp(-_decay(slots, load, service_s, variability) * target_s)


def wait_s(part: float, slots: int, load: float, service_s: float, variability: float = 1.0) -> float:
    """The seconds that the part `part` of the tasks (below 1) does not wait longer than; infinite where the slots
    cannot keep up."""
    if load <= 0:
        return 0.0
    if slots <= load:
        return math.inf
    waits = erlang_c(slots, load)
    if waits <= 1 - part:
        return 0.0
    return math.log(waits / (1 - part)) / _decay(slots, load, service_s, variability)


def mean_wait_s(slots: int, load: float, service_s: float, variability: float = 1.0) -> float:
    """Seconds that tasks wait on average, C·k·s / (c - a); infinite where the slots cannot keep up."""
    if load <= 0:
        return 0.0
    if slots <= load:
        return math.inf
    return erlang_c(slots, load) * variability * service_s / (slots - load)


def slots_for(load: float, service_s: float, target_s: float, part: float, variability: float = 1.0) -> int:
    """The fewest slots with which the part `part` of the tasks waits at most `target_s` seconds; at least 1.

    `load` as offered_load gives it, `part` above 0 and below 1. It ends, because with every slot the probability to
    wait falls.
    """
    if load <= 0:
        return 1
    blocked, slots = 1.0, 0
    while True:
        slots += 1
        blocked = load * blocked / (slots + load * blocked)
        if slots <= load:
            continue
        late = _waits(blocked, slots, load) * math.exp(-_decay(slots, load, service_s, variability) * target_s)
        if late <= 1 - part:
            return slots


def _waits(blocked: float, slots: int, load: float) -> float:
    return blocked / (1 - load / slots * (1 - blocked))


def _decay(slots: int, load: float, service_s: float, variability: float) -> float:
    """A second: how fast the probability to wait longer still falls."""
    scale_s = service_s * variability
    return math.inf if scale_s <= 0 else (slots - load) / scale_s
