"""Types of the fields of events: which values they take, and how they are published.

A field's type and its docstring are its one declaration. The JSON, what is accepted when it is read back, the JSON
Schema, the tables of `docs/events.md` and the columns of CSV and Parquet files are derived from them
(`event_fields.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le, Lt, MaxLen

MAX_NAME_LENGTH = 256
"""Of streams, classes and models, in characters."""

MAX_EXACT_INTEGER = 1 << 53
"""JavaScript, Lua and other readers hold numbers as doubles: integers from here on are not exact."""


@dataclass(frozen=True, slots=True)
class Digits:
    """How many digits after the decimal point are published.

    Attributes:
        num: number of digits; more would be noise.
    """

    num: int


@dataclass(frozen=True, slots=True)
class Published:
    """How a field differs in JSON from its attribute.

    Attributes:
        name: in JSON; empty where it is that of the attribute.
        is_optional: left out while it has its default. Fields that are added to an event must be optional, because
            events published before lack them.
    """

    name: str = ""
    is_optional: bool = False


OPTIONAL = Published(is_optional=True)

Text = Annotated[str, MaxLen(MAX_NAME_LENGTH)]
Count = Annotated[int, Ge(0), Lt(MAX_EXACT_INTEGER)]
Seconds = Annotated[float, Digits(6)]
Milliseconds = Annotated[float, Digits(3)]
Score = Annotated[float, Digits(4)]
Share = Annotated[float, Ge(0), Le(1), Digits(4)]
Degrees = Annotated[float, Digits(1)]
