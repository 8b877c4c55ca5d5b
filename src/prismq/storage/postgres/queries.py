"""This engine's queries, loaded by name at import and held as constants."""

from __future__ import annotations

from functools import partial

from prismq.storage.sql import load_sql

query = partial(load_sql, "prismq.storage.postgres")
