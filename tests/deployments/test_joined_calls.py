"""Crops of several streams in one call: each stream gets its own rows, and its own errors."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt
import pytest

from emostream.deployments.joined_calls import JoinedCalls
from emostream.errors import ClassifierUnavailableError, InferenceError
from emostream.vision.classify.classifier import Classified

Crops = npt.NDArray[np.uint8]


class Classifier:
    """Answers with the mean of each crop; a crop of 255 fails. Remembers its calls."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.sizes: list[int] = []
        self.num_running = self.most_running = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._is_gone = is_gone

    async def __call__(self, crops: Crops) -> Classified:
        self.sizes.append(len(crops))
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        await self.may_answer.wait()
        self.num_running -= 1
        if self._is_gone:
            raise ClassifierUnavailableError("gone")
        if (crops == 255).any():
            raise InferenceError("too bright")
        return Classified(crops.mean(axis=(1, 2), dtype=np.float32)[:, None], 0.0, 0.001 * len(crops))


def joined(classifier: Classifier) -> JoinedCalls:
    def is_due_to_crops(exc: Exception) -> bool:
        return isinstance(exc, InferenceError)

    return JoinedCalls(classifier, max_crops=16, is_due_to_crops=is_due_to_crops, window_seconds=0.005)


def crops_of(value: int, num: int) -> Crops:
    return np.full((num, 4, 4), value, np.uint8)


async def test_what_streams_ask_within_a_window_is_one_call() -> None:
    calls = joined(classifier := Classifier())
    answers = await asyncio.gather(*(calls.classify(crops_of(value, 2), may_wait=True) for value in range(8)))
    assert classifier.sizes == [16]
    for value, answer in enumerate(answers):
        assert answer.probabilities.ravel().tolist() == [value, value]
        assert answer.compute_seconds == pytest.approx(0.002)


async def test_a_call_is_no_larger_than_allowed_and_none_is_lost() -> None:
    calls = joined(classifier := Classifier())
    sizes = [5, 16, 1, 7, 9, 16, 3]
    answers = await asyncio.gather(*(calls.classify(crops_of(size, size), may_wait=True) for size in sizes))
    assert [len(answer.probabilities) for answer in answers] == sizes
    assert max(classifier.sizes) <= 16
    assert sum(classifier.sizes) == sum(sizes)


async def test_what_must_not_wait_does_not() -> None:
    calls = JoinedCalls(Classifier(), max_crops=16, is_due_to_crops=bool, window_seconds=60)
    async with asyncio.timeout(5):
        await calls.classify(crops_of(1, 1), may_wait=False)


async def test_several_calls_are_in_flight_and_further_crops_gather() -> None:
    calls = joined(classifier := Classifier())
    classifier.may_answer.clear()
    asked = [asyncio.create_task(calls.classify(crops_of(1, 1), may_wait=False)) for _ in range(4)]
    await asyncio.sleep(0)
    asked += [asyncio.create_task(calls.classify(crops_of(2, 1), may_wait=False)) for _ in range(6)]
    await asyncio.sleep(0.01)
    assert classifier.most_running == 4
    classifier.may_answer.set()
    await asyncio.gather(*asked)
    assert classifier.sizes == [1, 1, 1, 1, 6]


async def test_crops_that_fail_fail_alone() -> None:
    calls = joined(classifier := Classifier())
    values = (3, 255, 7)
    answers = await asyncio.gather(
        *(calls.classify(crops_of(value, 2), may_wait=True) for value in values), return_exceptions=True
    )
    assert isinstance(answers[1], InferenceError)
    assert [answer.probabilities[0, 0] for answer in answers if isinstance(answer, Classified)] == [3, 7]
    assert classifier.sizes == [6, 2, 2, 2]


async def test_an_unavailable_classifier_is_not_called_for_each_crop() -> None:
    calls = joined(classifier := Classifier(is_gone=True))
    answers = await asyncio.gather(
        *(calls.classify(crops_of(1, 1), may_wait=True) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(answer, ClassifierUnavailableError) for answer in answers)
    assert classifier.sizes == [3]


async def test_a_stream_that_ends_costs_the_others_nothing() -> None:
    calls = joined(classifier := Classifier())
    ended = asyncio.create_task(calls.classify(crops_of(1, 1), may_wait=True))
    other = asyncio.create_task(calls.classify(crops_of(2, 1), may_wait=True))
    await asyncio.sleep(0)
    ended.cancel()
    assert (await other).probabilities.tolist() == [[2.0]]
    assert classifier.sizes == [1]
