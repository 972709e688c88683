"""Imports go one way, and each technology has one door (house rules; docs/architecture.md draws them)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "emostream"

# technology → the files that may import it
DOORS = {
    "av": {
        "decode/pyav_source.py",
        "decode/av_errors.py",
        "decode/hardware.py",
        "decode/sound.py",
        "render/video_writer.py",
        "render/encoder.py",
        "render/sound_track.py",
        "bench/camera.py",
    },
    "redis": {
        "publish/redis_sink.py",
        "publish/bounded_script.py",
        "publish/event_memory.py",
        "publish/fence.py",
        "publish/group_positions.py",
        "publish/redis_reader.py",
        "publish/redis_connection.py",
        "publish/stream_reads.py",
        "publish/replicated.py",
        "publish/embedded_redis.py",
        "service/store.py",
    },
    "PIL": {"decode/still_picture.py"},
    "pillow_heif": {"decode/still_picture.py"},
    "fsspec": {"decode/remote_file.py"},
    "tensorrt": {"trt/package.py"},
    "tensorrt_rtx": {"trt/package.py"},
    "cuda": {"trt/cuda.py", "trt/nvml.py"},
    "prometheus_client": {"exposition.py"},
    "opentelemetry": {"otel_exporter.py"},
    "typer": None,  # commands only, checked below
    "ray": None,  # deployments only, checked below
    "torch": set(),
    "sklearn": set(),
}
FEATURES = {"decode", "detect", "track", "classify", "publish", "render", "models", "explain"}
ROOT_MAY_USE_FEATURES = {
    "pipeline",
    "pictures",
    "chunk",
    "assembly",
    "measurement",
    "bench",
    "demo_clip",
    "cli",
    "testing",
    "sink_contract",
    "engine_contract",
    "detector_contract",
    "client",
    "commands",
    "service",
    "deployments",
}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_technology_has_one_door(path: Path) -> None:
    relative = str(path.relative_to(PACKAGE))
    for name in _imports(path):
        top = name.partition(".")[0]
        doors = DOORS.get(top, {relative})
        if top == "typer":
            assert relative == "cli.py" or relative.startswith("commands/"), f"{relative} imports typer"
        elif top == "ray":
            assert relative.startswith("deployments/"), f"{relative} imports ray"
        else:
            assert doors is not None and relative in doors, (
                f"{relative} imports {top}; its door is {doors or 'training/'}"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_features_do_not_import_each_other(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    here = parts[0]
    for name in _imports(path):
        assert not name.startswith("training"), f"{path.name} imports training"
        if not name.startswith("emostream."):
            continue
        target = name.split(".")[1]
        if here in FEATURES:
            assert target == here or target not in FEATURES | ROOT_MAY_USE_FEATURES, f"{'/'.join(parts)} imports {name}"
        elif here not in ROOT_MAY_USE_FEATURES and here not in ("__init__", "__main__"):
            assert target not in FEATURES, f"{'/'.join(parts)} imports {name}"
