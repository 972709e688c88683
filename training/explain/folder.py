"""What `training.explain.run` found about a net, and the folder in which it is kept."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emostream.errors import ManifestError, ModelUnavailableError
from emostream.files import whole_file
from training.explain.cam import Maps
from training.explain.map_quality import MapQuality, RandomisedPart

FIGURES_FILE, PICTURES_FILE = "explanation.json", "explanation.npz"


@dataclass(frozen=True, slots=True, eq=False)
class ClassExamples:
    """What the net looks at in faces that it rightly calls by one class.

    Attributes:
        emotion: the class.
        num_right: pictures it was right about; the means are over them.
        mean_crop: uint8 S×S.
        mean_maps: method → float32 S×S, each map with 1 as its largest value before the mean.
        crops: uint8 n×S×S, the surest of them, the surest first.
        probabilities: float32 n, of the class.
        maps: method → float32 n×S×S.
    """

    emotion: str
    num_right: int
    mean_crop: npt.NDArray[np.uint8]
    mean_maps: dict[str, npt.NDArray[np.float32]]
    crops: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]
    maps: dict[str, Maps]


@dataclass(frozen=True, slots=True, eq=False)
class NetExplanation:
    """All of it.

    Attributes:
        source: which net, in words.
        checkpoint_sha256: hash of its checkpoint; the manifest of an exported model names the same.
        head: "ferplus" or "fer2013"; "probabilities" of a net with one head.
        num_pictures: pictures that the figures are over.
        quality: one entry for each kind of map, yardsticks last.
        randomisation: method → how alike its maps are to those of ever more random nets.
        classes: in the order of the classes.
    """

    source: str
    checkpoint_sha256: str
    head: str
    num_pictures: int
    quality: tuple[MapQuality, ...]
    randomisation: dict[str, tuple[RandomisedPart, ...]]
    classes: tuple[ClassExamples, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures without the pictures, ready for JSON."""
        return {
            "source": self.source,
            "checkpoint_sha256": self.checkpoint_sha256,
            "head": self.head,
            "num_pictures": self.num_pictures,
            "quality": [entry.as_dict() for entry in self.quality],
            "randomisation": {
                method: {part.part: part.rank_correlation for part in parts}
                for method, parts in self.randomisation.items()
            },
            "classes": {examples.emotion: examples.num_right for examples in self.classes},
        }


def save_explanation(explanation: NetExplanation, folder: Path) -> None:
    """Write figures and pictures, each complete or not at all.

    Raises:
        EmostreamError: the folder cannot be written.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for examples in explanation.classes:
        name = examples.emotion
        arrays |= {
            f"{name}/mean_crop": examples.mean_crop,
            f"{name}/crops": examples.crops,
            f"{name}/probabilities": examples.probabilities,
        }
        # Halves are plenty for something that is looked at.
        arrays |= {
            f"{name}/mean_map/{method}": value.astype(np.float16) for method, value in examples.mean_maps.items()
        }
        arrays |= {f"{name}/maps/{method}": value.astype(np.float16) for method, value in examples.maps.items()}
    with whole_file(folder / PICTURES_FILE) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    with whole_file(folder / FIGURES_FILE) as file:
        file.write((json.dumps(explanation.as_dict(), indent=2) + "\n").encode())


def load_explanation(folder: Path) -> NetExplanation:
    """Read what `save_explanation` wrote.

    Raises:
        ModelUnavailableError: there is none in this folder.
        ManifestError: it is damaged.
    """
    for name in (FIGURES_FILE, PICTURES_FILE):
        if not (folder / name).is_file():
            raise ModelUnavailableError(
                f"{folder / name} does not exist; write it with `python -m training.explain --run RUN --out {folder}`"
            )
    try:
        figures = json.loads((folder / FIGURES_FILE).read_text(encoding="utf-8"))
        with (folder / PICTURES_FILE).open("rb") as file, np.load(file) as arrays:
            classes = tuple(_class_examples(name, num, arrays) for name, num in figures["classes"].items())
        return NetExplanation(
            source=figures["source"],
            checkpoint_sha256=figures["checkpoint_sha256"],
            head=figures["head"],
            num_pictures=figures["num_pictures"],
            quality=tuple(_map_quality(entry) for entry in figures["quality"]),
            randomisation={
                method: tuple(RandomisedPart(part, value) for part, value in parts.items())
                for method, parts in figures["randomisation"].items()
            },
            classes=classes,
        )
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as exc:
        raise ManifestError(f"explanation in {folder} is damaged ({exc}); write it again") from exc


def _class_examples(name: str, num_right: int, arrays: Any) -> ClassExamples:
    def by_method(prefix: str) -> dict[str, npt.NDArray[np.float32]]:
        start = f"{name}/{prefix}/"
        return {
            key.removeprefix(start): arrays[key].astype(np.float32) for key in arrays.files if key.startswith(start)
        }

    return ClassExamples(
        emotion=name,
        num_right=num_right,
        mean_crop=arrays[f"{name}/mean_crop"],
        mean_maps=by_method("mean_map"),
        crops=arrays[f"{name}/crops"],
        probabilities=arrays[f"{name}/probabilities"],
        maps=by_method("maps"),
    )


def _map_quality(entry: dict[str, Any]) -> MapQuality:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return MapQuality(**values)
