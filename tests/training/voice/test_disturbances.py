"""What is done to a voice in training, measured on sounds of known content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emostream.audio.frames import SAMPLE_RATE_HZ
from training.voice.__main__ import main
from training.voice.disturbances import CONDITIONS, any_disturbance, louder, telephone, with_music, with_noise
from training.voice.utterances import load_utterances

_TIMES = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
_TONE = (0.1 * np.sin(2 * np.pi * 1000 * _TIMES)).astype(np.float32)
_RNG = np.random.default_rng(0)


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(float) ** 2)))


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_and_music_are_so_far_below_the_speech(snr_db: float) -> None:
    for made in (with_noise(_TONE, _RNG, snr_db=snr_db), with_music(_TONE, _RNG, snr_db=snr_db)):
        assert level_db(_TONE) - level_db(made - _TONE) == pytest.approx(snr_db, abs=0.01)


def test_a_telephone_lets_through_300_to_3400_hz() -> None:
    both = _TONE + (0.1 * np.sin(2 * np.pi * 100 * _TIMES) + 0.1 * np.sin(2 * np.pi * 5000 * _TIMES))
    assert telephone(both.astype(np.float32), _RNG) == pytest.approx(_TONE, abs=1e-3)


def test_what_is_too_loud_is_cut_off() -> None:
    assert level_db(louder(_TONE, _RNG, by_db=-20)) == pytest.approx(level_db(_TONE) - 20, abs=0.05)
    assert np.abs(louder(_TONE, _RNG, by_db=40)).max() <= 1


def test_the_same_seed_disturbs_alike_and_all_keep_the_length() -> None:
    one, other = (any_disturbance(_TONE, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one, other)
    assert {len(disturbance(_TONE, _RNG)) for disturbance in CONDITIONS.values()} == {len(_TONE)}


@pytest.mark.parametrize("name", [None, "talk.wav"])
def test_a_folder_that_is_not_the_database_is_refused(tmp_path: Path, name: str | None) -> None:
    if name:
        (tmp_path / name).write_bytes(b"RIFF")
    with pytest.raises((FileNotFoundError, ValueError), match=r"03a01Wa\.flac"):
        load_utterances(tmp_path)
    assert main(["--data", str(tmp_path), "--card", str(tmp_path / "card.md")]) == 2
