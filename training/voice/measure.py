"""How well arousal is estimated for a speaker who is not in the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from tqdm import tqdm  # type: ignore[import-untyped]

from emostream.audio.arousal import ArousalModel
from emostream.audio.frames import SAMPLE_RATE_HZ
from emostream.audio.network import Network
from emostream.audio.voice import VoiceAnalyzer, VoiceModels
from training.voice.examples import Examples
from training.voice.fit import ArousalMachine, fit, of_speakers, onnx_from
from training.voice.utterances import Utterance

_NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one condition, speakers left out.

    Attributes:
        balanced_accuracy: mean of the shares of high and of low arousal that were estimated right.
        roc_auc: area under the curve.
        calibration_error: expected, over ten bins of equal width.
        brier: mean squared error of the probabilities.
        num: utterances or windows.
        by_speaker: balanced accuracy of each.
    """

    balanced_accuracy: float
    roc_auc: float
    calibration_error: float
    brier: float
    num: int
    by_speaker: Mapping[str, float]


def left_out_machines(examples: Examples) -> dict[str, ArousalMachine]:
    """Speaker → a machine fitted and calibrated on all others."""
    return {
        str(speaker): fit(of_speakers(examples, examples.speakers != speaker))
        for speaker in tqdm(np.unique(examples.speakers), desc="speakers left out", leave=False)
    }


def figures_of_utterances(measured: Examples, machines: Mapping[str, ArousalMachine]) -> Figures:
    """Of whole utterances."""
    probabilities = np.zeros(len(measured.is_high))
    for speaker, machine in machines.items():
        chosen = measured.speakers == speaker
        probabilities[chosen] = machine.probabilities(measured.features[chosen])
    return figures_from(probabilities, measured.is_high, measured.speakers)


def figures_of_windows(
    utterances: Sequence[Utterance], machines: Mapping[str, ArousalMachine], *, activity: Network, folder: Path
) -> Figures:
    """Of the windows that events carry: the product's own way, from samples to `arousal`.

    Args:
        utterances: all of them.
        machines: by speaker.
        activity: the network that finds speech.
        folder: for files that are not needed afterwards.
    """
    probabilities, is_high, speakers = [], [], []
    models: dict[str, VoiceModels] = {}
    for speaker, machine in machines.items():
        path = folder / f"without-{speaker}.onnx"
        onnx.save(onnx_from(machine), str(path))
        models[speaker] = VoiceModels(activity, ArousalModel(path, name="left out", version=speaker))
    pause = np.zeros(SAMPLE_RATE_HZ // 2, np.float32)  # a window ends after the last word
    for each in tqdm(utterances, desc="windows", leave=False):
        analyzer = VoiceAnalyzer(models[each.speaker])
        found = [window.arousal for window in analyzer.push(np.concatenate([each.samples, pause]))]
        told = [arousal for arousal in found if arousal is not None]
        probabilities += told
        is_high += [each.is_high] * len(told)
        speakers += [each.speaker] * len(told)
    return figures_from(np.array(probabilities), np.array(is_high), np.array(speakers))


def figures_from(
    probabilities: npt.NDArray[np.float64], is_high: npt.NDArray[np.bool_], speakers: npt.NDArray[np.str_]
) -> Figures:
    """The figures of probabilities, n each."""
    return Figures(
        balanced_accuracy=float(balanced_accuracy_score(is_high, probabilities >= 0.5)),
        roc_auc=float(roc_auc_score(is_high, probabilities)),
        calibration_error=calibration_error(probabilities, is_high),
        brier=float(np.mean((probabilities - is_high) ** 2)),
        num=len(is_high),
        by_speaker={
            str(speaker): float(
                balanced_accuracy_score(is_high[speakers == speaker], probabilities[speakers == speaker] >= 0.5)
            )
            for speaker in np.unique(speakers)
        },
    )


def calibration_error(probabilities: npt.NDArray[np.float64], is_high: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error (Naeini et al. 2015) of the probability of high arousal.

    >>> calibration_error(np.array([0.2, 0.2, 0.2, 0.2, 0.2]), np.array([True, False, False, False, False]))
    0.0
    """
    bins = np.minimum((probabilities * _NUM_BINS).astype(int), _NUM_BINS - 1)
    total = 0.0
    for index in np.unique(bins):
        inside = bins == index
        total += float(inside.sum()) * abs(float(probabilities[inside].mean()) - float(is_high[inside].mean()))
    return total / len(probabilities)
