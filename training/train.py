"""Train a model: `python -m training.train --config training/configs/first.yaml --run runs/first`.

What the run folder gets, and how a run goes on, stands in `training.loop.run`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emostream.errors import ConfigError, EmostreamError
from training.config import TrainConfig, load_config
from training.loop.run import fit


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description="Train a model, or resume a run.")
    parser.add_argument("--config", type=Path, help="YAML file of differences from the defaults")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; resumed when it holds last.pt")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for example optim.epochs=3")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="training processes, started by Ray Train (default: 1)"
    )
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, overrides=tuple(options.set))
        if options.workers > 1:
            _fit_distributed(config, options.run, num_workers=options.workers)
        else:
            fit(config, options.run, show_progress=not options.quiet)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print(f"stopped; the last finished epoch is in {options.run}, the same command goes on", file=sys.stderr)
        return 130
    return 0


def _fit_distributed(config: TrainConfig, run: Path, *, num_workers: int) -> None:
    try:
        from training.loop.distributed import fit_distributed
    except ImportError as exc:
        raise ConfigError(
            "--workers needs Ray Train: pip install -e '.[train,distributed]' -c deploy/constraints.txt"
        ) from exc
    fit_distributed(config, run, num_workers=num_workers)


if __name__ == "__main__":
    sys.exit(main())
