"""What several of these tests start from."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.vision.detect.real_model import centerface_path


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A public-domain portrait, 512×512, of a smiling woman; carried by scikit-image."""
    centerface_path()
    found = find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("needs scikit-image for a portrait")
    source = Path(found.origin).parent / "data" / "astronaut.png"
    return Path(shutil.copy(source, tmp_path_factory.mktemp("portrait") / "portrait.png"))
