"""Every error emostream raises, arranged by what the caller should do about it.

Each leaf also inherits the nearest builtin, so `except ConnectionError` works as expected. `cause` says whose fault it
is, `retryable` answers the one question a retry loop asks. `exit_code` is what the command line returns (the table is
in README.md).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar


class Cause(Enum):
    """Whose fault an error is, and so what may help (decision D15)."""

    SOURCE = "the source: it is the same wherever it is opened"
    WORKER = "this process or its machine: elsewhere it may work"
    PASSING = "something that comes back: wait, and try again"


class EmostreamError(Exception):
    """Base of all errors of this package; the message says what, expected, got and what to do.

    Keyword fields (for example `stream_id`) are kept in `fields` and as attributes. They survive pickling, because Ray
    carries exceptions between processes that way.
    """

    cause: ClassVar[Cause] = Cause.WORKER
    exit_code: ClassVar[int] = 1

    @property
    def retryable(self) -> bool:
        """Whether the same may work here after a while."""
        return self.cause is Cause.PASSING

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call cls(message) and lose the keyword fields, or fail under a builtin co-base.
        return (_rebuild, (type(self), self.message, self.fields))


def _rebuild(cls: type[EmostreamError], message: str, fields: dict[str, Any]) -> EmostreamError:
    return cls(message, **fields)


class ConfigError(EmostreamError, ValueError):
    """A setting or an argument is wrong: stop at start-up."""

    exit_code = 2


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

    The field `is_forbidden` is set where settings are the reason; `is_gone` where the file is missing among others of
    its folder: then it is not the mount that is missing.
    """

    cause = Cause.WORKER


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
    """An engine's package or hardware is not on this machine: use another engine, or install what the message names."""


class InferenceError(ModelError, RuntimeError):
    """One batch could not be computed: fail this batch and count it."""


class ClassifierUnavailableError(ModelError, ConnectionError):
    """What computes the model went away: start again, in a while."""

    cause = Cause.PASSING


class DetectorUnavailableError(ModelError, ConnectionError):
    """What searches for faces went away: start again, in a while."""

    cause = Cause.PASSING


class PublishError(EmostreamError):
    """An event could not be delivered."""

    exit_code = 6


class SinkUnavailableError(PublishError, ConnectionError):
    """The sink cannot be reached, or went away: back off and send again."""

    cause = Cause.PASSING


class EventRejectedError(PublishError, ValueError):
    """The sink will never take this event, or an entry read back is not an event: drop and count."""
