"""Tokens and session ids of the HTTP server: made of chance, kept as hashes."""

from __future__ import annotations

import secrets
from hashlib import sha256

from prismq.domain.account import ApiToken, AuditEntry, Role
from prismq.domain.errors import InvalidArgument
from prismq.domain.limits import NAME_CHARS_MAX
from prismq.domain.times import epoch_to_text
from prismq.storage.contract import Store

TOKEN_PREFIX = "prismq_"  # noqa: S105 - what a scanner of repositories knows a leaked token by
_HINT_CHARS = len(TOKEN_PREFIX) + 4


def new_token() -> str:
    """A new API token: 256 bits of chance."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_session() -> str:
    """The secret of a new session."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a token or session.

    Plain SHA-256, not a slow password hash: nobody can try 2^256 secrets, however fast the hash is, and a slow one
    would let strangers keep the server busy with wrong ones. The look-up goes by this hash, so that how long it takes
    says nothing about the secret.
    """
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def hint(token: str) -> str:
    """The first characters, so that people can tell tokens apart."""
    return token[:_HINT_CHARS]


def create_token(
    store: Store,
    now: float,
    name: str,
    role: Role,
    expires_at: float | None = None,
    *,
    by: str,
    via: str,
    origin: str | None = None,
) -> tuple[ApiToken, str]:
    """Make a token, and note it in the audit log: the token as it is kept, and the secret, which is kept nowhere.

    Raises InvalidArgument for a name that is taken, or is none, and for a time that is over.
    """
    if not (0 < len(name.strip()) == len(name) <= NAME_CHARS_MAX and name.isprintable()):
        raise InvalidArgument(f"a token's name is printable text of 1 to {NAME_CHARS_MAX} characters, not {name!r:.99}")
    if expires_at is not None and expires_at <= now:
        raise InvalidArgument("a token that expires in the past opens nothing; none was made")
    secret = new_token()
    made = store.accounts.add_token(name, role, digest(secret), hint(secret), by, now, expires_at)
    which = {"role": role.value} | ({} if expires_at is None else {"expires_at_utc": epoch_to_text(expires_at)})
    store.audit.add(AuditEntry(by, "tokens.create", now, name, which, origin=origin, via=via))
    return made, secret
