"""Who may use the HTTP API: tokens, and the browsers that signed in with one."""

from __future__ import annotations

import sqlite3

from prismq.domain.account import ApiToken, Role, Session
from prismq.domain.errors import InvalidArgument
from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.sqlite.database import QueueDatabase

_SESSION = (
    "SELECT s.expires_at_utc AS session_expires_at_utc, t.* FROM sessions AS s"
    " JOIN api_tokens AS t ON t.token_id = s.token_id WHERE s.session_hash = ? AND s.expires_at_utc > ?"
)


class SqliteAccounts:
    """The AccountStore protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def add_token(
        self, name: str, role: Role, token_hash: str, hint: str, by: str, now: float, expires_at: float | None = None
    ) -> ApiToken:
        """See AccountStore.add_token."""
        expires = None if expires_at is None else epoch_to_text(expires_at)
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM api_tokens WHERE name = ?", (name,)).fetchone():
                raise InvalidArgument(f"there is a token called {name!r} already; revoke it first, or choose a name")
            row = connection.execute(
                "INSERT INTO api_tokens (name, role, token_hash, hint, created_at_utc, created_by, expires_at_utc)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (name, role.value, token_hash, hint, epoch_to_text(now), by, expires),
            ).fetchone()
        return _token(row)

    def tokens(self) -> list[ApiToken]:
        """See AccountStore.tokens."""
        return [_token(row) for row in self._database.execute("SELECT * FROM api_tokens ORDER BY name").fetchall()]

    def token_of(self, token_hash: str) -> ApiToken | None:
        """See AccountStore.token_of."""
        row = self._database.execute("SELECT * FROM api_tokens WHERE token_hash = ?", (token_hash,)).fetchone()
        return _token(row) if row else None

    def used(self, token_id: int, now: float) -> None:
        """See AccountStore.used."""
        self._database.execute(
            "UPDATE api_tokens SET last_used_at_utc = ? WHERE token_id = ?", (epoch_to_text(now), token_id)
        )

    def revoke_token(self, name: str) -> bool:
        """See AccountStore.revoke_token."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE token_id IN (SELECT token_id FROM api_tokens WHERE name = ?)", (name,)
            )
            return connection.execute("DELETE FROM api_tokens WHERE name = ?", (name,)).rowcount > 0

    def start_session(self, session_hash: str, token_id: int, expires_at: float, now: float) -> None:
        """See AccountStore.start_session."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at_utc <= ?", (epoch_to_text(now),))
            connection.execute(
                "INSERT INTO sessions (session_hash, token_id, created_at_utc, expires_at_utc) VALUES (?, ?, ?, ?)",
                (session_hash, token_id, epoch_to_text(now), epoch_to_text(expires_at)),
            )

    def session_of(self, session_hash: str, now: float) -> Session | None:
        """See AccountStore.session_of."""
        row = self._database.execute(_SESSION, (session_hash, epoch_to_text(now))).fetchone()
        return Session(_token(row), text_to_epoch(row["session_expires_at_utc"])) if row else None

    def end_session(self, session_hash: str) -> bool:
        """See AccountStore.end_session."""
        return self._database.execute("DELETE FROM sessions WHERE session_hash = ?", (session_hash,)).rowcount > 0


def _token(row: sqlite3.Row) -> ApiToken:
    def epoch(name: str) -> float | None:
        return text_to_epoch(row[name]) if row[name] else None

    return ApiToken(
        row["token_id"],
        row["name"],
        Role(row["role"]),
        row["hint"],
        text_to_epoch(row["created_at_utc"]),
        row["created_by"],
        epoch("expires_at_utc"),
        epoch("last_used_at_utc"),
    )
