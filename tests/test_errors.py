"""The error tree: pickling, what a caller may rely on."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from emostream import errors
from emostream.client.http.calls import ApiError
from emostream.decode.packet_reader import OddMultipartError, SinglePictureError
from emostream.errors import Cause, EmostreamError
from emostream.publish.spool.sink import SpoolBusyError
from emostream.service.registry.jobs import JobExistsError, UnknownJobError
from emostream.service.registry.streams import (
    NotFailedError,
    OwnerFullError,
    RegistryFullError,
    StreamBusyError,
    StreamExistsError,
    UnknownStreamError,
    UnreadableRecordError,
)
from emostream.service.senders.refusal import RefusedError

TREE = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, EmostreamError) and item.__module__ == errors.__name__
]
ELSEWHERE = [
    ApiError,
    JobExistsError,
    NotFailedError,
    OwnerFullError,
    RefusedError,
    RegistryFullError,
    OddMultipartError,
    SinglePictureError,
    SpoolBusyError,
    StreamBusyError,
    StreamExistsError,
    UnknownJobError,
    UnknownStreamError,
    UnreadableRecordError,
]
CLASSES: list[type[EmostreamError]] = [*TREE, *ELSEWHERE]

each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def _made(cls: type[EmostreamError]) -> EmostreamError:
    """An error with a value in each of its own fields."""
    names = inspect.signature(cls).parameters.keys() - {"message"}
    return cls("it broke; do this", **{name: 409 if name == "status" else f"the {name}" for name in names})


@each_class
def test_survives_pickling_with_its_fields(cls: type[EmostreamError]) -> None:
    error = _made(cls)
    error.trace_id = "ab12"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is cls, protocol
        assert str(back) == "it broke; do this"
        assert vars(back) == vars(error)
        assert back.args == error.args


@each_class
def test_survives_copying_raising_and_chaining(cls: type[EmostreamError]) -> None:
    error = _made(cls)
    assert vars(copy.copy(error)) == vars(error)
    with pytest.raises(cls) as caught:
        raise error from ValueError("inner")
    assert isinstance(caught.value.__cause__, ValueError)


@each_class
def test_says_what_the_caller_should_do(cls: type[EmostreamError]) -> None:
    assert isinstance(cls.cause, Cause)
    assert _made(cls).retryable is (cls.cause is Cause.PASSING)
    assert 1 <= cls.exit_code <= 125  # what a shell does not use itself
    assert cls.__doc__


def test_every_class_of_the_package_is_looked_at() -> None:
    found: set[type[EmostreamError]] = set()
    waiting = [EmostreamError]
    while waiting:
        cls = waiting.pop()
        found.add(cls)
        waiting += cls.__subclasses__()
    assert {cls for cls in found if cls.__module__.startswith("emostream.")} <= set(CLASSES)


def test_only_lost_connections_are_retryable() -> None:
    assert {cls.__name__ for cls in CLASSES if cls.cause is Cause.PASSING} == {
        "ClassifierUnavailableError",
        "DetectorUnavailableError",
        "OddMultipartError",
        "RegistryUnavailableError",
        "ServiceUnavailableError",
        "SinglePictureError",
        "SinkUnavailableError",
        "SourceCutShortError",
        "SourceTimeoutError",
        "SourceUnavailableError",
    }


def test_only_the_source_itself_is_at_fault_for_these() -> None:
    at_fault = {cls.__name__ for cls in CLASSES if cls.cause is Cause.SOURCE}
    assert at_fault == {"SourceError", "SourceRejectedError", "DecodeError"}


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.SourceUnavailableError, ConnectionError),
        (errors.SourceTimeoutError, TimeoutError),
        (errors.SourceRejectedError, ValueError),
        (errors.DecodeError, ValueError),
        (errors.ModelUnavailableError, FileNotFoundError),
        (errors.ManifestError, ValueError),
        (errors.InferenceError, RuntimeError),
        (errors.SinkUnavailableError, ConnectionError),
        (errors.EventRejectedError, ValueError),
        (errors.ServiceUnavailableError, ConnectionError),
        (errors.RegistryUnavailableError, ConnectionError),
        (errors.RecordError, ValueError),
    ],
)
def test_each_leaf_is_the_nearest_builtin(cls: type[EmostreamError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin):
        raise cls("text")


def test_what_is_no_field_is_no_attribute() -> None:
    assert not hasattr(EmostreamError("text"), "colour")
    with pytest.raises(TypeError):
        EmostreamError("text", colour="red")  # type: ignore[call-arg]
