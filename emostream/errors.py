"""All errors that emostream raises, organised by what the caller should do.

Each leaf also inherits the nearest builtin, so that for example `except ConnectionError` works. `cause` says where the
problem is, `retryable` whether to try again. `exit_code` is that of the command line (table in README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, ClassVar, Self, cast


class Cause(Enum):
    """Where the problem is, and so what may help."""

    SOURCE = "the source: it fails wherever it is opened"
    WORKER = "this process or its machine: another worker may succeed"
    PASSING = "a temporary problem: wait and try again"


class EmostreamError(Exception):
    """Base of all errors of this package. The message says what happened, what was expected, and what to do.

    Subclasses with more data take it as keyword arguments and keep it in attributes, which survive pickling, because
    Ray passes exceptions between processes that way.

    Attributes:
        message: the text.
        trace_id: trace of the frame that failed, in hex; empty when it was not traced.
    """

    cause: ClassVar[Cause] = Cause.WORKER
    exit_code: ClassVar[int] = 1

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later in this process."""
        return self.cause is Cause.PASSING

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.trace_id = ""

    def __str__(self) -> str:
        return self.message

    def saying(self, message: str) -> Self:
        """A copy with another message."""
        error = _rebuild(type(self), (message,), vars(self) | {"message": message})
        return cast("Self", error)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls cls(message), which fails where a keyword argument is required.
        return (_rebuild, (type(self), self.args, vars(self).copy()))


def _rebuild(cls: type[EmostreamError], args: tuple[Any, ...], attributes: dict[str, Any]) -> EmostreamError:
    error = cls.__new__(cls, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class ConfigError(EmostreamError, ValueError):
    """A setting or an argument is invalid: stop at start-up."""

    exit_code = 2


class UnknownEventStreamError(ConfigError, LookupError):
    """Events of an unknown stream were requested; its id may be misspelt.

    Attributes:
        stream_ids: the streams that were not found.
    """

    def __init__(self, message: str, *, stream_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.stream_ids = tuple(stream_ids)


class SourceError(EmostreamError):
    """One stream cannot continue; others are not affected."""

    cause = Cause.SOURCE
    exit_code = 3


class SourceUnavailableError(SourceError, ConnectionError):
    """The source cannot be reached or was lost: reconnect with back-off."""

    cause = Cause.PASSING


class SourceTimeoutError(SourceError, TimeoutError):
    """The source did not respond in time: reconnect with back-off."""

    cause = Cause.PASSING


class SourceCutShortError(SourceUnavailableError):
    """The connection ended before all declared data arrived: the data is damaged unless a new attempt completes it."""

    exit_code = 4


class SourceRejectedError(SourceError, ValueError):
    """The source can never work as configured: bad URL, missing file, refused login, no video, unknown codec."""


class SourceNotHereError(SourceRejectedError):
    """This process cannot use the source because of its settings, mounts, permissions or network. Others may.

    Attributes:
        is_forbidden: whether settings are the reason.
        is_gone: whether the file is missing while others of its folder exist, so that the mount is present.
    """

    cause = Cause.WORKER

    def __init__(self, message: str, *, is_forbidden: bool = False, is_gone: bool = False) -> None:
        super().__init__(message)
        self.is_forbidden = is_forbidden
        self.is_gone = is_gone


class DecodeError(SourceError, ValueError):
    """A part of the source is damaged: skip and count it, or end a truncated file."""

    exit_code = 4


class ModelError(EmostreamError):
    """A model cannot be used."""

    exit_code = 5


class ModelUnavailableError(ModelError, FileNotFoundError):
    """A model file is not in the model store and could not be pulled."""


class ManifestError(ModelError, ValueError):
    """A model file and its manifest do not match each other or this version: stop at start-up."""


class EngineUnavailableError(ModelError, RuntimeError):
    """An engine's package or hardware is missing: use another engine, or install what the message names.

    Attributes:
        engine: name of the engine; empty where the error concerns no particular one.
    """

    def __init__(self, message: str, *, engine: str = "") -> None:
        super().__init__(message)
        self.engine = engine


class InferenceError(ModelError, RuntimeError):
    """One batch could not be computed: count it as failed."""


class ClassifierUnavailableError(ModelError, ConnectionError):
    """The shared classifier is unavailable: restart the stream after a pause."""

    cause = Cause.PASSING


class DetectorUnavailableError(ModelError, ConnectionError):
    """The shared detector is unavailable: restart the stream after a pause."""

    cause = Cause.PASSING


class PublishError(EmostreamError):
    """An event could not be delivered or read.

    Attributes:
        url: address of the server with masked credentials; empty where there is none.
    """

    exit_code = 6

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class SinkUnavailableError(PublishError, ConnectionError):
    """The sink cannot be reached or was lost: send again with back-off."""

    cause = Cause.PASSING


class EventRejectedError(PublishError, ValueError):
    """The sink will never accept this event, or an entry is not an event: drop and count it.

    Attributes:
        newer_epoch: epoch of the newer run that publishes this stream; None for other reasons.
    """

    def __init__(self, message: str, *, url: str = "", newer_epoch: int | None = None) -> None:
        super().__init__(message, url=url)
        self.newer_epoch = newer_epoch


class ServiceUnavailableError(EmostreamError, ConnectionError):
    """The service does not respond over HTTP, or closed the connection: call again with back-off."""

    cause = Cause.PASSING
    exit_code = 6


class RegistryError(EmostreamError):
    """The registry rejected a command."""

    exit_code = 6


class RegistryUnavailableError(RegistryError, ConnectionError):
    """The registry cannot be reached, or accepts no writes now: try again with back-off."""

    cause = Cause.PASSING


class RecordError(EmostreamError, ValueError):
    """An entry written by another process is damaged or of another version: a record, a report, a job, a preview."""

    exit_code = 6
