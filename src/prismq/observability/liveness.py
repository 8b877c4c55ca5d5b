"""Which workers are alive, by their rows: those of real workers and those written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from prismq.domain.errors import InvalidArgument
from prismq.domain.times import to_epoch, to_text
from prismq.domain.worker import Worker, WorkerStatus

STALE_S = 300.0
_ENDED = (WorkerStatus.STOPPED.value, WorkerStatus.LOST.value)


def age_s(worker: Worker, now: float) -> float:
    """Seconds since the last heartbeat; infinite where the row has none that can be read."""
    return math.inf if worker.heartbeat_utc is None else max(0.0, now - to_epoch(worker.heartbeat_utc))


def is_active(worker: Worker, now: float, within_s: float) -> bool:
    """Its heartbeat is at most so old, and it has not ended."""
    return worker.status not in _ENDED and age_s(worker, now) <= within_s


def is_stale(worker: Worker, now: float, after_s: float) -> bool:
    """Its heartbeat is older than that, although it has not said that it ended."""
    return worker.status not in _ENDED and age_s(worker, now) > after_s


def row_of(worker: Worker, now: float) -> dict[str, Any]:
    """The first keys of every row about a worker. `capabilities` is JSON, `heartbeat_utc` UTC text; None where the
    row has no heartbeat that can be read."""
    age = age_s(worker, now)
    return {
        "worker_id": worker.worker_id,
        "capabilities": worker.capabilities,
        "heartbeat_utc": None if worker.heartbeat_utc is None else to_text(worker.heartbeat_utc),
        "seconds_since_heartbeat": int(age) if math.isfinite(age) else None,
    }


def capabilities_json(worker_id: str, capabilities: Mapping[str, Any] | None) -> str:
    """Capabilities as the column has them. Raises InvalidArgument where JSON cannot say them."""
    try:
        return json.dumps(dict(capabilities or {}), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"the capabilities of worker {worker_id!r} are not a mapping that JSON can say ({error}). "
            f"Nothing was written"
        ) from None
