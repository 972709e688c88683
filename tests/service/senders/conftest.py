"""What tests of senders share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from emostream.config import load_settings
from emostream.pipeline.build import Models, loaded_models
from tests.vision.detect.real_model import centerface_path


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    """The real ones."""
    centerface_path()
    with loaded_models(load_settings()) as models:
        yield models


@pytest.fixture(scope="module")
def portrait() -> Any:
    """A smiling face; uint8, 512×512×3."""
    from skimage import data

    return data.astronaut()  # type: ignore[no-untyped-call]
