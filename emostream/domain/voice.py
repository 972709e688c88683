"""What consumers receive of the sound of a stream: the voice in one second of it, every half second."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from annotated_types import Ge, MaxLen

from emostream.domain.fields import OPTIONAL, Count, Digits, Seconds, Share, Text

VoiceFlag = Literal["silent", "clipped"]
"""Why the measurements of a window deserve less trust. Events of later versions may carry others."""

Hertz = Annotated[float, Ge(0), Digits(1)]
Loudness = Annotated[float, Digits(1)]
Rate = Annotated[float, Ge(0), Digits(2)]
Duration = Annotated[float, Ge(0), Digits(2)]


@dataclass(frozen=True, slots=True)
class VoiceWindow:
    """The voice in one second of sound."""

    window_index: Count
    """0-based number of the window in this run; windows begin half a second apart and last one second."""
    started_pts_seconds: Seconds
    """Where it begins, on the time line of the pictures."""
    ended_pts_seconds: Seconds
    """Where it ends."""
    speech_share: Share
    """Share of the window in which someone speaks. Singing may count as speech."""
    quality: Annotated[tuple[VoiceFlag | str, ...], MaxLen(64)] = ()
    """Why the measurements deserve less trust: `silent` (no sound at all), `clipped` (the recording was too loud for
    its format). Empty when nothing is wrong. Later versions may add some."""
    loudness_lufs: Annotated[Loudness | None, OPTIONAL] = field(default=None, kw_only=True)
    """Loudness of the mono mix, of speech and everything else (ITU-R BS.1770, not gated). Absent in silence."""
    pitch_hz: Annotated[Hertz | None, OPTIONAL] = field(default=None, kw_only=True)
    """Median pitch of the voice. Absent where less than 0.1 s of speech has a pitch."""
    pitch_low_hz: Annotated[Hertz | None, OPTIONAL] = field(default=None, kw_only=True)
    """A tenth of the speech with a pitch is lower."""
    pitch_high_hz: Annotated[Hertz | None, OPTIONAL] = field(default=None, kw_only=True)
    """A tenth of it is higher."""
    syllables_per_second: Annotated[Rate | None, OPTIONAL] = field(default=None, kw_only=True)
    """Speaking rate: syllables per second of speech, over the three seconds up to the end of the window. Absent where
    they hold less than one second of speech."""
    pause_seconds: Annotated[Duration | None, OPTIONAL] = field(default=None, kw_only=True)
    """Silence since the last speech, at the end of the window; 0 during speech. Absent before the first speech."""
    arousal: Annotated[Share | None, OPTIONAL] = field(default=None, kw_only=True)
    """Probability that listeners would call the voice highly aroused (as in acted anger, fear or joy) and not calm,
    over the same three seconds. It names no emotion. Absent where they hold less than one second of speech."""


@dataclass(frozen=True, slots=True)
class VoiceEvent:
    """The voice in one second of the sound of a stream."""

    stream_id: Text
    """Id of the stream."""
    epoch: Count
    """Which run of it, as in its emotion events. With `window_index` it identifies a window."""
    window: VoiceWindow
    """What was measured."""
    captured_at: datetime
    """When the sound was read, UTC."""
    model_name: Text
    """Name of the model of the arousal."""
    model_version: Text
    """Its version."""
