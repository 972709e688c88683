"""The sound of an annotated video: copied where the container supports the codec, otherwise re-encoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import av
import av.error
from av.audio.frame import AudioFrame
from av.codec import Codec
from av.container import OutputContainer

_ENCODED_AS = "aac"  # supported by every container and player
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_COMMON_RATE = 48_000
# Codecs that players support in these containers; FFmpeg would write more. Matroska takes whatever FFmpeg can write.
_COPIED = {
    "mp4": frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"}),
    "mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"}),
}


class Sound(Protocol):
    """A sound stream on the time line of the pictures."""

    @property
    def stream(self) -> Any:
        """PyAV's audio stream."""
        ...

    def packets_until(self, seconds: float) -> Iterator[Any]:
        """The packets (PyAV's) that start before this time and were not returned yet."""
        ...


class SoundTrack(Protocol):
    """Writes sound to a container; created before the container's first packet is written."""

    description: str
    """How the sound is written, as text for the user."""

    def write_until(self, seconds: float) -> None:
        """Write the sound up to this time."""
        ...

    def finish(self) -> None:
        """Flush the encoder."""
        ...


def open_sound_track(container: OutputContainer, *, container_format: str, sound: Sound) -> SoundTrack:
    """Copy the sound if the container supports its codec, otherwise encode it.

    Args:
        container: the open output container.
        container_format: FFmpeg's name of its format.
        sound: the sound to write; not closed here.

    Raises:
        ValueError: the sound can neither be copied nor encoded.
    """
    codec = sound.stream.codec_context.codec.canonical_name
    if codec in _COPIED.get(container_format, container.supported_codecs):
        return _CopiedSound(container, sound, codec=codec, takes_negative_times=container_format in _COPIED)
    return _EncodedSound(container, sound, codec=codec)


class _CopiedSound:
    """Copies packets; those before time 0 only where the container would not shift the pictures for them."""

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
                continue  # time went back in the source, which no container allows
            self._last_dts = packet.dts
            packet.stream = self._stream
            self._container.mux(packet)

    def finish(self) -> None:
        """Do nothing."""


class _EncodedSound:
    """Decodes, resamples and encodes to AAC."""

    def __init__(self, container: OutputContainer, sound: Sound, *, codec: str) -> None:
        self.description = f"re-encoded ({codec} → {_ENCODED_AS})"
        self._container = container
        self._sound = sound
        source = sound.stream.codec_context
        # By number of channels: containers such as Matroska do not always store the layout of uncompressed sound.
        layout = _LAYOUTS.get(source.layout.nb_channels, "stereo")
        rates = Codec(_ENCODED_AS, "w").audio_rates or []
        rate = source.sample_rate if source.sample_rate in rates else _COMMON_RATE
        stream: Any = container.add_stream(_ENCODED_AS, rate=rate, layout=layout)
        self._stream = stream
        context = stream.codec_context
        context.open()  # sets frame_size
        self._resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=context.sample_rate, frame_size=context.frame_size
        )

    def write_until(self, seconds: float) -> None:
        """Encode the sound up to this time."""
        for packet in self._sound.packets_until(seconds):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # a damaged packet becomes silence
            for frame in frames:
                if frame.time is not None and frame.time >= 0:
                    self._encode(frame)

    def finish(self) -> None:
        """Flush the resampler and the encoder."""
        self._encode(None)
        self._container.mux(self._stream.encode(None))

    def _encode(self, frame: AudioFrame | None) -> None:
        for part in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(part))
