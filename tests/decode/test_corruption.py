"""What damage leads to, on packets made up by hand."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from emostream.decode.corruption import CorruptionLimit, check_file_end, decodable_packets
from emostream.decode.formats.file_structure import FileStructure
from emostream.decode.source import DecodeStats
from emostream.domain.stream import StreamKind
from emostream.errors import DecodeError, SourceError, SourceUnavailableError


@dataclass(frozen=True)
class FakePacket:
    name: str
    size: int = 100
    is_corrupt: bool = False
    is_keyframe: bool = False


FLUSH = FakePacket("flush", size=0)
KEY, DELTA, DAMAGED = FakePacket("key", is_keyframe=True), FakePacket("delta"), FakePacket("damaged", is_corrupt=True)


def names(packets: list[FakePacket], kind: StreamKind) -> tuple[list[str], DecodeStats]:
    stats = DecodeStats()
    return [packet.name for packet in decodable_packets(iter(packets), kind=kind, stats=stats)], stats


def test_a_damaged_last_packet_is_left_out_and_counted() -> None:
    kept, stats = names([KEY, DAMAGED, DELTA, DAMAGED, FLUSH], StreamKind.FILE)
    assert kept == ["key", "damaged", "delta", "flush"]
    assert (stats.num_packets, stats.num_corrupt) == (2, 1)


def test_live_starts_at_a_key_frame() -> None:
    assert names([DELTA, DELTA, KEY, DELTA, FLUSH], StreamKind.LIVE)[0] == ["key", "delta", "flush"]
    assert names([DELTA, KEY], StreamKind.FILE)[0] == ["delta", "key"]


def test_live_without_key_frames_starts_at_last() -> None:
    assert len(names([DELTA] * 700, StreamKind.LIVE)[0]) == 101


@pytest.mark.parametrize(("kind", "error"), [(StreamKind.FILE, DecodeError), (StreamKind.LIVE, SourceUnavailableError)])
def test_gives_up_after_too_many_in_a_row(kind: StreamKind, error: type[SourceError]) -> None:
    stats = DecodeStats()
    limit = CorruptionLimit(max_in_a_row=3, name="clip", kind=kind, stats=stats)
    limit.failed(ValueError("bad"))
    limit.failed(ValueError("bad"))
    limit.picture_decoded()
    limit.failed(ValueError("bad"))
    limit.failed(ValueError("bad"))
    with pytest.raises(error, match=r"3 .*'rtsp://[*]+@h'") as caught:
        limit.failed(ValueError("rtsp://u:secret@h"))
    assert stats.num_corrupt == 5
    assert caught.value.__cause__ is not None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("num_missing_bytes", "is_index_beyond_end", "declared_num_packets", "is_cut"),
    [
        pytest.param(0, False, 100, False, id="complete structure: fewer packets than declared are the muxer's affair"),
        pytest.param(0, False, 0, False, id="nothing declared"),
        pytest.param(9, False, 0, True, id="bytes missing"),
        pytest.param(9, False, 50, True, id="bytes and packets missing"),
        pytest.param(0, True, 50, True, id="index points behind the end"),
        pytest.param(9, False, 40, False, id="bytes missing, but the video is complete"),
    ],
)
def test_end_of_file(
    num_missing_bytes: int, is_index_beyond_end: bool, declared_num_packets: int, is_cut: bool
) -> None:
    def check() -> None:
        check_file_end(
            name="clip.mp4",
            structure=FileStructure(num_missing_bytes),
            is_index_beyond_end=is_index_beyond_end,
            declared_num_packets=declared_num_packets,
            reached_seconds=3.2,
            declared_seconds=10.0,
            stats=DecodeStats(num_packets=40, num_decoded=39),
        )

    if is_cut:
        with pytest.raises(DecodeError, match=r"3\.2 s .*10\.0 s.*39 "):
            check()
    else:
        check()
