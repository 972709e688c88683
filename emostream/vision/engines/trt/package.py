"""The door to the packages `tensorrt` and `tensorrt_rtx`."""

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
"""For data-centre GPUs, and for RTX GPUs."""
TRT_NAMES: tuple[TrtName, ...] = ("tensorrt", "tensorrt_rtx")
"""In the order in which they are preferred."""

_INSTALL = {
    "tensorrt": (
        "install it from NVIDIA's index (https://docs.nvidia.com/deeplearning/tensorrt/latest/installing-tensorrt/): "
        "`pip install tensorrt-cu13`"
    ),
    "tensorrt_rtx": "install the extra: `pip install 'emostream[gpu]'`",
}

# What the RTX form runs on. Its engines for 8.0 and later are one file for all of them; 7.5 needs one of its own.
_RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))


class TrtLog:
    """What a package says: passed to the log of this module, and errors also to whoever listens."""

    def __init__(self, module: Any) -> None:
        self._listeners: list[list[str]] = []
        self.handle = self._handle_for(module)
        """What the package's constructors take; one for the whole process, since the package keeps the first."""

    @contextlib.contextmanager
    def errors(self) -> Iterator[list[str]]:
        """A list that grows by each error while the context is open."""
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
            severity.INTERNAL_ERROR: logging.INFO,  # an exception will tell it
            severity.ERROR: logging.INFO,
            severity.WARNING: logging.INFO,
            severity.INFO: logging.DEBUG,
        }

        class Handle(module.ILogger):  # type: ignore[misc]  # the base is known only now
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
    """The beginning of the first error, in one line; the packages write pages."""
    return textwrap.shorten(errors[0], 300, placeholder=" …") if errors else "no reason given"


@dataclass(frozen=True, slots=True)
class TrtPackage:
    """One of the packages, imported.

    Attributes:
        name: of the engine, and of the module.
        module: the module itself; the only thing in this program that differs between the two.
        version: of the package.
        log: what it says.
    """

    name: TrtName
    module: Any
    version: str
    log: TrtLog

    @property
    def is_rtx(self) -> bool:
        """Whether its engines are built ahead for all RTX GPUs, without one, and finished on the GPU that runs them."""
        return self.name == "tensorrt_rtx"

    def runs_on(self, compute_capability: tuple[int, int]) -> bool:
        """Whether a GPU of this compute capability is one of those that it is made for."""
        return not self.is_rtx or compute_capability in _RTX_CAPABILITIES


@functools.cache
def load_package(name: TrtName) -> TrtPackage:
    """Import a package, once.

    Raises:
        EngineUnavailableError: it is not installed, or its libraries are missing; the message says what to install.
    """
    try:
        module = importlib.import_module(name)
        return TrtPackage(name, module, str(module.__version__), TrtLog(module))
    except ModuleNotFoundError as exc:
        raise EngineUnavailableError(f"package {exc.name} is not installed; {_INSTALL[name]}", engine=name) from exc
    except Exception as exc:  # a package without its libraries fails in several ways
        reason = " ".join(str(exc).split())
        raise EngineUnavailableError(
            f"package {name} cannot be imported ({reason}); {_INSTALL[name]}", engine=name
        ) from exc
