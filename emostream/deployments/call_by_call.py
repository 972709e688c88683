"""A batch that fails because of one call fails no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def answers_of(
    compute: Callable[[Sequence[Item]], Sequence[Answer]], items: Sequence[Item]
) -> list[Answer | Exception]:
    """What is computed of the items, in a thread; when that fails they are computed one by one.

    Args:
        compute: an answer for each item, in order.
        items: of the calls in one batch.

    Returns:
        For each item its answer, or why there is none.
    """
    try:
        return list(await asyncio.to_thread(compute, items))
    except Exception:  # whatever it is, it is told to those whose own calls fail
        return [await _alone(compute, item) for item in items]


async def _alone(compute: Callable[[Sequence[Item]], Sequence[Answer]], item: Item) -> Answer | Exception:
    try:
        (answer,) = await asyncio.to_thread(compute, [item])
    except Exception as exc:
        return exc
    return answer


def answer_or_raise(answer: Answer | Exception) -> Answer:
    """The answer to one call; raises why there is none."""
    if isinstance(answer, Exception):
        raise answer
    return answer
