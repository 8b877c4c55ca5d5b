"""The database: how big it is, and how the process that answers gets on with it."""

from __future__ import annotations

from collections.abc import Callable

from prismq.observability.exposition.samples import Samples, histogram_of_counts
from prismq.storage.contract import Store

Slots = Callable[[], tuple[int, int]]  # how many are in use, and how many there are


def database_samples(store: Store, response_s: float, slots: Slots | None) -> Samples:
    """`slots`: what a process without a pool of connections has in its place, such as its threads."""
    stats, connections = store.keeping.stats(), store.insight.connections()
    samples: Samples = {
        "prismq_database_size_bytes": [((), stats.total_bytes + stats.wal_bytes)],
        "prismq_database_wal_bytes": [((), stats.wal_bytes)],
        "prismq_database_unused_bytes": [((), stats.freelist_count * stats.page_size)],
        "prismq_database_connections": [(("active",), connections.active), (("idle",), connections.idle)],
        "prismq_database_response_seconds": [((), response_s)],
    }
    most, in_use = store.insight.connections_max(), connections.active
    if most is None and slots is not None:
        in_use, most = slots()
    if most is not None:
        samples["prismq_database_pool_connections"] = [
            (("in_use",), in_use),
            (("available",), max(0, most - in_use)),
        ]
    found = store.insight.queries()
    if found is not None:
        samples["prismq_database_query_seconds"] = [
            ((kind,), histogram_of_counts(timings.counts, timings.sum_s)) for kind, timings in found.statements.items()
        ]
        samples["prismq_database_transaction_seconds"] = [
            ((outcome,), histogram_of_counts(timings.counts, timings.sum_s))
            for outcome, timings in found.transactions.items()
        ]
        samples["prismq_database_lock_wait_seconds_total"] = [((), found.lock_wait_s)]
        samples["prismq_database_busy_total"] = [((), found.busy)]
    return samples
