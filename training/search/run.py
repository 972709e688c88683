"""Search for settings: `python -m training.search --config … --space … --samples 30 --out runs/search` (Ray Tune).

Tune draws settings for each trial, runs as many trials at once as the machine or cluster has room for, and stops the
worse ones early: asynchronous successive halving (Li et al., 2020) keeps the better third at each rung. A trial is a
run like any other, with its run folder under `trials/`. The result is `results.csv`, and `best.yaml` for
`python -m training.train --config`. Started again on the same folder, the search goes on; trials take up their runs
where these stand.

This file and `training.loop.distributed` are the doors to Ray.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from emostream.errors import ConfigError, EmostreamError
from emostream.files import whole_file
from training.config import TrainConfig, config_as_dict, config_from_dict, differences, load_config
from training.loop.curves import read_metrics
from training.loop.distributed import running_ray
from training.loop.run import fit
from training.loop.state import open_run_folder
from training.loop.validation import score_of
from training.search.results import FAILURE_NAME, Trial, collect_trials, print_results, write_results
from training.search.space import Draw, SearchSpace, load_space, with_settings

_REDUCTION_FACTOR = 3
_OVER = ("TERMINATED", "ERROR")
_DRAWN_BY: dict[str, Callable[..., Any]] = {
    "uniform": tune.uniform,
    "log_uniform": tune.loguniform,
    "choice": lambda *values: tune.choice(list(values)),
}


def search(
    config: TrainConfig, space: SearchSpace, *, num_samples: int, out: Path, seed: int = 0, gpus_per_trial: float = 1.0
) -> list[Trial]:
    """Run, or go on with, a search; writes `results.csv` and `best.yaml`, and returns the trials, best first.

    On the cluster that `RAY_ADDRESS` names, or on a Ray started here.

    Args:
        config: what all trials share, and what `best.yaml` is made from.
        space: what is drawn.
        num_samples: number of trials.
        out: folder of the search; on several machines a shared one.
        seed: of the draws.
        gpus_per_trial: on a machine with GPUs; a half lets two trials share one.

    Raises:
        ConfigError: the folder belongs to another search.
        EmostreamError: no trial came to a validation, or the folder cannot be written.
        KeyboardInterrupt: the search was interrupted; what is there stays.
    """
    out = out.resolve()
    _open_folder(out, {"samples": num_samples, "seed": seed, "space": _as_dict(space), "base": config_as_dict(config)})
    with running_ray():
        tuner = _tuner(config, space, num_samples=num_samples, out=out, seed=seed, gpus_per_trial=gpus_per_trial)
        # Tune greets with paths in its temporary folder and shows where its own code was when a trial failed; what is
        # worth telling `_Teller` and the table tell.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(io.StringIO()):
            tuner.fit()
    # After Ctrl-C the result calls all trials terminated; what was saved before shows which were.
    saved = tune.ExperimentAnalysis(str(out / "ray")).trials or []
    if sum(trial.status in _OVER for trial in saved) < num_samples:
        raise KeyboardInterrupt
    trials = collect_trials(out / "trials", space)
    write_results(trials, config, out)
    return trials


def _tuner(
    config: TrainConfig, space: SearchSpace, *, num_samples: int, out: Path, seed: int, gpus_per_trial: float
) -> tune.Tuner:
    base = with_settings(config, space.trial)
    shared = {"config": config_as_dict(base), "trials": str(out / "trials"), "folder": str(Path.cwd())}
    cluster = ray.cluster_resources()  # type: ignore[no-untyped-call]
    resources: dict[str, float] = {"cpu": min(base.num_threads, int(cluster.get("CPU", 1)))}
    if base.device != "cpu" and cluster.get("GPU", 0) > 0:
        resources["gpu"] = gpus_per_trial
    trainable = tune.with_resources(tune.with_parameters(_run_trial, shared=shared), resources)
    if tune.Tuner.can_restore(out / "ray"):
        # Trials that failed are tried again: it may have been the machine.
        return tune.Tuner.restore(str(out / "ray"), trainable, resume_errored=True)
    epochs = base.optim.epochs
    return tune.Tuner(
        trainable,
        param_space={key: _DRAWN_BY[draw.kind](*draw.values) for key, draw in space.draws.items()},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=num_samples,
            search_alg=BasicVariantGenerator(random_state=seed),
            scheduler=ASHAScheduler(
                time_attr="epoch",
                max_t=epochs,
                grace_period=max(1, epochs // _REDUCTION_FACTOR**2),
                reduction_factor=_REDUCTION_FACTOR,
            ),
        ),
        run_config=tune.RunConfig(name="ray", storage_path=str(out), verbose=0, callbacks=[_Teller()]),
    )


def _run_trial(drawn: dict[str, Any], *, shared: dict[str, Any]) -> None:
    """What a trial does, in a process of its own."""
    # Ray puts trials into folders of its own; the settings' relative paths are those of the command.
    os.chdir(shared["folder"])
    config = with_settings(config_from_dict(shared["config"]), drawn)
    run = Path(shared["trials"]) / tune.get_context().get_trial_id()

    def report(row: dict[str, float]) -> None:
        if "accuracy" in row:
            tune.report({**row, "score": score_of(row, config.validation)})

    # Before anything can fail: what was drawn is part of the result.
    open_run_folder(config, run)
    (run / FAILURE_NAME).unlink(missing_ok=True)
    measured = [row for row in read_metrics(run) if "accuracy" in row]
    if measured:
        # A resumed trial reports its last epoch first; a finished one reports nothing else.
        report(measured[-1])
    try:
        fit(config, run, show_progress=False, on_epoch=report)
    except EmostreamError as exc:
        with whole_file(run / FAILURE_NAME) as file:
            file.write(str(exc).encode())
        raise


class _Teller(tune.Callback):
    """Says when a trial ended; Ray's own tables are for a terminal of its own."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell(trials, trial, "ended")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell(trials, trial, "failed")

    def _tell(self, trials: list[Any], trial: Any, what: str) -> None:
        num_over = sum(each.status in _OVER or each is trial for each in trials)
        last = trial.last_result
        score = f"score {last['score']:.4f} after {last['epoch']:.0f} epochs" if "score" in last else "no score"
        print(f"trial {trial.trial_id} {what}: {score}; {num_over} trials are over", file=sys.stderr, flush=True)


def _as_dict(space: SearchSpace) -> dict[str, Any]:
    draws: dict[str, Draw] = dict(space.draws)
    return {
        "trial": dict(space.trial),
        "draws": {key: {"kind": draw.kind, "values": list(draw.values)} for key, draw in draws.items()},
    }


def _open_folder(out: Path, content: dict[str, Any]) -> None:
    path = out / "search.yaml"
    if path.is_file():
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
        # Settings that did not exist when the search was begun had their defaults.
        before["base"] = config_as_dict(config_from_dict(before["base"]))
        found = differences(before, content)
        if found:
            key, old, new = found[0]
            raise ConfigError(
                f"folder {out} holds another search: {key} was {old} and is {new} now; choose another folder, or the "
                "same settings to go on"
            )
        return
    with whole_file(path) as file:
        file.write(yaml.safe_dump(content, sort_keys=False).encode())


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.search", description="Search for settings of a run.")
    parser.add_argument("--config", type=Path, help="YAML file of settings to start from")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for example optim.epochs=3")
    parser.add_argument("--space", type=Path, required=True, help="YAML file of the search space")
    parser.add_argument("--samples", type=int, required=True, metavar="N", help="number of trials")
    parser.add_argument("--out", type=Path, required=True, help="folder of the search; an existing search is resumed")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampled settings (default: 0)")
    parser.add_argument(
        "--gpus-per-trial",
        type=float,
        default=1.0,
        metavar="G",
        help="a fraction is allowed (default: 1)",
    )
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, overrides=tuple(options.set))
        trials = search(
            config,
            load_space(options.space, config),
            num_samples=options.samples,
            out=options.out,
            seed=options.seed,
            gpus_per_trial=options.gpus_per_trial,
        )
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print(f"stopped; finished epochs are in {options.out}, the same command goes on", file=sys.stderr)
        return 130
    print_results(trials)
    print(f"{options.out / 'best.yaml'} holds the settings of the best trial")
    return 0


if __name__ == "__main__":
    sys.exit(main())
