"""The one door to torchvision: `from training.nets.torchvision_import import torchvision`.

PyPI's torchvision is built against CUDA. Beside a CPU build of torch its compiled operators cannot be loaded, which it
would survive, but its import fails all the same: it registers shape functions for two of these operators,
`torchvision::nms` and `torchvision::qnms`, without asking whether they exist (pytorch/vision issues 9085 and 9649). So
where the compiled part does not load, both operators are declared here, without any code behind them, before the
import. Models and transforms are plain torch and work; `torchvision.ops.nms` and the picture readers of
`torchvision.io`, among them `transforms.v2.functional.jpeg` on tensors, say that the compiled part is missing. Where it
does load nothing is declared and this is the plain import.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import torch

# As in torchvision's own sources, operator by operator.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_part_loads() -> bool:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision is not installed: pip install -e '.[train]' -c deploy/constraints.txt")
    libraries = sorted(Path(spec.origin).parent.glob("_C.*"))
    try:
        for library in libraries:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return bool(libraries)


# A declaration lives as long as its library object.
_declared: torch.library.Library | None = None
if "torchvision" not in sys.modules and not _compiled_part_loads():
    _declared = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for _schema in _SCHEMAS:
        _declared.define(_schema)  # type: ignore[no-untyped-call]

import torchvision  # noqa: E402  # only now can it be imported
from torchvision.transforms import v2  # noqa: E402

__all__ = ["torchvision", "v2"]
