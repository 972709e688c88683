"""Isolates failures in a batch: a call that fails does not fail the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from emostream.errors import InferenceError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def answers_of(
    compute: Callable[[Sequence[Item]], Sequence[Answer]], items: Sequence[Item]
) -> list[Answer | Exception]:
    """Compute a batch in a thread; when that fails, compute its items one by one.

    Args:
        compute: returns a result for each item, in order.
        items: of the calls in one batch.

    Returns:
        For each item its result, or its exception.
    """
    try:
        answers: list[Answer | Exception] = list(await asyncio.to_thread(compute, items))
        if len(answers) == len(items):
            return answers
        raise InferenceError(f"expected {len(items)} results of a batch, got {len(answers)}")
    except Exception:  # raised again for the items that fail on their own
        return [await _alone(compute, item) for item in items]


async def _alone(compute: Callable[[Sequence[Item]], Sequence[Answer]], item: Item) -> Answer | Exception:
    try:
        (answer,) = await asyncio.to_thread(compute, [item])
    except Exception as exc:
        return exc
    return answer


def answer_or_raise(answer: Answer | Exception) -> Answer:
    """Return the result of a call, or raise its exception."""
    if isinstance(answer, Exception):
        raise answer
    return answer
