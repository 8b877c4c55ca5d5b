"""What the children of children.py play on PostgreSQL; their names begin with `pg_`."""

from __future__ import annotations

from typing import Any

from benchmarks.application import make
from benchmarks.harness import sample
from benchmarks.postgres import raw


def pg_enqueue(ours: str, plain: str, chunks: int, chunk: int, bulk: int) -> dict[str, list[Any]]:
    """Enqueue in turn: ours and raw; then the same in bulk."""
    q, noop = make(ours)
    connection = raw.connect(plain)
    connection.autocommit = True  # one statement, one exchange with the server, one commit
    taken: dict[str, list[Any]] = {name: [] for name in ("ours", "raw", "ours many", "raw many")}

    def raw_one_by_one() -> None:
        for i in range(chunk):
            connection.execute(raw.INSERT, ("noop", f'{{"n":{i}}}'))

    def ours_one_by_one() -> None:
        for i in range(chunk):
            noop.enqueue(i)

    def raw_many() -> None:
        raw.copy(connection, bulk)

    def ours_many() -> None:
        noop.enqueue_many([(i,) for i in range(bulk)])

    for number in range(chunks + 1):
        now = {
            "ours": sample(chunk, ours_one_by_one),
            "raw": sample(chunk, raw_one_by_one),
            "raw many": sample(bulk, raw_many),
            "ours many": sample(bulk, ours_many),
        }
        for name, one in now.items() if number else ():  # the first of each only warms up
            taken[name].append(vars(one))
    connection.close()
    q.close()
    return taken


def pg_raw_drain(url: str, n: int, batch: int) -> dict[str, Any]:
    """Claim and complete `n` rows in batches."""
    connection = raw.connect(url)
    raw.copy(connection, n)
    raw.settle_down(connection)
    one = sample(n, lambda: raw.drain(connection, batch))
    connection.close()
    return vars(one)


def pg_claims(**arguments: Any) -> Any:
    """See claims.py."""
    from benchmarks.postgres.claims import measure

    return measure(**arguments)


def pg_churn(**arguments: Any) -> Any:
    """See claims.py."""
    from benchmarks.postgres.claims import churn

    return churn(**arguments)


def pg_ask_figures(**arguments: Any) -> Any:
    """See asking.py."""
    from benchmarks.postgres.asking import measure

    return measure(**arguments)


ROLES = {role.__name__: role for role in (pg_enqueue, pg_raw_drain, pg_claims, pg_churn, pg_ask_figures)}
