"""Compare nets: `python -m training.compare --configs training/configs/compare/*.yaml --epochs 20 --out runs/compare`.

Each settings file is trained for the same number of epochs in its own run folder under `--out`, then written as ONNX in
FP32 and INT8 and measured, and `table.md` and `table.json` say how they compare. Started again, runs that are not
finished go on and all are measured again, one after another, so that the times are comparable.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from emostream.errors import ConfigError, EmostreamError, ManifestError
from training.config import TrainConfig, config_as_dict, differences, load_config
from training.convert.onnx_graph import INPUT_NAME, ServedModel, onnx_from_model, output_names_of
from training.convert.quantize import int8_from_onnx
from training.loop.checkpoint import load_checkpoint
from training.loop.run import fit
from training.loop.state import LAST_NAME
from training.loop.train_set import TrainSet, load_sets
from training.measure.inference import HeadOutputs, milliseconds_per_crop, open_session, run_session
from training.measure.scalings import HeadScalings
from training.nets.build import build_model, num_multiply_adds, num_parameters

_NUM_RANGE_CROPS = 512
_BATCH_SIZE = 64
# What a comparison is about; all else should be the same in all its settings.
_COMPARED = ("name", "model.")


@dataclass(frozen=True, slots=True)
class Variant:
    """One precision of a net: shares of right answers on the validation crops, and processor time on one thread.

    Without votes `ferplus_accuracy` is None, and `accuracy` is of the head that events carry.
    """

    accuracy: float
    ferplus_accuracy: float | None
    milliseconds_per_crop: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one net.

    Attributes:
        name: of the run, from its settings.
        num_parameters: trained values.
        multiply_adds: of one crop of the side that is served.
        epochs: trained.
        minutes: of training.
        fp32: the net as it was trained.
        int8: its quantised variant.
        int8_agreement: share of crops that both variants answer alike, of the head where it is lower.
        num_crops: validation crops.
    """

    name: str
    num_parameters: int
    multiply_adds: int
    epochs: int
    minutes: float
    fp32: Variant
    int8: Variant
    int8_agreement: float
    num_crops: int


def measure(run: Path) -> Row:
    """Write the net of a finished run as `fp32.onnx` and `int8.onnx` into its folder and measure both.

    Raises:
        ModelUnavailableError: the run has no checkpoint.
        ManifestError: the checkpoint is damaged, or the run's data has other classes now.
        SourceRejectedError: the run's data cannot be read.
    """
    checkpoint = load_checkpoint(run / LAST_NAME)
    training, validation = load_sets(checkpoint.config)
    task = checkpoint.task
    if validation.class_names != task.class_names:
        raise ManifestError(
            f"run {run} tells {', '.join(task.class_names)} apart; its data has {', '.join(validation.class_names)} now"
        )
    model = build_model(checkpoint.config.model, task)
    model.load_state_dict(checkpoint.ema_weights)
    side = training.crops.shape[-1]
    served = ServedModel(model, HeadScalings(), has_votes=task.has_votes)
    graph = onnx_from_model(served, input_size_pixels=side)
    chosen = np.unique(np.linspace(0, len(training) - 1, _NUM_RANGE_CROPS).astype(np.int64))
    exact, exact_outputs = _measure_variant(graph, run / "fp32.onnx", validation)
    quantized, outputs = _measure_variant(
        int8_from_onnx(graph, training.crops[torch.from_numpy(chosen)].numpy()), run / "int8.onnx", validation
    )
    return Row(
        name=checkpoint.config.name,
        num_parameters=num_parameters(model),
        multiply_adds=num_multiply_adds(model, side=side),
        epochs=checkpoint.epoch,
        minutes=round(checkpoint.elapsed_seconds / 60, 2),
        fp32=exact,
        int8=quantized,
        int8_agreement=_agreement(exact_outputs, outputs),
        num_crops=len(validation),
    )


def _measure_variant(graph: onnx.ModelProto, path: Path, data: TrainSet) -> tuple[Variant, HeadOutputs]:
    onnx.save(graph, path)
    session = open_session(path)
    crops = data.crops.numpy()
    parts = [
        run_session(
            session, crops[start : start + _BATCH_SIZE], output_names=output_names_of(graph), input_name=INPUT_NAME
        )
        for start in range(0, len(crops), _BATCH_SIZE)
    ]
    outputs = HeadOutputs(
        np.concatenate([part.ferplus for part in parts]), np.concatenate([part.fer2013 for part in parts])
    )
    majority = data.majority.numpy()
    known = majority >= 0
    variant = Variant(
        accuracy=_share((outputs.fer2013 if data.has_votes else outputs.ferplus).argmax(axis=1) == data.labels.numpy()),
        ferplus_accuracy=_share(outputs.ferplus.argmax(axis=1)[known] == majority[known]) if data.has_votes else None,
        milliseconds_per_crop=milliseconds_per_crop(path, size=crops.shape[-1]),
        size_bytes=path.stat().st_size,
    )
    return variant, outputs


def _agreement(one: HeadOutputs, other: HeadOutputs) -> float:
    pairs = ((one.ferplus, other.ferplus), (one.fer2013, other.fer2013))
    return min(_share(first.argmax(axis=1) == second.argmax(axis=1)) for first, second in pairs)


def _share(right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    return round(float(right.mean()), 6) if right.size else 0.0


def read_configs(paths: Sequence[Path], *, overrides: tuple[str, ...]) -> list[TrainConfig]:
    """The settings to compare, all with these overrides and without a time budget.

    Raises:
        ConfigError: a file is not right, or two have the same name.
    """
    configs = [load_config(path, overrides=(*overrides, "optim.time_budget_minutes=null")) for path in paths]
    names = [config.name for config in configs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"two of the settings to compare have the name {twice[0]!r}; each names its run folder")
    return configs


def notes_on(configs: Sequence[TrainConfig]) -> list[str]:
    """What differs between the settings besides the net, a line for each setting: a reader should know.

    >>> notes_on([TrainConfig(name="a"), TrainConfig(name="b", seed=1)])
    ['seed differs: a 0, b 1']
    """
    trees = [config_as_dict(config) for config in configs]
    keys = [key for tree in trees[1:] for key, _, _ in differences(trees[0], tree)]
    unfair = [key for key in dict.fromkeys(keys) if not key.startswith(_COMPARED)]
    return [f"{key} differs: " + ", ".join(f"{tree['name']} {_setting(tree, key)}" for tree in trees) for key in unfair]


def _setting(tree: object, key: str) -> object:
    for part in key.split("."):
        tree = tree[part] if isinstance(tree, dict) else None
    return tree


def _both(exact: float | None, quantized: float | None) -> str:
    return "–" if exact is None or quantized is None else f"{100 * exact:.2f} / {100 * quantized:.2f}"


_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("net", lambda row: row.name),
    ("parameters", lambda row: f"{row.num_parameters / 1e6:.2f} M"),
    ("multiply-adds", lambda row: f"{row.multiply_adds / 1e6:.0f} M"),
    ("epochs", lambda row: str(row.epochs)),
    ("minutes", lambda row: f"{row.minutes:.0f}"),
    ("labels, %", lambda row: _both(row.fp32.accuracy, row.int8.accuracy)),
    ("FER+ majority, %", lambda row: _both(row.fp32.ferplus_accuracy, row.int8.ferplus_accuracy)),
    ("same answer, %", lambda row: f"{100 * row.int8_agreement:.1f}"),
    ("ms per crop", lambda row: f"{row.fp32.milliseconds_per_crop:.2f} / {row.int8.milliseconds_per_crop:.2f}"),
)


def markdown_table(rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """The rows as a Markdown table, followed by what it was measured on and the notes."""
    lines = [[heading for heading, _ in _COLUMNS], ["---"] * len(_COLUMNS)]
    lines += [[cell(row) for _, cell in _COLUMNS] for row in rows]
    nums = " or ".join(str(num) for num in sorted({row.num_crops for row in rows}))
    legend = (
        f"FP32 / INT8, and the share of crops that both answer alike. {nums} validation crops, blank ones left out. "
        "Time is that of one processor thread in ONNX Runtime, at a batch of 8."
    )
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([table, "", legend, *(f"- {note}" for note in notes)]) + "\n"


def compare(configs: Sequence[TrainConfig], out: Path, *, show_progress: bool = True) -> list[Row]:
    """Train what is not trained yet, measure all, and write `table.json` and `table.md` into `out`.

    Raises:
        EmostreamError: a run could not be trained or measured; those before it are kept.
    """
    for config in configs:
        print(f"— {config.name}", flush=True)
        fit(config, out / config.name, show_progress=show_progress)
    rows = [measure(out / config.name) for config in configs]
    notes = notes_on(configs)
    content = {"rows": [dataclasses.asdict(row) for row in rows], "notes": notes}
    (out / "table.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (out / "table.md").write_text(markdown_table(rows, notes), encoding="utf-8")
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.compare", description="Train and compare several nets.")
    parser.add_argument("--configs", type=Path, nargs="+", required=True, help="settings files, one for each net")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of the table")
    parser.add_argument("--epochs", type=int, help="epochs of each run; default: as in its settings file")
    parser.add_argument("--data", help="data set in place of data.path")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all, e.g. seed=1")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    overrides = list(options.set)
    if options.epochs is not None:
        overrides.append(f"optim.epochs={options.epochs}")
    if options.data is not None:
        overrides.append(f"data.path={options.data}")
    try:
        configs = read_configs(options.configs, overrides=tuple(overrides))
        compare(configs, options.out, show_progress=not options.quiet)
    except EmostreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print(f"stopped; the finished epochs are in {options.out}, the same command goes on", file=sys.stderr)
        return 130
    print((options.out / "table.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
