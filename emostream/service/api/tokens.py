"""Authentication of the HTTP interface. Tokens are known by their SHA-256 only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from emostream.config import TokenSettings

Scope = Literal["read", "write"]


def token_hash(token: str) -> str:
    """What the settings keep of a token.

    Plain SHA-256 suffices because tokens are long and random, not chosen by people.

    >>> token_hash("secret")[:8]
    '2bb80d53'
    """
    return hashlib.sha256(token.encode()).hexdigest()


def find_token(token: str, known: Sequence[TokenSettings]) -> TokenSettings | None:
    """The entry of a token; takes the same time whichever it is."""
    hashed = token_hash(token)
    matching = [entry for entry in known if hmac.compare_digest(entry.sha256, hashed)]
    return matching[0] if matching else None


def token_of(scope: Mapping[str, Any], known: Sequence[TokenSettings]) -> TokenSettings | None:
    """The entry of the token that an HTTP request (its ASGI scope) carries."""
    header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    scheme, _, token = header.partition(" ")
    return find_token(token.strip(), known) if scheme.lower() == "bearer" else None


def client_of(scope: Mapping[str, Any], known: Sequence[TokenSettings]) -> str:
    """Who counts as one client: all who send the same known token, else all at one address.

    Whoever makes tokens up counts by address as well.
    """
    entry = token_of(scope, known)
    return entry.sha256 if entry is not None else str((scope.get("client") or ("unknown",))[0])


def allows(entry: TokenSettings, scope: Scope) -> bool:
    """Whether a token may do this; `write` includes `read`."""
    return scope in entry.scopes or "write" in entry.scopes
