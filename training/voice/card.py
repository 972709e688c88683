"""The manifest and the model card of the arousal of the voice."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from training.voice.examples import NUM_DISTURBED
from training.voice.fit import ArousalMachine
from training.voice.measure import Figures

NAME = "voice-arousal"
LICENCE = "Apache-2.0 for the weights; the recordings: CC0 as remembered, not verified"
_WIDTH = 98
_DATA = "Berlin Database of Emotional Speech (EMO-DB): 535 utterances of 10 German actors, 5 women and 5 men"
_WOMEN = frozenset({"08", "09", "13", "14", "16"})


def manifest_of(
    *, version: str, file: str, sha256: str, figures: Mapping[str, Figures], windows: Figures, tools: Mapping[str, str]
) -> dict[str, Any]:
    """What stands beside the model file."""
    recorded = next(iter(figures.values()))
    return {
        "manifest_version": 1,
        "name": NAME,
        "version": version,
        "file": file,
        "sha256": sha256,
        "precision": "fp32",
        "licence": LICENCE,
        "source": "python -m training.voice",
        "training_data": f"{_DATA}; licence remembered, not verified. High arousal: anger, fear, happiness",
        "tools": dict(tools),
        "metrics": {
            "speaker_left_out_balanced_accuracy": round(recorded.balanced_accuracy, 4),
            "speaker_left_out_roc_auc": round(recorded.roc_auc, 4),
            "speaker_left_out_calibration_error": round(recorded.calibration_error, 4),
            "speaker_left_out_window_balanced_accuracy": round(windows.balanced_accuracy, 4),
        },
    }


def card_of(
    machine: ArousalMachine, *, version: str, num_bytes: int, figures: Mapping[str, Figures], windows: Figures
) -> str:
    """The model card, in Markdown."""
    recorded = next(iter(figures.values()))
    conditions = "\n".join(
        f"| {name} | {each.balanced_accuracy:.3f} | {each.roc_auc:.3f} | {each.calibration_error:.3f} |"
        for name, each in figures.items()
    )
    speakers = "\n".join(
        f"| {name} | {'woman' if name in _WOMEN else 'man'} | {each:.3f} | {windows.by_speaker.get(name, 0):.3f} |"
        for name, each in recorded.by_speaker.items()
    )
    text = f"""# Model card: arousal of the voice

Written by `python -m training.voice`. Version {version}, {num_bytes // 1000} kB.

## What it says

The field `arousal` of a [voice event](events.md#voice-event): the probability that a voice is highly
aroused, as anger, fear and happiness were acted, and not calm, as boredom, disgust, sadness and
neutral speech were. It is estimated from up to 3 seconds of speech. It names no emotion: anger and
happiness are not distinguished.

## What it must not be used for

Nothing was measured on spontaneous speech, on other languages than German, on children, or on people
whose voice is changed by age or illness. What it says of a single person is no evidence of what this
person feels. The [notes on the law](model-card.md) for expressions of faces hold for voices as well.

## Data

{_DATA}, recorded in a
studio (Burkhardt et al. 2005). The actors were asked to act; listeners recognised the emotion of the
utterances that were kept. The database is free for research as published by TU Berlin; a CC0 licence
is remembered, not verified.

## Model

A support vector machine with Gaussian kernel ({len(machine.vectors)} vectors, C = {machine.regularisation:g},
γ = {machine.gamma:g}) on {len(machine.mean)} statistics of pitch, spectrum and rhythm
(`emostream/audio/features.py`), none of which depends on the loudness of the recording. It learns
from each utterance as it is and from {NUM_DISTURBED} cuts of it with noise, music, the band of a
telephone or another level. Its decisions are calibrated after Platt (1999).

## Measured

Every figure is of speakers that were left out: for each of the ten, the settings of the machine were
chosen, it was fitted, and it was calibrated on the other nine. With ten speakers, differences of a
few points say little. The features, the kind of machine and the few settings among which it chooses
were chosen with these recordings in view, which makes the figures a little too good.

### By disturbance

Made by formula (`training/voice/disturbances.py`) and added to whole utterances. "Below" is below
the level of the speech.

| sound | balanced accuracy | area under the curve | calibration error |
|---|---|---|---|
{conditions}

### By speaker

Of whole utterances, and of the {windows.num} windows that events carry (one every half second, with
at least one second of speech in the last three): balanced accuracy over all windows
{windows.balanced_accuracy:.3f}, calibration error {windows.calibration_error:.3f}.

| speaker | | utterances | windows |
|---|---|---|---|
{speakers}
"""
    return "\n\n".join(map(_wrapped, text.split("\n\n")))


def _wrapped(paragraph: str) -> str:
    """A paragraph of prose in lines of the documents' width; tables and headings as they are."""
    if paragraph.startswith(("|", "#")):
        return paragraph
    filled = textwrap.fill(" ".join(paragraph.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return filled + ("\n" if paragraph.endswith("\n") else "")
