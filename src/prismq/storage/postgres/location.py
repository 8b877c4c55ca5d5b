"""A URL of PostgreSQL, read: what the driver gets, the schema, and a name that may be shown to anybody."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ProgrammingError

from prismq.domain.errors import ConfigurationError

SCHEMA = "public"
POOL_SIZE = 10  # connections of one process at most
POOL_SIZE_MAX = 500

# A plain lower-case name needs no quotes in any tool.
_PORTS = re.compile(r"[0-9,]*")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class Location(NamedTuple):
    """Where a queue is. `conninfo` is what libpq takes, and may hold a password: it is never shown."""

    conninfo: dict[str, Any]
    schema: str
    pool_size: int

    @property
    def name(self) -> str:
        """`database "q" at db.example:5432`, and the schema where it is not the usual one."""
        hosts = str(self.conninfo.get("host") or self.conninfo.get("hostaddr") or "local socket").split(",")
        ports = str(self.conninfo.get("port") or "5432").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        places = ",".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))
        database = self.conninfo.get("dbname") or self.conninfo.get("user") or "(default)"
        schema = "" if self.schema == SCHEMA else f', schema "{self.schema}"'
        return f'database "{database}" at {places}{schema}'


def read_url(url: str, *, schema: str | None = None, pool_size: int | None = None) -> Location:
    """Read `postgresql://user:password@host:port/database?option=value`.

    Options are libpq's (`sslmode=require`, `connect_timeout=5`, several hosts …) and two of ours: `schema`, so that
    several queues share a database, and `pool_size`, the most connections of one process. The arguments of the same
    names win. Raises ConfigurationError; a password is never part of it.
    """
    plain, mark, options = url.partition("?")
    pairs = parse_qsl(options, keep_blank_values=True) if mark else []
    ours = {key: value for key, value in pairs if key in ("schema", "pool_size")}
    rest = [(key, value) for key, value in pairs if key not in ours]
    try:
        # `+` for a space is the form's, not the URL's: libpq reads %20 alone.
        conninfo = conninfo_to_dict(plain + ("?" + urlencode(rest).replace("+", "%20") if rest else ""))
        # A password that was not quoted may have become any of these, and they are shown.
        if "@" in str(conninfo.get("host", "")) or not _PORTS.fullmatch(str(conninfo.get("port", ""))):
            raise ProgrammingError("no host, or no port")
    except ProgrammingError:
        # What libpq says of it may quote a piece of the password.
        raise ConfigurationError(
            "the URL of the PostgreSQL database cannot be read. It looks like postgresql://user:password@host:5432/"
            "database?sslmode=require; in a password, write @ as %40, / as %2F, : as %3A and % as %25"
        ) from None
    return Location(
        dict(conninfo), _schema(schema or ours.get("schema") or SCHEMA), _pool_size(pool_size or ours.get("pool_size"))
    )


def _schema(text: str) -> str:
    if _NAME.fullmatch(text) and not text.startswith("pg_"):
        return text
    raise ConfigurationError(
        f"{text!r} is no schema for a queue: give a name of lower-case letters, digits and _, at most 63 of them, "
        f"that does not begin with pg_"
    )


def _pool_size(value: str | int | None) -> int:
    if value is None:
        return POOL_SIZE
    try:
        size = int(value)
    except ValueError:
        size = 0
    if 2 <= size <= POOL_SIZE_MAX:
        return size
    raise ConfigurationError(f"pool_size={value} in the URL of the database: give a number from 2 to {POOL_SIZE_MAX}")
