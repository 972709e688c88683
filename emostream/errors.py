"""Every error emostream raises, arranged by what the caller should do about it.

Each leaf also inherits the nearest builtin, so `except ConnectionError` works as expected. `cause` says whose fault it
is, `retryable` answers the one question a retry loop asks. `exit_code` is what the command line returns (the table is
in README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, ClassVar, Self, cast


class Cause(Enum):
    """Whose fault an error is, and so what may help (decision D15)."""

    SOURCE = "the source: it is the same wherever it is opened"
    WORKER = "this process or its machine: elsewhere it may work"
    PASSING = "something that comes back: wait, and try again"


class EmostreamError(Exception):
    """Base of all errors of this package; the message says what, expected, got and what to do.

    A class with more to say takes it as keyword arguments and keeps it in attributes. Attributes survive pickling,
    because Ray carries exceptions between processes that way.

    Attributes:
        message: the text.
        trace_id: the trace that the error ended, in hex; empty where none of its frames was traced.
    """

    cause: ClassVar[Cause] = Cause.WORKER
    exit_code: ClassVar[int] = 1

    @property
    def retryable(self) -> bool:
        """Whether the same may work here after a while."""
        return self.cause is Cause.PASSING

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.trace_id = ""

    def __str__(self) -> str:
        return self.message

    def saying(self, message: str) -> Self:
        """The same error, of the same class and attributes, with another text."""
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
    """A setting or an argument is wrong: stop at start-up."""

    exit_code = 2


class UnknownEventStreamError(ConfigError, LookupError):
    """Events of a stream were asked for that has none; its id may be misspelt.

    Attributes:
        stream_ids: the streams that were not found.
    """

    def __init__(self, message: str, *, stream_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.stream_ids = tuple(stream_ids)


class SourceError(EmostreamError):
    """One stream cannot go on; others are untouched."""

    cause = Cause.SOURCE
    exit_code = 3


class SourceUnavailableError(SourceError, ConnectionError):
    """The source cannot be reached or went away: back off and open it again."""

    cause = Cause.PASSING


class SourceTimeoutError(SourceError, TimeoutError):
    """The source did not answer in time: back off and open it again."""

    cause = Cause.PASSING


class SourceCutShortError(SourceUnavailableError):
    """The connection ended before all that was declared had come: damage, unless opening it again brings the rest."""

    exit_code = 4


class SourceRejectedError(SourceError, ValueError):
    """The source can never work as given: bad URL, missing file, refused login, no video, unknown codec."""


class SourceNotHereError(SourceRejectedError):
    """This process cannot use the source, for its settings, mounts, rights or network. Others may have others.

    Attributes:
        is_forbidden: settings are the reason.
        is_gone: the file is missing among others of its folder, so it is not the mount that is missing.
    """

    cause = Cause.WORKER

    def __init__(self, message: str, *, is_forbidden: bool = False, is_gone: bool = False) -> None:
        super().__init__(message)
        self.is_forbidden = is_forbidden
        self.is_gone = is_gone


class DecodeError(SourceError, ValueError):
    """A damaged part of the source: skip and count, or the clean end of a file that was cut."""

    exit_code = 4


class ModelError(EmostreamError):
    """A model cannot be used."""

    exit_code = 5


class ModelUnavailableError(ModelError, FileNotFoundError):
    """A model file is not in the model store and could not be brought there."""


class ManifestError(ModelError, ValueError):
    """A model file and its manifest do not fit each other or this version: stop at start-up."""


class EngineUnavailableError(ModelError, RuntimeError):
    """An engine's package or hardware is not on this machine: use another engine, or install what the message names.

    Attributes:
        engine: name of the engine; empty where the error is about no particular one.
    """

    def __init__(self, message: str, *, engine: str = "") -> None:
        super().__init__(message)
        self.engine = engine


class InferenceError(ModelError, RuntimeError):
    """One batch could not be computed: fail this batch and count it."""


class ClassifierUnavailableError(ModelError, ConnectionError):
    """What computes the model went away: start again, in a while."""

    cause = Cause.PASSING


class DetectorUnavailableError(ModelError, ConnectionError):
    """What searches for faces went away: start again, in a while."""

    cause = Cause.PASSING


class PublishError(EmostreamError):
    """An event could not be delivered, or not be read back.

    Attributes:
        url: address of the server, credentials masked; empty where there is none.
    """

    exit_code = 6

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class SinkUnavailableError(PublishError, ConnectionError):
    """The sink cannot be reached, or went away: back off and send again."""

    cause = Cause.PASSING


class EventRejectedError(PublishError, ValueError):
    """The sink will never take this event, or an entry read back is not an event: drop and count.

    Attributes:
        newer_epoch: epoch of the run that publishes this stream by now; None where the reason is another.
    """

    def __init__(self, message: str, *, url: str = "", newer_epoch: int | None = None) -> None:
        super().__init__(message, url=url)
        self.newer_epoch = newer_epoch


class ServiceUnavailableError(EmostreamError, ConnectionError):
    """The service does not answer over HTTP, or ended the connection: back off and call again."""

    cause = Cause.PASSING
    exit_code = 6


class RegistryError(EmostreamError):
    """The registry refused a command."""

    exit_code = 6


class RegistryUnavailableError(RegistryError, ConnectionError):
    """The registry cannot be reached, or takes nothing new for now: back off and try again."""

    cause = Cause.PASSING


class RecordError(EmostreamError, ValueError):
    """What another process wrote for us is damaged or of another version: a record, a report, a job, a preview."""

    exit_code = 6
