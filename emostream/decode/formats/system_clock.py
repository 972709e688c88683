"""How long an MPEG transport or program stream lasts by its own clock, and whether that clock jumps.

These files have no index. FFmpeg subtracts the first time stamp from the last one, which says nothing where recordings
were put together or an encoder began again: two and a half seconds whose clock jumps in the middle "last" 5000 s. Their
clock (PCR, SCR) is written every 0.1 or 0.7 seconds at least (ISO/IEC 13818-1, 2.7.2 and 2.7.1), so that a longer step
is a jump. Small files are read whole. Of large ones readings at even distances are compared: where the clock's pace
between two of them is far from that around them, the place between them is looked at, until the jump is found.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

MAX_GAP_SECONDS = 60.0
"""A longer step of such a clock is no pause, but another clock. Reception that is lost for less is a pause."""

_SYNC = 0x47
_PACKET_SIZES = (188, 192, 204)  # plain, with a time code in front (M2TS), with check bytes behind
_NUM_CHECKED = 8  # packets whose beginnings tell the size
_WINDOW_BYTES = 1 << 19
_WHOLE_BYTES = 32 * _WINDOW_BYTES  # up to here a file is read whole
_NUM_WINDOWS = 32
_MAX_WINDOWS = 256  # what a file of many short recordings may cost
_MAX_PACE_RATIO = 4.0  # of quiet scenes and busy ones, in seconds per byte
_HZ = 90_000
_WRAP = 1 << 33
_PACK = re.compile(rb"\x00\x00\x01\xba")
_PACK_BYTES = 10  # of a pack header up to the end of its clock


class _Reading(NamedTuple):
    position: int  # in the file
    ticks: int  # of 90 kHz


@dataclass(frozen=True, slots=True)
class ClockLength:
    """What the clock of a file says.

    Attributes:
        seconds: from its first to its last reading, without jumps.
        has_jumps: whether there are any, as far as was looked.
    """

    seconds: float
    has_jumps: bool


def read_clock(file: BinaryIO, *, size: int, start: bytes) -> ClockLength | None:
    """The length of a transport or program stream; None of other files, and where there is no clock.

    Args:
        file: opened for reading; its position is moved.
        size: in bytes.
        start: its first bytes, some kilobytes where there are as many.
    """
    packet_bytes = _packet_bytes(start)
    if packet_bytes is None and not start.startswith(b"\x00\x00\x01\xba"):
        return None
    clock = _Clock(file, size=size, packet_bytes=packet_bytes)
    return clock.whole() if size <= _WHOLE_BYTES else clock.sampled()


def _packet_bytes(start: bytes) -> int | None:
    """The distance of transport packets; None where these are none."""
    for packet_bytes in _PACKET_SIZES:
        first = packet_bytes - 188 if packet_bytes == 192 else 0
        beginnings = start[first : first + _NUM_CHECKED * packet_bytes : packet_bytes]
        if len(beginnings) >= 2 and set(beginnings) == {_SYNC}:
            return packet_bytes
    return None


@dataclass(slots=True)
class _Clock:
    file: BinaryIO
    size: int
    packet_bytes: int | None  # None of a program stream
    _program: int | None = None  # the PID of the clock that is read
    _num_windows: int = 0
    _has_jumps: bool = False

    def whole(self) -> ClockLength | None:
        """Every reading of the file."""
        readings: list[_Reading] = []
        for begin in range(0, self.size, _WINDOW_BYTES):
            readings += self._window(begin)
        return ClockLength(self._sum(readings), self._has_jumps) if len(readings) > 1 else None

    def sampled(self) -> ClockLength | None:
        """By readings at even distances."""
        places = [index * (self.size - _WINDOW_BYTES) // (_NUM_WINDOWS - 1) for index in range(_NUM_WINDOWS)]
        windows = [window for place in places if len(window := self._window(place)) > 1]
        if len(windows) < 2:
            return None
        between = sum(self._between(first, last) for first, last in itertools.pairwise(windows))
        return ClockLength(between + sum(map(self._sum, windows)), self._has_jumps)

    def _between(self, first: list[_Reading], last: list[_Reading]) -> float:
        """Seconds from the end of one window to the beginning of another, without jumps."""
        begin, end = first[-1], last[0]
        num_bytes = end.position - begin.position
        if num_bytes <= 0:
            return 0.0
        seconds, paces = _step(begin, end), (self._pace(first), self._pace(last))
        if min(paces) / _MAX_PACE_RATIO <= seconds / num_bytes <= max(paces) * _MAX_PACE_RATIO:
            return seconds
        if num_bytes <= _WINDOW_BYTES:
            return self._sum([begin, end])
        if self._num_windows >= _MAX_WINDOWS:
            self._has_jumps = True
            return num_bytes * sum(paces) / 2
        middle = self._window((begin.position + end.position - _WINDOW_BYTES) // 2)
        middle = [reading for reading in middle if begin.position < reading.position < end.position]
        if len(middle) < 2:
            return self._sum([begin, end])
        return self._between(first, middle) + self._sum(middle) + self._between(middle, last)

    def _pace(self, window: list[_Reading]) -> float:
        """Seconds per byte."""
        return self._sum(window) / (window[-1].position - window[0].position)

    def _sum(self, readings: list[_Reading]) -> float:
        """Seconds that pass over neighbouring readings; a jump takes as long as the other steps on average."""
        steps = [_step(earlier, later) for earlier, later in itertools.pairwise(readings)]
        good = [step for step in steps if step <= MAX_GAP_SECONDS]
        if len(good) < len(steps):
            self._has_jumps = True
        return sum(good) * len(steps) / len(good) if good else 0.0

    def _window(self, begin: int) -> list[_Reading]:
        """The readings of a part of the file."""
        self._num_windows += 1
        if self.packet_bytes is not None:
            begin -= begin % self.packet_bytes
        self.file.seek(max(0, begin))
        content = self.file.read(_WINDOW_BYTES + (self.packet_bytes or _PACK_BYTES))
        if self.packet_bytes is None:
            return list(self._in_program(content, begin))
        return self._in_transport(content, begin)

    def _in_program(self, content: bytes, begin: int) -> Iterator[_Reading]:
        for found in _PACK.finditer(content):
            clock = content[found.start() + 4 : found.start() + _PACK_BYTES]
            if len(clock) < 5 or found.start() >= _WINDOW_BYTES:
                return
            bits = int.from_bytes(clock[:5], "big")
            if clock[0] >> 6 == 0b01:  # MPEG-2: 01 xxx 1 x{15} 1 x{15} 1
                ticks = (bits >> 35 & 7) << 30 | (bits >> 19 & 0x7FFF) << 15 | bits >> 3 & 0x7FFF
            elif clock[0] >> 4 == 0b0010:  # MPEG-1: 0010 xxx 1 x{15} 1 x{15} 1
                ticks = (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | bits >> 1 & 0x7FFF
            else:
                continue
            yield _Reading(begin + found.start(), ticks)

    def _in_transport(self, content: bytes, begin: int) -> list[_Reading]:
        assert self.packet_bytes is not None  # noqa: S101  # for the type checker
        num_packets = min(len(content), _WINDOW_BYTES) // self.packet_bytes
        packets: npt.NDArray[np.uint8] = np.frombuffer(content, np.uint8, num_packets * self.packet_bytes)
        packets = packets.reshape(num_packets, self.packet_bytes)[:, self.packet_bytes - 188 if self._is_timed else 0 :]
        has_clock = (packets[:, 0] == _SYNC) & (packets[:, 3] & 0x20 > 0) & (packets[:, 4] >= 7)
        has_clock &= packets[:, 5] & 0x10 > 0
        found: list[tuple[int, _Reading]] = []
        for index in np.flatnonzero(has_clock):
            packet = packets[index, :12].tobytes()
            program = int.from_bytes(packet[1:3], "big") & 0x1FFF
            found.append((program, _Reading(begin + int(index) * self.packet_bytes, _pcr(packet))))
        programs = [program for program, _ in found]
        if found and self._program not in programs:  # another recording, or the clock of another program is denser
            self._program = programs[0]
        return [reading for program, reading in found if program == self._program]

    @property
    def _is_timed(self) -> bool:
        return self.packet_bytes == 192


def _pcr(packet: bytes) -> int:
    """The clock of a packet that has one, without its fraction."""
    return int.from_bytes(packet[6:11], "big") >> 7


def _step(earlier: _Reading, later: _Reading) -> float:
    """Seconds from one reading to the next, which a counter of 33 bits tells; steps back are very long ones."""
    return ((later.ticks - earlier.ticks) % _WRAP) / _HZ
