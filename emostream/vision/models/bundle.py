"""Makes the prepared detectors that come with this package: `python -m emostream.vision.models.bundle`.

They are made by pulling: the published file is fetched, checked against the lock file and prepared. To be run, and the
result committed, when a model or its preparation changes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from emostream.config import ModelSettings
from emostream.vision.models.lock import PulledModel, locked_models
from emostream.vision.models.store import ModelStore, hash_path, prepared_name


def make_bundle(folder: Path) -> list[Path]:
    """Prepare every pulled model of the lock file into a folder, with its hash beside it; older ones are removed.

    Raises:
        ModelUnavailableError: a model cannot be fetched.
    """
    made = []
    with tempfile.TemporaryDirectory() as workplace:
        store = ModelStore(ModelSettings(cache_dir=Path(workplace, "store")), bundle=Path(workplace, "none"))
        for model in locked_models().values():
            if not isinstance(model, PulledModel):
                continue
            path = store.pull(model.name, progress=lambda line: print(line, file=sys.stderr))
            for older in folder.glob(f"{model.name}-{'?' * 12}-prepared-*"):
                older.unlink()
            target = folder / prepared_name(model)
            shutil.copyfile(path, target)
            shutil.copyfile(hash_path(path), hash_path(target))
            made.append(target)
    return made


if __name__ == "__main__":
    for written in make_bundle(Path(str(files("emostream.models")))):
        print(written)
