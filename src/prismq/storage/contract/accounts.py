"""Who may use the HTTP API: tokens, and the browsers that signed in with one."""

from __future__ import annotations

from typing import Protocol

from prismq.domain.account import ApiToken, Role, Session


class AccountStore(Protocol):
    """Tokens and sessions. Hashes are SHA-256 as hexadecimal text; the secrets themselves never come here."""

    def add_token(
        self, name: str, role: Role, token_hash: str, hint: str, by: str, now: float, expires_at: float | None = None
    ) -> ApiToken:
        """Keep a new token. Raises InvalidArgument where there is one of this name."""
        ...

    def tokens(self) -> list[ApiToken]:
        """Every token, expired ones too, by name."""
        ...

    def token_of(self, token_hash: str) -> ApiToken | None:
        """The token with this hash, expired or not; None where there is none, or it was revoked."""
        ...

    def used(self, token_id: int, now: float) -> None:
        """Note when a token was last used."""
        ...

    def revoke_token(self, name: str) -> bool:
        """Delete the token, and the sessions that were opened with it; False where there is none of this name."""
        ...

    def start_session(self, session_hash: str, token_id: int, expires_at: float, now: float) -> None:
        """Keep a new session. Those that are over are removed here."""
        ...

    def session_of(self, session_hash: str, now: float) -> Session | None:
        """The session with this hash; None where there is none, it is over, or its token was revoked."""
        ...

    def end_session(self, session_hash: str) -> bool:
        """Forget the session; False where there is none."""
        ...
