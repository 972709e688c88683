"""How much is drawn on annotated pictures and videos."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from emostream.errors import ConfigError

OverlayName = Literal["box", "label", "bars"]
"""The names of `OverlayStyle`."""


class OverlayStyle(StrEnum):
    """How much is drawn on a picture."""

    BOX = "box"  # boxes in the colours of the emotions
    LABEL = "label"  # and numbers and emotions
    BARS = "bars"  # and bars of the probabilities of the largest faces

    @classmethod
    def of(cls, name: str) -> OverlayStyle:
        """The style of a name; raises `ConfigError`."""
        try:
            return cls(name)
        except ValueError:
            raise ConfigError(f"expected an overlay of {', '.join(cls)}, got {name!r}") from None
