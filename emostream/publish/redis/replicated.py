"""Runs a script on the server and waits until replicas have what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from emostream.publish.redis.connection import REDIS_ERRORS, is_cluster
from emostream.publish.redis.reads import node_of


async def run_script(
    redis: Redis,
    script: AsyncScript,
    *,
    keys: Sequence[str],
    arguments: Sequence[str | bytes | int],
    num_replicas: int,
    timeout_seconds: float,
) -> Any:
    """What the script returns, once `num_replicas` replicas have its writes; the script must be safe to repeat.

    On a cluster all keys must be of one slot.

    Raises:
        redis.exceptions.TimeoutError: fewer replicas had them in time. The primary has them.
    """
    if num_replicas == 0:
        return await script(keys=keys, args=arguments)
    wait = ("WAIT", num_replicas, int(1000 * timeout_seconds))
    call = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
    result, num_reached = await _on_one_connection(redis, keys[0], call, wait)
    if isinstance(result, NoScriptError):
        await redis.script_load(script.script)
        result, num_reached = await _on_one_connection(redis, keys[0], call, wait)
    for answer in (result, num_reached):
        if isinstance(answer, Exception):
            raise answer
    if num_reached < num_replicas:
        raise RedisTimeoutError(f"{num_reached} of {num_replicas} replicas acknowledged within {timeout_seconds:g} s")
    return result


async def _on_one_connection(redis: Redis, key: str, *commands: Sequence[Any]) -> list[Any]:
    """The answers to commands sent over the same connection, which is what WAIT counts by; errors among them."""
    client: Any = redis
    if not is_cluster(redis):
        async with client.pipeline(transaction=False) as asking:
            for command in commands:
                asking.execute_command(*command)
            answers: list[Any] = await asking.execute(raise_on_error=False)
            return answers
    await client.initialize()
    node = node_of(client, key)
    asking = client.pipeline()
    for command in commands:
        asking.execute_command(*command, target_nodes=node)
    answers = await asking.execute(raise_on_error=False)
    if any(isinstance(answer, REDIS_ERRORS) and not isinstance(answer, NoScriptError) for answer in answers):
        await client.aclose()  # the nodes may have other roles now: ask for them before the next command
    return answers
