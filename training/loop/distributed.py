"""One net, many processes: `python -m training.train --config … --run … --workers 2` (Ray Train).

Ray starts the workers on this machine or on a cluster, joins them in a torch process group (nccl between GPUs, gloo
between CPUs) and starts all again when one dies; what they then do is `training.loop.run.fit`, the same as in one
process. Every batch is cut into equal parts, gradients are averaged, so a batch of 128 means 128 for any number of
workers. The first worker writes the run folder, which all must see under the same path: on several machines it, and the
data, lie on a shared file system.

This file and `training.search.run` are the doors to Ray.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, UserCallback, get_context, report
from ray.train.torch import TorchTrainer, get_device, prepare_model

from emostream.errors import ConfigError, EmostreamError
from training.config import TrainConfig, config_as_dict, config_from_dict
from training.loop.curves import read_metrics
from training.loop.process_group import World
from training.loop.run import fit
from training.loop.runlog import describe
from training.loop.state import LAST_NAME

_MAX_FAILURES = 3
"""How often workers may die before the run is given up; machines that are taken away with notice do not count."""

_START_ATTEMPTS = 3
"""Ray gives its own processes 30 seconds, which is short on a machine that is busy with something else."""

_FOLLOW_SECONDS = 1.0


def fit_distributed(config: TrainConfig, run: Path, *, num_workers: int) -> dict[str, float]:
    """As `fit`, by several workers; prints a line for each epoch.

    On the cluster that `RAY_ADDRESS` names, for example inside `ray job submit`, or else on a Ray started here.

    Raises:
        ConfigError: GPUs were asked for and the cluster has none.
        EmostreamError: what `fit` raises, or workers died too often.
    """
    run = run.resolve()
    with running_ray(), _following(run):
        trainer = TorchTrainer(
            _work,  # type: ignore[arg-type]  # it may return a value (docstring of `Result`)
            train_loop_config={"config": config_as_dict(config), "run": str(run), "folder": str(Path.cwd())},
            scaling_config=_scaling(config, num_workers=num_workers),
            run_config=RunConfig(
                name="ray",
                storage_path=str(run),
                failure_config=FailureConfig(max_failures=_MAX_FAILURES),
                callbacks=[_GiveUpOnMistakes()],  # type: ignore[list-item]  # mypy sees the classes of Ray Train's first version
            ),
        )
        try:
            result = trainer.fit()
        except SystemExit as exc:
            # How Ray Train answers Ctrl-C, once it has stopped the workers.
            raise KeyboardInterrupt from exc
        except TrainingFailedError as exc:
            raise _our_error(exc) from exc
        except RayError as exc:
            raise EmostreamError(f"training on Ray ended: {str(exc).splitlines()[0]}") from exc
    metrics: dict[str, float] = result.return_value  # type: ignore[attr-defined]  # as above
    return metrics


def _work(loop: dict[str, Any]) -> dict[str, float]:
    """What each worker does."""
    # Ray puts workers into a folder of its own; the settings' relative paths are those of the command.
    os.chdir(loop["folder"])
    context, config = get_context(), config_from_dict(loop["config"])
    # Batch statistics are averaged once an epoch (`World.average_batch_statistics`), not overwritten at each step;
    # where stages are frozen, gradients that do not come must not be waited for.
    strategy = {"broadcast_buffers": False, "find_unused_parameters": bool(config.transfer.unfreeze_at)}
    return fit(
        config,
        Path(loop["run"]),
        show_progress=False,
        world=World(
            rank=context.get_world_rank(), size=context.get_world_size(), local_size=context.get_local_world_size()
        ),
        device=get_device(),
        wrap=lambda net: prepare_model(net, parallel_strategy_kwargs=strategy),
        on_epoch=report,
    )


class _GiveUpOnMistakes(UserCallback):
    """Called where Ray decides: dead workers are started again, but an error of ours would only come again."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if isinstance(error, EmostreamError):
                raise error


def _our_error(error: TrainingFailedError) -> EmostreamError:
    causes = [getattr(error, "controller_failure", None), *getattr(error, "worker_failures", {}).values()]
    ours = next((cause for cause in causes if isinstance(cause, EmostreamError)), None)
    if ours is not None:
        return ours
    last_line = str(error).strip().splitlines()[-1]
    return EmostreamError(f"workers failed more than {_MAX_FAILURES} times: {last_line}; the same command goes on")


def _scaling(config: TrainConfig, *, num_workers: int) -> ScalingConfig:
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    num_gpus, num_cpus = resources.get("GPU", 0), resources.get("CPU", 1)
    if config.device == "cuda" and num_gpus < num_workers:
        raise ConfigError(
            f"{num_workers} workers need as many GPUs, the cluster has {num_gpus:.0f}; use fewer, or set device=cpu"
        )
    use_gpu = config.device != "cpu" and num_gpus >= num_workers
    # A machine with fewer cores than workers still runs them: each then asks for a part of a core.
    wanted, there = max(1, config.num_threads // num_workers), num_cpus / num_workers
    return ScalingConfig(
        num_workers=num_workers,
        use_gpu=use_gpu,
        resources_per_worker={"CPU": min(wanted, int(there) or there), **({"GPU": 1} if use_gpu else {})},
    )


@contextlib.contextmanager
def running_ray() -> Iterator[None]:
    """Inside, Ray runs: the one that runs already, that of `RAY_ADDRESS`, or one that ends with the block.

    Raises:
        EmostreamError: there is no cluster at that address, or Ray did not start here.
    """
    started_here = not ray.is_initialized()
    if started_here:
        _start_ray()
    try:
        yield
    finally:
        if started_here:
            ray.shutdown()


def _start_ray() -> None:
    for attempts_left in reversed(range(_START_ATTEMPTS)):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
            return
        except Exception as exc:  # a plain one when a start took too long, and several kinds when there is no cluster
            ray.shutdown()
            if "timed out during startup" not in str(exc) or attempts_left == 0:
                raise EmostreamError(f"Ray cannot be reached or did not start: {str(exc).splitlines()[0]}") from exc


@contextlib.contextmanager
def _following(run: Path) -> Iterator[None]:
    """Inside, lines that appear in the run's log are printed: workers write to files of Ray, not to this terminal."""
    known = len(read_metrics(run)) if (run / LAST_NAME).is_file() else 0
    is_over = threading.Event()

    def follow(num_told: int) -> None:
        while True:
            ends_now = is_over.wait(_FOLLOW_SECONDS)
            rows = read_metrics(run)
            for row in rows[num_told:]:
                print(describe(row), flush=True)
            num_told = max(num_told, len(rows))
            if ends_now:
                return

    thread = threading.Thread(target=follow, args=(known,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
