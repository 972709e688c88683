"""The clock of transport and program streams: how long they last without the jumps in it."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.decode.formats.system_clock import ClockLength, read_clock

_INTERVAL = 0.04
_WRAP_SECONDS = (1 << 33) / 90_000


def transport_packet(seconds: float | None, *, packet_bytes: int = 188, program: int = 256) -> bytes:
    """With the clock (PCR) where there is one."""
    if seconds is None:
        packet = b"\x47" + program.to_bytes(2, "big") + b"\x10" + b"\xff" * 184
    else:
        ticks = round(seconds * 90_000) % (1 << 33)
        clock = (ticks << 15 | 0x7E00).to_bytes(6, "big")
        packet = b"\x47" + program.to_bytes(2, "big") + b"\x30\xb7\x10" + clock + b"\xff" * 176
    return bytes(4) + packet if packet_bytes == 192 else packet + bytes(packet_bytes - 188)


def transport_stream(parts: Sequence[tuple[float, float]], *, num_filling: int, packet_bytes: int = 188) -> bytes:
    """Parts (first clock, seconds), with so many packets between two readings of the clock."""
    filling = transport_packet(None, packet_bytes=packet_bytes) * num_filling
    return b"".join(
        transport_packet(begin + index * _INTERVAL, packet_bytes=packet_bytes) + filling
        for begin, seconds in parts
        for index in range(round(seconds / _INTERVAL))
    )


def program_stream(parts: Sequence[tuple[float, float]], *, is_mpeg1: bool = False) -> bytes:
    """Pack headers with their clock, and filling."""

    def pack(seconds: float) -> bytes:
        ticks = round(seconds * 90_000) % (1 << 33)
        high, middle, low = ticks >> 30, ticks >> 15 & 0x7FFF, ticks & 0x7FFF
        if is_mpeg1:
            clock = (0b0010 << 36 | high << 33 | 1 << 32 | middle << 17 | 1 << 16 | low << 1 | 1).to_bytes(5, "big")
            return b"\x00\x00\x01\xba" + clock + b"\x80\x00\x01" + b"\xff" * 100
        bits = 0b01 << 46 | high << 43 | 1 << 42 | middle << 27 | 1 << 26 | low << 11 | 1 << 10 | 1
        return b"\x00\x00\x01\xba" + bits.to_bytes(6, "big") + b"\x00\x00\x03\xf8" + b"\xff" * 100

    return b"".join(
        pack(begin + index * _INTERVAL) for begin, seconds in parts for index in range(round(seconds / _INTERVAL))
    )


def clock_of(content: bytes) -> ClockLength | None:
    return read_clock(io.BytesIO(content), size=len(content), start=content[:2048])


@pytest.mark.parametrize("packet_bytes", [188, 192, 204])
@pytest.mark.parametrize("num_filling", [3, 400])
@pytest.mark.parametrize(
    ("parts", "has_jumps"),
    [
        ([(10.0, 40.0)], False),
        ([(10.0, 20.0), (5000.0, 20.0)], True),
        ([(5000.0, 20.0), (10.0, 20.0)], True),
        ([(0.0, 10.0), (0.0, 10.0), (0.0, 20.0)], True),
        ([(_WRAP_SECONDS - 15.0, 40.0)], False),
        ([(10.0, 20.0), (80.0, 20.0)], False),  # reception that was lost for less than a minute
    ],
)
def test_transport_streams(
    parts: list[tuple[float, float]], has_jumps: bool, num_filling: int, packet_bytes: int
) -> None:
    """Small ones are read whole; large ones (75 MB) at some places."""
    clock = clock_of(transport_stream(parts, num_filling=num_filling, packet_bytes=packet_bytes))
    assert clock is not None and clock.has_jumps == has_jumps
    lost_seconds = 50.0 if parts[-1][0] == 80.0 else 0.0
    assert clock.seconds == pytest.approx(40.0 + lost_seconds, rel=0.03)


@pytest.mark.parametrize("is_mpeg1", [False, True])
def test_program_streams(is_mpeg1: bool) -> None:
    clock = clock_of(program_stream([(10.0, 20.0), (5000.0, 20.0), (0.0, 10.0)], is_mpeg1=is_mpeg1))
    assert clock is not None and clock.has_jumps
    assert clock.seconds == pytest.approx(50.0, rel=0.02)
    clock = clock_of(program_stream([(90_000.0, 20.0)], is_mpeg1=is_mpeg1))
    assert clock is not None and not clock.has_jumps
    assert clock.seconds == pytest.approx(20.0 - _INTERVAL)


def test_quiet_scenes_are_no_jumps() -> None:
    """A hundredth of the bytes for most of the time: pace alone says nothing."""
    busy, quiet = ([(0.0, 20.0)], [(20.0, 200.0)])
    content = transport_stream(busy, num_filling=600) + transport_stream(quiet, num_filling=6)
    clock = clock_of(content + transport_stream([(220.0, 20.0)], num_filling=600))
    assert clock is not None and not clock.has_jumps
    assert clock.seconds == pytest.approx(240.0, rel=0.01)


def test_very_many_recordings_cost_a_bounded_number_of_looks() -> None:
    content = transport_stream([(0.0, 1.0)] * 120, num_filling=200)

    class Counting(io.BytesIO):
        num_bytes = 0

        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.num_bytes += len(found)
            return found

    file = Counting(content * 4)
    clock = read_clock(file, size=4 * len(content), start=content[:2048])
    assert clock is not None and clock.has_jumps
    assert clock.seconds == pytest.approx(480.0, rel=0.4)  # an estimate
    assert file.num_bytes < 300 << 19


def test_the_clock_of_another_recording_may_have_another_number() -> None:
    def part(program: int) -> bytes:
        return b"".join(transport_packet(index * _INTERVAL, program=program) for index in range(20_000))

    clock = clock_of(part(256) + part(300))
    assert clock is not None
    assert clock.seconds == pytest.approx(1600.0, rel=0.1)


@given(st.binary(max_size=3000), st.sampled_from([b"", b"\x47", b"\x00\x00\x01\xba"]))
def test_anything_else_has_no_clock_and_raises_nothing(content: bytes, start: bytes) -> None:
    clock = clock_of(start + content)
    assert clock is None or clock.seconds >= 0


@given(st.lists(st.tuples(st.floats(0, 90_000), st.integers(1, 5)), min_size=1, max_size=6))
def test_the_length_is_the_sum_of_the_parts(parts: list[tuple[float, int]]) -> None:
    apart = [(later[0] - earlier[0] - earlier[1]) % _WRAP_SECONDS for earlier, later in itertools.pairwise(parts)]
    if any(seconds < 60.5 for seconds in apart):
        return  # a pause
    clock = clock_of(transport_stream(parts, num_filling=1))
    assert clock is not None and clock.has_jumps == (len(parts) > 1)
    assert clock.seconds == pytest.approx(sum(seconds for _, seconds in parts), abs=0.05 + 0.01 * len(parts))
