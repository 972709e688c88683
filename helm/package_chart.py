"""Packages the chart with the digests of the images that were published with it.

    python -m helm.package_chart --repository registry.example/emostream --cpu-digest sha256:… --gpu-digest sha256:…

A released chart names its images by digest, so that it runs what it was released with, whatever a tag points to later.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

CHART = Path(__file__).parent / "emostream"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9][-a-z0-9._/:]*")


def values_with_images(text: str, *, repository: str, cpu_digest: str, gpu_digest: str) -> str:
    """The text of values.yaml with these images in place of its own; comments stay.

    Raises:
        ValueError: the text has no such values, or a digest or the repository is malformed.
    """
    for name, digest in (("--cpu-digest", cpu_digest), ("--gpu-digest", gpu_digest)):
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{name}: expected sha256: and 64 hexadecimal digits, got {digest!r}")
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"--repository: expected an image name without tag, got {repository!r}")
    for key, value in (("repository", repository), ("cpuDigest", cpu_digest), ("gpuDigest", gpu_digest)):
        text, number = re.subn(rf"^  {key}: .*$", f'  {key}: "{value}"', text, flags=re.MULTILINE)
        if number != 1:
            raise ValueError(f"expected one line `{key}:` below `image:` in values.yaml, found {number}")
    return text


def package_chart(values: str, *, destination: Path, helm: str = "helm") -> None:
    """Package the chart with these values.

    Raises:
        FileNotFoundError: Helm is not installed.
        subprocess.CalledProcessError: Helm refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / CHART.name
        shutil.copytree(CHART, copy)
        (copy / "values.yaml").write_text(values, encoding="utf-8")
        subprocess.run([helm, "lint", "--strict", copy], check=True)  # noqa: S603 (the program that the caller named)
        subprocess.run([helm, "package", copy, "--destination", destination], check=True)  # noqa: S603


def main(arguments: Sequence[str] | None = None) -> int:
    """Package the chart as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="helm.package_chart", description="Package the chart with pinned images.")
    parser.add_argument("--repository", required=True, help="Image name without tag.")
    parser.add_argument("--cpu-digest", required=True, help="Digest of the CPU image.")
    parser.add_argument("--gpu-digest", required=True, help="Digest of the GPU image.")
    parser.add_argument("--destination", type=Path, default=Path(), help="Folder of the package; default: this one.")
    parser.add_argument("--helm", default="helm", help="The program.")
    options = parser.parse_args(arguments)
    try:
        values = values_with_images(
            (CHART / "values.yaml").read_text(encoding="utf-8"),
            repository=options.repository,
            cpu_digest=options.cpu_digest,
            gpu_digest=options.gpu_digest,
        )
        package_chart(values, destination=options.destination, helm=options.helm)
    except (ValueError, OSError, subprocess.CalledProcessError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
