"""Train, measure and write the model of the voice's arousal.

    python -m training.voice --data ../shared/data/speech/emodb

writes `voice-arousal.onnx` and its manifest into `emostream/models`, and the model card to `docs/voice-model-card.md`.
It takes about five minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import onnx

from emostream.audio.activity import load_activity_network
from emostream.config import load_settings
from emostream.domain.model_manifest import manifest_path_for, sha256_of
from emostream.vision.models.store import ModelStore
from training.voice.card import NAME, card_of, manifest_of
from training.voice.disturbances import CONDITIONS
from training.voice.examples import learned_from, measured_on
from training.voice.fit import fit, onnx_from
from training.voice.measure import figures_of_utterances, figures_of_windows, left_out_machines
from training.voice.utterances import load_utterances

VERSION = "1"
_TOOLS = ("scikit-learn", "onnx", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.voice", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of EMO-DB: 03a01Wa.flac, …")
    parser.add_argument("--output", type=Path, default=Path(str(files("emostream.models"))), help="folder of the model")
    parser.add_argument("--card", type=Path, default=Path("docs/voice-model-card.md"), help="file of the model card")
    parser.add_argument("--seed", type=int, default=1, help="of the disturbances")
    given = parser.parse_args(arguments)
    try:
        utterances = load_utterances(given.data)
    except (FileNotFoundError, ValueError) as exc:
        print(exc, file=sys.stderr)
        return 2
    activity = load_activity_network(ModelStore(load_settings().models).verify("voice-activity").path)
    examples = learned_from(utterances, activity=activity, seed=given.seed)
    machines = left_out_machines(examples)
    figures = {
        name: figures_of_utterances(
            measured_on(utterances, disturbance, activity=activity, seed=given.seed + 1, name=name), machines
        )
        for name, disturbance in CONDITIONS.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        windows = figures_of_windows(utterances, machines, activity=activity, folder=Path(folder))
    machine = fit(examples)
    path = given.output / f"{NAME}.onnx"
    onnx.save(onnx_from(machine), str(path))
    manifest = manifest_of(
        version=VERSION,
        file=path.name,
        sha256=sha256_of(path),
        figures=figures,
        windows=windows,
        tools={tool: version(tool) for tool in _TOOLS},
    )
    manifest_path_for(path).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    card = card_of(machine, version=VERSION, num_bytes=path.stat().st_size, figures=figures, windows=windows)
    given.card.write_text(card, encoding="utf-8")
    for name, each in figures.items():
        print(f"{name}: balanced accuracy {each.balanced_accuracy:.3f}, calibration error {each.calibration_error:.3f}")
    print(f"windows: {windows.balanced_accuracy:.3f}; {path}: {path.stat().st_size} bytes; card: {given.card}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
