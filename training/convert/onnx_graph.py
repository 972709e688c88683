"""A trained net → an ONNX model: uint8 crops in, calibrated probabilities of its heads out."""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from torch import Tensor, nn

from training.convert.pool_folding import fold_pools
from training.measure.scalings import HeadScalings
from training.measure.temperature import Scaling
from training.nets.repvgg import folded

OPSET = 17
"""Has all that the graph needs, and every ONNX Runtime since 1.12 and TensorRT since 8.5 reads it."""
INPUT_NAME = "crops"
OUTPUT_NAMES = ("probabilities", "fer2013_probabilities")
"""Of a net with both heads. The first is what events carry; a net with one head has it alone."""


OTHER_VOTES_NAME = "other_votes"
"""A third output, of a net with `model.other_votes`."""


class ServedModel(nn.Module):
    """A net with its scalings and softmax: what the ONNX file computes.

    Args:
        model: of one head or two, and with or without other votes.
        scalings: of them; one head has that of the labels.
        has_votes: whether there are two.
    """

    def __init__(self, model: nn.Module, scalings: HeadScalings, *, has_votes: bool = True) -> None:
        super().__init__()
        self.model = folded(model)
        self.scalings = scalings
        self.has_other_votes = bool(getattr(model, "num_other_votes", 0))
        self.output_names = OUTPUT_NAMES if has_votes else OUTPUT_NAMES[:1]

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """uint8 n×s×s → (FER+ probabilities, challenge probabilities) or those of one head, float32 n×classes.

        With other votes their shares among all votes come third, float32 n×3. Scalings do not change them.
        """
        ferplus, fer2013 = self.model(crops)
        by_label = torch.softmax(_scaled(fer2013, self.scalings.fer2013), dim=1)
        if len(self.output_names) == 1:
            return (by_label,)
        num_words = fer2013.shape[1]
        by_votes = torch.softmax(_scaled(ferplus[:, :num_words], self.scalings.ferplus), dim=1)
        if not self.has_other_votes:
            return by_votes, by_label
        return by_votes, by_label, torch.softmax(ferplus, dim=1)[:, num_words:]


def _scaled(logits: Tensor, scaling: Scaling) -> Tensor:
    scaled = logits / scaling.temperature
    if not scaling.shifts:
        return scaled
    return scaled - torch.tensor([-shift for shift in scaling.shifts])  # an addition would be quantised


def onnx_from_model(served: ServedModel, *, input_size_pixels: int) -> onnx.ModelProto:
    """Trace the model in evaluation mode, with a dynamic batch; batch norms and pools are folded into convolutions."""
    served.eval()
    # Contiguous weights: channels-last strides would be traced as transposes.
    served = served.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    names = (*served.output_names, OTHER_VOTES_NAME) if served.has_other_votes else served.output_names
    buffer = io.BytesIO()
    example = torch.zeros((2, input_size_pixels, input_size_pixels), dtype=torch.uint8)
    with warnings.catch_warnings():
        # The newer exporter needs a further package (onnxscript); this one is deprecated but complete for such a net.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            served,
            (example,),
            buffer,  # type: ignore[arg-type]  # a file object is taken, though not declared
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=list(names),
            dynamic_axes={name: {0: "batch"} for name in (INPUT_NAME, *names)},
        )
    model = fold_pools(onnx.load_from_string(buffer.getvalue()))
    onnx.checker.check_model(model, full_check=True)
    return model


def output_names_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """What a graph gives, in order: one name for each head."""
    return tuple(output.name for output in model.graph.output)


def set_metadata(model: onnx.ModelProto, properties: dict[str, str]) -> None:
    """Put properties into the file's own metadata, in place of any of the same name."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key not in properties]
    onnx.helper.set_model_props(model, dict(kept) | properties)
