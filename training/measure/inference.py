"""Run a shipped model as the service does: ONNX Runtime on CPU, one crop for each picture, no test-time tricks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tqdm import tqdm  # type: ignore[import-untyped]

import emostream
from emostream.domain.model_manifest import ModelManifest, load_manifest
from emostream.errors import InferenceError, ManifestError
from emostream.vision.classify.preprocess import batch_from_pictures

SHIPPED_MODEL = Path(emostream.__file__).parent / "models" / "emotions.onnx"

_BATCH_SIZE = 64


@dataclass(frozen=True, slots=True, eq=False)
class HeadOutputs:
    """Probabilities of both heads, float32 n×classes, in the order of the manifest's labels.

    Attributes:
        ferplus: of the head that events carry.
        fer2013: of the head of FER2013's labels; the same where a model has one head.
        other_votes: n×3, the shares of people who would say contempt, unknown, and not a face; None where a model does
            not tell them.
    """

    ferplus: npt.NDArray[np.float32]
    fer2013: npt.NDArray[np.float32]
    other_votes: npt.NDArray[np.float32] | None = None


def open_session(model_path: Path, *, num_threads: int = 0) -> ort.InferenceSession:
    """Load an ONNX file on CPU; 0 threads means one for each core.

    Raises:
        ManifestError: the file is no model that ONNX Runtime can run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    # Waiting threads sleep: beside torch, or other programs, they would take the time of those that compute.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model_path, sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # the runtime has a dozen classes for this, all private
        raise ManifestError(f"model {model_path} cannot be loaded: {str(exc).splitlines()[0]}") from exc


def run_session(
    session: ort.InferenceSession,
    crops: npt.NDArray[np.uint8],
    *,
    output_names: tuple[str, ...],
    input_name: str,
    other_votes_output: str | None = None,
) -> HeadOutputs:
    """uint8 n×s×s → probabilities of both heads, or of the one that there is, and other votes where they are named.

    Raises:
        InferenceError: the model does not take such crops or does not have these outputs.
    """
    try:
        further = [] if other_votes_output is None else [other_votes_output]
        outputs = session.run([*output_names[:2], *further], {input_name: crops})
    except Exception as exc:  # see open_session
        raise InferenceError(f"the model failed on crops {crops.shape}: {str(exc).splitlines()[0]}") from exc
    heads, others = outputs[: len(outputs) - len(further)], outputs[len(outputs) - len(further) :]
    return HeadOutputs(np.asarray(heads[0]), np.asarray(heads[-1]), np.asarray(others[0]) if others else None)


def milliseconds_per_crop(model_path: Path, *, size: int, batch_size: int = 8, num_runs: int = 30) -> float:
    """Processor time of one crop, on one thread: the median batch, over its crops.

    Processor time, not the clock's, so that other programs on the machine hardly change the figure.
    """
    session = open_session(model_path, num_threads=1)
    crops = np.random.default_rng(0).integers(0, 256, size=(batch_size, size, size), dtype=np.uint8)
    feed, spent = {session.get_inputs()[0].name: crops}, []
    for _ in range(num_runs):
        started = time.process_time()
        session.run(None, feed)
        spent.append(time.process_time() - started)
    return 1000 * float(np.median(spent)) / batch_size


class OnnxModel:
    """A model file with its manifest and its heads, opened once for many calls.

    Args:
        model_path: ONNX file; its manifest lies beside it.
        num_threads: 0 means one for each core.

    Raises:
        ModelUnavailableError: model or manifest is missing.
        ManifestError: they do not fit each other, or the model has more than two outputs.
    """

    def __init__(self, model_path: Path, *, num_threads: int = 0) -> None:
        self.manifest = load_manifest(model_path)
        if len(self.manifest.outputs) not in (1, 2):
            raise ManifestError(
                f"model {model_path}: expected one output or two, got {', '.join(self.manifest.outputs) or 'none'}"
            )
        self._session = open_session(model_path, num_threads=num_threads)

    def classify(self, pictures: npt.NDArray[np.uint8], *, show_progress: bool = False) -> HeadOutputs:
        """Gray pictures n×s×s, framed like FER2013 → probabilities of both heads.

        Raises:
            InferenceError: the model failed.
        """
        manifest = self.manifest
        batch_size = min(_BATCH_SIZE, manifest.max_batch_size)
        starts = range(0, len(pictures), batch_size)
        parts = []
        for start in tqdm(starts, desc="classify", disable=not show_progress, leave=False):
            crops = batch_from_pictures(pictures[start : start + batch_size], size=manifest.input_size_pixels)
            parts.append(
                run_session(
                    self._session,
                    crops,
                    output_names=manifest.outputs,
                    input_name=manifest.input_name,
                    other_votes_output=manifest.other_votes_output,
                )
            )
        others = [part.other_votes for part in parts if part.other_votes is not None]
        return HeadOutputs(
            np.concatenate([part.ferplus for part in parts]),
            np.concatenate([part.fer2013 for part in parts]),
            np.concatenate(others) if others else None,
        )


def classify_pictures(
    model_path: Path, pictures: npt.NDArray[np.uint8], *, num_threads: int = 0, show_progress: bool = False
) -> tuple[ModelManifest, HeadOutputs]:
    """The manifest of a model and its answers for pictures, as `OnnxModel` gives them; raises what that raises."""
    model = OnnxModel(model_path, num_threads=num_threads)
    return model.manifest, model.classify(pictures, show_progress=show_progress)
