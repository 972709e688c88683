"""The only import of the packages `tensorrt` and `tensorrt_rtx`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from emostream.errors import EngineUnavailableError

logger = logging.getLogger(__name__)

TrtName = Literal["tensorrt", "tensorrt_rtx"]
"""TensorRT is for data-centre GPUs, TensorRT-RTX for RTX GPUs."""
TRT_NAMES: tuple[TrtName, ...] = ("tensorrt", "tensorrt_rtx")
"""In order of preference."""

_INSTALL = {
    "tensorrt": (
        "install it from NVIDIA's index (https://docs.nvidia.com/deeplearning/tensorrt/latest/installing-tensorrt/): "
        "`pip install tensorrt-cu13`"
    ),
    "tensorrt_rtx": "install the extra: `pip install 'emostream[gpu]'`",
}

# GPUs supported by TensorRT-RTX. Its engines for 8.0 and later are one file for all of them; 7.5 needs its own.
_RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))


class TrtLog:
    """Forwards a package's log to this module's logger, and its errors to the open listeners."""

    def __init__(self, module: Any) -> None:
        self._listeners: list[list[str]] = []
        self.handle = self._handle_for(module)
        """What the package's constructors take. One per process, since the package keeps the first."""

    @contextlib.contextmanager
    def errors(self) -> Iterator[list[str]]:
        """A list that receives each error while the context is open."""
        heard: list[str] = []
        self._listeners.append(heard)
        try:
            yield heard
        finally:
            self._listeners.remove(heard)

    def _handle_for(self, module: Any) -> Any:
        listeners = self._listeners
        severity = module.ILogger.Severity
        levels = {
            severity.INTERNAL_ERROR: logging.INFO,  # it also becomes an exception
            severity.ERROR: logging.INFO,
            severity.WARNING: logging.INFO,
            severity.INFO: logging.DEBUG,
        }

        class Handle(module.ILogger):  # type: ignore[misc]  # the base class is known only at run time
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, level: Any, message: str) -> None:
                if level in (severity.ERROR, severity.INTERNAL_ERROR):
                    for heard in listeners:
                        heard.append(message)
                if level in levels:
                    logger.log(levels[level], "%s", message)

        return Handle()


def first_reason(errors: list[str]) -> str:
    """The beginning of the first error, in one line; the packages' messages can be pages long."""
    return textwrap.shorten(errors[0], 300, placeholder=" …") if errors else "no reason given"


@dataclass(frozen=True, slots=True)
class TrtPackage:
    """An imported package.

    Attributes:
        name: of the engine and of the module.
        module: the module; the packages differ only in it.
        version: of the package.
        log: its log.
    """

    name: TrtName
    module: Any
    version: str
    log: TrtLog

    @property
    def is_rtx(self) -> bool:
        """Whether this is TensorRT-RTX: it builds for all RTX GPUs without one and finishes on the GPU at run time."""
        return self.name == "tensorrt_rtx"

    def runs_on(self, compute_capability: tuple[int, int]) -> bool:
        """Whether the package supports GPUs of this compute capability."""
        return not self.is_rtx or compute_capability in _RTX_CAPABILITIES

    def make(self, name: str, errors: list[str]) -> Any:
        """A `Builder` or `Runtime`.

        Raises:
            EngineUnavailableError: the package gives none, for example without its libraries, a GPU, or a driver that
                is new enough. It raises `TypeError: factory function returned nullptr` then; other versions return
                None.
        """
        try:
            made = getattr(self.module, name)(self.log.handle)
        except (TypeError, RuntimeError) as exc:
            reason = first_reason([*errors, str(exc)])
            raise EngineUnavailableError(f"{self.name} gives no {name} here: {reason}", engine=self.name) from exc
        if made is None:
            raise EngineUnavailableError(f"{self.name} gives no {name} here: {first_reason(errors)}", engine=self.name)
        return made


@functools.cache
def load_package(name: TrtName) -> TrtPackage:
    """Import a package; later calls return the same object.

    Raises:
        EngineUnavailableError: the package is not installed, or its libraries are missing.
    """
    try:
        module = importlib.import_module(name)
        return TrtPackage(name, module, str(module.__version__), TrtLog(module))
    except ModuleNotFoundError as exc:
        raise EngineUnavailableError(f"package {exc.name} is not installed; {_INSTALL[name]}", engine=name) from exc
    except Exception as exc:  # missing libraries cause several types of exception
        reason = " ".join(str(exc).split())
        raise EngineUnavailableError(
            f"package {name} cannot be imported ({reason}); {_INSTALL[name]}", engine=name
        ) from exc
