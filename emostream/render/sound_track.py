"""The sound of an annotated video: packets as they are where the container takes them, else encoded anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import av
import av.error
from av.audio.frame import AudioFrame
from av.codec import Codec
from av.container import OutputContainer

_ENCODED_AS = "aac"  # every container and player takes it
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_COMMON_RATE = 48_000
# What players expect in these containers; FFmpeg would write more than they read. Matroska takes what FFmpeg can write.
_COPIED = {
    "mp4": frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"}),
    "mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"}),
}


class Sound(Protocol):
    """Where the sound comes from, on the time line of the pictures."""

    @property
    def stream(self) -> Any:
        """PyAV's audio stream."""
        ...

    def packets_until(self, seconds: float) -> Iterator[Any]:
        """The packets (PyAV's) that begin before this time and were not given yet."""
        ...


class SoundTrack(Protocol):
    """Sound on its way into a container; made before the container's first packet is written."""

    description: str
    """What is done with the sound, for people."""

    def write_until(self, seconds: float) -> None:
        """Write the sound up to this time."""
        ...

    def finish(self) -> None:
        """Write what is left in the encoder."""
        ...


def open_sound_track(container: OutputContainer, *, container_format: str, sound: Sound) -> SoundTrack:
    """The way of this sound into this container (`container_format` is FFmpeg's name of it).

    Raises:
        ValueError: the sound can neither be copied nor encoded.
    """
    codec = sound.stream.codec_context.codec.canonical_name
    if codec in _COPIED.get(container_format, container.supported_codecs):
        return _CopiedSound(container, sound, codec=codec, takes_negative_times=container_format in _COPIED)
    return _EncodedSound(container, sound, codec=codec)


class _CopiedSound:
    """Packets as they are; those before time 0 only into containers that would not move the pictures for them."""

    def __init__(self, container: OutputContainer, sound: Sound, *, codec: str, takes_negative_times: bool) -> None:
        self.description = f"copied ({codec})"
        self._container = container
        self._sound = sound
        self._stream = container.add_stream_from_template(sound.stream)
        self._takes_negative_times = takes_negative_times
        self._last_dts: int | None = None

    def write_until(self, seconds: float) -> None:
        """Copy the packets up to this time."""
        for packet in self._sound.packets_until(seconds):
            if packet.pts < 0 and not self._takes_negative_times:
                continue
            if self._last_dts is not None and packet.dts <= self._last_dts:
                continue  # time runs backwards in the source: no container takes that
            self._last_dts = packet.dts
            packet.stream = self._stream
            self._container.mux(packet)

    def finish(self) -> None:
        """Nothing is left."""


class _EncodedSound:
    """Decoded, brought into the form that AAC takes, and encoded."""

    def __init__(self, container: OutputContainer, sound: Sound, *, codec: str) -> None:
        self.description = f"encoded anew ({codec} → {_ENCODED_AS})"
        self._container = container
        self._sound = sound
        source = sound.stream.codec_context
        # By number: containers like Matroska do not always name the layout of uncompressed sound.
        layout = _LAYOUTS.get(source.layout.nb_channels, "stereo")
        rates = Codec(_ENCODED_AS, "w").audio_rates or []
        rate = source.sample_rate if source.sample_rate in rates else _COMMON_RATE
        stream: Any = container.add_stream(_ENCODED_AS, rate=rate, layout=layout)
        self._stream = stream
        context = stream.codec_context
        context.open()  # only then it says how many samples it takes at once
        self._resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=context.sample_rate, frame_size=context.frame_size
        )

    def write_until(self, seconds: float) -> None:
        """Encode the sound up to this time."""
        for packet in self._sound.packets_until(seconds):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # a damaged packet is a moment of silence
            for frame in frames:
                if frame.time is not None and frame.time >= 0:
                    self._encode(frame)

    def finish(self) -> None:
        """What the resampler and the encoder hold back."""
        self._encode(None)
        self._container.mux(self._stream.encode(None))

    def _encode(self, frame: AudioFrame | None) -> None:
        for part in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(part))
