"""Every caller gets its own rows, batches are shared, and nothing waits longer than it must."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from emostream.domain.emotion import EMOTIONS
from emostream.errors import InferenceError
from emostream.testing.fakes import ConstantClassifier
from emostream.vision.classify.batcher import CropBatcher


class EchoClassifier(ConstantClassifier):
    """Puts the level of each crop into its row, so that a mix-up shows; remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[int]] = []
        self.may_run = threading.Event()
        self.may_run.set()

    def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.may_run.wait(5)
        levels = crops[:, 0, 0]
        if 255 in levels:
            raise InferenceError("a crop of level 255 breaks the engine")
        self.batches.append(levels.tolist())
        rows = np.zeros((len(crops), len(EMOTIONS)), np.float32)
        rows[:, 0] = levels
        return rows


def _crops(*levels: int) -> npt.NDArray[np.uint8]:
    return np.stack([np.full((8, 8), level, np.uint8) for level in levels])


MakeBatcher = Callable[..., CropBatcher]


@pytest.fixture
def make_batcher() -> Iterator[MakeBatcher]:
    batchers = []

    def make(classifier: EchoClassifier, *, num_workers: int = 1) -> CropBatcher:
        batchers.append(CropBatcher(classifier, num_workers=num_workers, max_batch_size=8, wanted_crops=8))
        return batchers[-1]

    yield make
    for batcher in batchers:
        batcher.close()


async def test_crops_of_many_callers_share_batches_and_come_back_to_their_caller(make_batcher: MakeBatcher) -> None:
    classifier = EchoClassifier()
    batcher = make_batcher(classifier)
    levels = [[index, index + 100] for index in range(40)]
    answers = await asyncio.gather(*(batcher.classify(_crops(*pair), allow_batching_delay=True) for pair in levels))

    assert [answer.probabilities[:, 0].astype(int).tolist() for answer in answers] == levels
    assert max(len(batch) for batch in classifier.batches) == 8
    assert [level for batch in classifier.batches for level in batch] == [level for pair in levels for level in pair]
    assert batcher.stats.num_crops == 80
    assert sum(size * count for size, count in batcher.stats.batch_sizes.items()) == 80


async def test_a_single_request_does_not_wait_for_ever(make_batcher: MakeBatcher) -> None:
    answer = await asyncio.wait_for(make_batcher(EchoClassifier()).classify(_crops(7), allow_batching_delay=True), 1)
    assert answer.probabilities[0, 0] == 7


async def test_a_request_larger_than_a_batch_is_computed_in_parts_in_turns_with_others(
    make_batcher: MakeBatcher,
) -> None:
    classifier = EchoClassifier()
    classifier.may_run.clear()
    batcher = make_batcher(classifier)
    crowd = asyncio.create_task(batcher.classify(_crops(*range(20)), allow_batching_delay=False))
    await asyncio.sleep(0)
    single = asyncio.create_task(batcher.classify(_crops(100), allow_batching_delay=False))
    await asyncio.sleep(0)
    classifier.may_run.set()
    assert (await single).probabilities[:, 0].tolist() == [100]
    answer = await crowd
    assert answer.probabilities[:, 0].tolist() == list(range(20))
    assert classifier.batches == [[*range(8)], [*range(8, 16)], [100, *range(16, 20)]]
    assert answer.compute_seconds > 0
    assert (batcher.stats.num_crops, batcher.stats.num_batches) == (21, 3)


async def test_parts_of_a_request_run_at_the_same_time(make_batcher: MakeBatcher) -> None:
    barrier = threading.Barrier(2, timeout=20)

    class Meeting(EchoClassifier):
        def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            barrier.wait()  # passes only when two parts are inside
            return super().classify(crops)

    answer = await make_batcher(Meeting(), num_workers=2).classify(_crops(*range(16)), allow_batching_delay=False)
    assert answer.probabilities[:, 0].tolist() == list(range(16))


async def test_an_error_in_a_part_is_the_answer_and_the_rest_is_left_out(make_batcher: MakeBatcher) -> None:
    classifier = EchoClassifier()
    batcher = make_batcher(classifier)
    with pytest.raises(InferenceError):
        await batcher.classify(_crops(255, *range(30)), allow_batching_delay=False)
    assert (await batcher.classify(_crops(1), allow_batching_delay=False)).probabilities[0, 0] == 1
    assert classifier.batches == [[1]]


async def test_a_request_that_must_not_wait_takes_the_waiting_ones_along() -> None:
    classifier = EchoClassifier()
    batcher = CropBatcher(classifier, num_workers=1, max_batch_size=8, wanted_crops=8, clock=lambda: 0.0)
    waiting = asyncio.create_task(batcher.classify(_crops(1), allow_batching_delay=True))
    await asyncio.sleep(0.1)
    assert not classifier.batches, "its window never passes: the clock stands still"
    await batcher.classify(_crops(2), allow_batching_delay=False)
    await waiting
    assert classifier.batches == [[1, 2]]
    batcher.close()


async def test_no_crops_give_no_rows(make_batcher: MakeBatcher) -> None:
    answer = await make_batcher(EchoClassifier()).classify(np.empty((0, 8, 8), np.uint8), allow_batching_delay=True)
    assert answer.probabilities.shape == (0, len(EMOTIONS))


async def test_an_error_reaches_the_callers_of_its_batch_only(make_batcher: MakeBatcher) -> None:
    batcher = make_batcher(EchoClassifier())
    with pytest.raises(InferenceError):
        await batcher.classify(_crops(255), allow_batching_delay=False)
    assert (await batcher.classify(_crops(1), allow_batching_delay=False)).probabilities[0, 0] == 1


async def test_a_cancelled_caller_does_not_disturb_the_others(make_batcher: MakeBatcher) -> None:
    classifier = EchoClassifier()
    classifier.may_run.clear()
    batcher = make_batcher(classifier)
    first = asyncio.create_task(batcher.classify(_crops(1), allow_batching_delay=False))
    await asyncio.sleep(0)
    gone = asyncio.create_task(batcher.classify(_crops(255), allow_batching_delay=False))
    last = asyncio.create_task(batcher.classify(_crops(3), allow_batching_delay=False))
    await asyncio.sleep(0)
    gone.cancel()
    classifier.may_run.set()
    assert (await first).probabilities[0, 0] == 1
    assert (await last).probabilities[0, 0] == 3, "the cancelled crop, which would break the batch, was left out"


async def test_workers_run_batches_at_the_same_time(make_batcher: MakeBatcher) -> None:
    barrier = threading.Barrier(2, timeout=5)

    class Meeting(EchoClassifier):
        def classify(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            barrier.wait()  # passes only when two batches are inside
            return super().classify(crops)

    batcher = make_batcher(Meeting(), num_workers=2)
    await asyncio.gather(*(batcher.classify(_crops(*range(8)), allow_batching_delay=False) for _ in range(2)))


async def test_an_engine_that_gains_nothing_from_batches_is_never_waited_for() -> None:
    classifier = EchoClassifier()
    batcher = CropBatcher(classifier, num_workers=1, max_batch_size=8, wanted_crops=1)
    first = asyncio.create_task(batcher.classify(_crops(1), allow_batching_delay=True))
    await asyncio.sleep(0)
    assert not batcher._waiting
    await first
    batcher.close()
