"""Who may use the HTTP API: tokens, and the browsers that signed in with one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prismq.domain.account import ApiToken, Role, Session
from prismq.domain.errors import InvalidArgument
from prismq.storage.postgres.database import PostgresDatabase

_COLUMNS = "t.token_id, t.name, t.role, t.hint, t.created_at_utc, t.created_by, t.expires_at_utc, t.last_used_at_utc"
_TOKENS = f"SELECT {_COLUMNS} FROM api_tokens AS t"
_SESSION = (
    f"SELECT {_COLUMNS}, s.expires_at_utc FROM sessions AS s JOIN api_tokens AS t ON t.token_id = s.token_id"
    " WHERE s.session_hash = %s AND s.expires_at_utc > %s"
)
_ADD = (
    "INSERT INTO api_tokens AS t (name, role, token_hash, hint, created_at_utc, created_by, expires_at_utc)"
    f" VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}"
)


class PostgresAccounts:
    """The AccountStore protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def add_token(
        self, name: str, role: Role, token_hash: str, hint: str, by: str, now: float, expires_at: float | None = None
    ) -> ApiToken:
        """See AccountStore.add_token."""
        at = self._database.at
        values = (name, role.value, token_hash, hint, at(now), by, None if expires_at is None else at(expires_at))
        with self._database.transaction() as connection:
            rows = connection.execute(_ADD, values).fetchall()
        if not rows:
            raise InvalidArgument(f"there is a token called {name!r} already; revoke it first, or choose a name")
        return self._token(rows[0])

    def tokens(self) -> list[ApiToken]:
        """See AccountStore.tokens."""
        with self._database.reading() as connection:
            rows = connection.execute(f'{_TOKENS} ORDER BY t.name COLLATE "C"').fetchall()
        return [self._token(row) for row in rows]

    def token_of(self, token_hash: str) -> ApiToken | None:
        """See AccountStore.token_of."""
        with self._database.reading() as connection:
            rows = connection.execute(f"{_TOKENS} WHERE t.token_hash = %s", (token_hash,)).fetchall()
        return self._token(rows[0]) if rows else None

    def used(self, token_id: int, now: float) -> None:
        """See AccountStore.used."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE api_tokens SET last_used_at_utc = %s WHERE token_id = %s", (self._database.at(now), token_id)
            )

    def revoke_token(self, name: str) -> bool:
        """See AccountStore.revoke_token."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE token_id IN (SELECT token_id FROM api_tokens WHERE name = %s)", (name,)
            )
            return connection.execute("DELETE FROM api_tokens WHERE name = %s", (name,)).rowcount > 0

    def start_session(self, session_hash: str, token_id: int, expires_at: float, now: float) -> None:
        """See AccountStore.start_session."""
        at = self._database.at
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at_utc <= %s", (at(now),))
            connection.execute(
                "INSERT INTO sessions (session_hash, token_id, created_at_utc, expires_at_utc) VALUES (%s, %s, %s, %s)",
                (session_hash, token_id, at(now), at(expires_at)),
            )

    def session_of(self, session_hash: str, now: float) -> Session | None:
        """See AccountStore.session_of."""
        with self._database.reading() as connection:
            rows = connection.execute(_SESSION, (session_hash, self._database.at(now))).fetchall()
        return Session(self._token(rows[0][:-1]), self._database.back(rows[0][-1])) if rows else None

    def end_session(self, session_hash: str) -> bool:
        """See AccountStore.end_session."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM sessions WHERE session_hash = %s", (session_hash,)).rowcount > 0

    def _token(self, row: Sequence[Any]) -> ApiToken:
        token_id, name, role, hint, created_at, by, expires_at, used_at = row

        def epoch(moment: datetime | None) -> float | None:
            return None if moment is None else self._database.back(moment)

        return ApiToken(
            token_id, name, Role(role), hint, self._database.back(created_at), by, epoch(expires_at), epoch(used_at)
        )
