"""The error tree: pickling, what a caller may rely on."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from emostream import errors
from emostream.errors import Cause, EmostreamError

CLASSES = [
    item
    for _, item in inspect.getmembers(errors, inspect.isclass)
    if issubclass(item, EmostreamError) and item.__module__ == errors.__name__
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_survives_pickling_with_its_fields(cls: type[EmostreamError], protocol: int) -> None:
    error = cls("it broke; do this", stream_id="door", num_tries=3)
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is cls
    assert str(back) == "it broke; do this"
    assert (back.stream_id, back.num_tries, back.fields) == ("door", 3, error.fields)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_survives_copying_raising_and_chaining(cls: type[EmostreamError]) -> None:
    assert copy.copy(cls("text", path="x")).path == "x"
    with pytest.raises(cls, match="outer") as caught:
        raise cls("outer") from ValueError("inner")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_says_what_the_caller_should_do(cls: type[EmostreamError]) -> None:
    assert isinstance(cls.cause, Cause)
    assert cls("text").retryable is (cls.cause is Cause.PASSING)
    assert 1 <= cls.exit_code <= 125  # what a shell does not use itself
    assert cls.__doc__


def test_only_lost_connections_are_retryable() -> None:
    assert {cls.__name__ for cls in CLASSES if cls.cause is Cause.PASSING} == {
        "ClassifierUnavailableError",
        "DetectorUnavailableError",
        "SourceCutShortError",
        "SourceUnavailableError",
        "SourceTimeoutError",
        "SinkUnavailableError",
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
    ],
)
def test_each_leaf_is_the_nearest_builtin(cls: type[EmostreamError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin):
        raise cls("text")


def test_a_field_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no field 'colour'"):
        _ = EmostreamError("text").colour
    assert not hasattr(EmostreamError("text"), "colour")
