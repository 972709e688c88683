"""Authentication of the HTTP interface. Tokens are known by their SHA-256 only."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter, ValidationError

from emostream.config import TokenSettings
from emostream.errors import ConfigError

logger = logging.getLogger(__name__)

Scope = Literal["read", "fetch", "write"]

_LOOK_SECONDS = 1.0  # how often the file is compared with what was read
_ENTRIES = TypeAdapter(tuple[TokenSettings, ...])


def token_hash(token: str) -> str:
    """What the settings keep of a token.

    Plain SHA-256 suffices because tokens are long and random, not chosen by people.

    >>> token_hash("secret")[:8]
    '2bb80d53'
    """
    return hashlib.sha256(token.encode()).hexdigest()


_GRANTED_BY: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read", "fetch", "write"}),
    "fetch": frozenset({"fetch", "write"}),
    "write": frozenset({"write"}),
}


def allows(entry: TokenSettings, scope: Scope) -> bool:
    """Whether a token may do this; each scope includes those before it."""
    return not _GRANTED_BY[scope].isdisjoint(entry.scopes)


class Tokens:
    """The known tokens: those of the settings, and those of a file, which may change at any time.

    Args:
        entries: of the settings.
        file: YAML or JSON, a list of entries as in the settings; None for no file.

    Raises:
        ConfigError: the file cannot be read.
    """

    def __init__(self, entries: Iterable[TokenSettings] = (), *, file: Path | None = None) -> None:
        self._of_settings = tuple(entries)
        self._file = file
        self._text = b""
        self._known = self._of_settings
        self._held: dict[asyncio.Event, str] = {}  # by requests in progress: what to set, hash of the token
        if file is not None:
            self._text = _content_of(file)
            self._known += _read(self._text, file)

    @property
    def are_needed(self) -> bool:
        """Whether a request needs a token; also while the file has none."""
        return self._file is not None or bool(self._of_settings)

    def find(self, token: str) -> TokenSettings | None:
        """The entry of a token; takes the same time whichever it is."""
        hashed = token_hash(token)
        matching = [entry for entry in self._known if hmac.compare_digest(entry.sha256, hashed)]
        return matching[0] if matching else None

    def of(self, scope: Mapping[str, Any]) -> TokenSettings | None:
        """The entry of the token that an HTTP request (its ASGI scope) carries."""
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        scheme, _, token = header.partition(" ")
        return self.find(token.strip()) if scheme.lower() == "bearer" else None

    def client_of(self, scope: Mapping[str, Any]) -> str:
        """Who counts as one client: all who send the same known token, else all at one address.

        Clients that guess tokens are counted by address as well.
        """
        entry = self.of(scope)
        return entry.sha256 if entry is not None else str((scope.get("client") or ("unknown",))[0])

    @contextlib.contextmanager
    def used(self, entry: TokenSettings) -> Iterator[asyncio.Event]:
        """Around a request with this token; the event is set when the token is withdrawn."""
        is_withdrawn = asyncio.Event()
        self._held[is_withdrawn] = entry.sha256
        try:
            yield is_withdrawn
        finally:
            del self._held[is_withdrawn]

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Read the file again whenever it changes, while the context is open."""
        if self._file is None:
            yield
            return
        following = asyncio.create_task(self._follow(self._file), name="tokens")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self, file: Path) -> None:
        refused = b""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                text = await asyncio.to_thread(_content_of, file)
                if text in (self._text, refused):
                    continue
                refused = text
                self._replace(_read(text, file))
                self._text = text
            except ConfigError as exc:
                logger.error("%s; the tokens read before remain valid", exc)

    def _replace(self, entries: tuple[TokenSettings, ...]) -> None:
        self._known = self._of_settings + entries
        known = {entry.sha256 for entry in self._known}
        withdrawn = [event for event, hashed in self._held.items() if hashed not in known]
        for event in withdrawn:
            event.set()
        logger.info("%d tokens are known now; %d requests of withdrawn ones end", len(self._known), len(withdrawn))


def _content_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise ConfigError(f"service.tokens_file {file} cannot be read: {exc.strerror}") from exc


def _read(text: bytes, file: Path) -> tuple[TokenSettings, ...]:
    try:
        return _ENTRIES.validate_python(yaml.safe_load(text) or ())
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as exc:
        where = [".".join(map(str, error["loc"])) for error in exc.errors()] if isinstance(exc, ValidationError) else []
        raise ConfigError(
            f"service.tokens_file {file}: expected a list of tokens with name, sha256 and scopes"
            f"{' (see ' + ', '.join(where) + ')' if where else ''}"
        ) from None  # its text repeats the content
