"""Sampling a file skips the decoding of pictures, and gives the same frames as if all were decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emostream.config import DecodeSettings
from emostream.decode.pyav_source import PyAVSource
from emostream.decode.sampling import FrameSampler
from emostream.decode.skipping import UnwantedPictures
from emostream.domain.stream import StreamKind, StreamSpec
from emostream.errors import SourceRejectedError
from tests import media

_B_FRAMES = {"bf": "3", "x264-params": "b-pyramid=normal:b-adapt=0:scenecut=0"}
_CLIPS: dict[str, dict[str, Any]] = {
    "b-pyramid.mp4": {"options": _B_FRAMES},
    "b-frames.mkv": {"options": {"bf": "2", "x264-params": "b-pyramid=none:b-adapt=0"}},
    "no-b-frames.mp4": {"options": {"bf": "0"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=3:b-adapt=0"}},
    "with-sound.mov": {"options": _B_FRAMES, "audio": True},
    "variable-rate.mp4": {
        "options": _B_FRAMES,
        "pts_seconds": [
            round(0.04 * index + (0.013 * (index % 3)) + (1.5 if index > 30 else 0), 3) for index in range(60)
        ],
    },
    "transport.ts": {"options": _B_FRAMES},
}
_SAMPLINGS: tuple[dict[str, Any], ...] = (
    {"every": 2},
    {"every": 5},
    {"target_fps": 5.0},
    {"target_fps": 8.0},
    {"every": 2, "target_fps": 5.0},
)


def _frames(path: Path, **sampling: Any) -> tuple[list[tuple[int, float, int]], int, int]:
    spec = StreamSpec(stream_id="clip", url=str(path), kind=StreamKind.FILE, **sampling)
    with PyAVSource(spec, settings=DecodeSettings()) as source:
        found = [(frame.frame_index, frame.pts_seconds, round(float(frame.luma.mean()))) for frame in source]
        return found, source.stats.num_decoded, source.stats.num_skipped


@pytest.mark.parametrize("name", _CLIPS)
def test_the_frames_are_those_of_decoding_all(tmp_path: Path, name: str) -> None:
    path = media.make_clip(tmp_path / name, num_frames=60, **_CLIPS[name])
    _assert_same(path)


def test_pictures_that_an_edit_list_leaves_out_do_not_count(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=60, options=_B_FRAMES)
    cut = tmp_path / "cut.mp4"
    with av.open(str(clip)) as source, av.open(str(cut), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.pts is not None and packet.dts is not None and packet.time_base is not None:
                shift = round(3 / 25 / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                target.mux(packet)
    with av.open(str(cut)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    _assert_same(cut)
    everything, num_all, _ = _frames(cut)
    found, num_decoded, _ = _frames(cut, keyframes=True)
    assert num_decoded == num_all and [frame[0] for frame in found][:2] == [9, 21]
    assert {frame[::2] for frame in found} <= {frame[::2] for frame in everything}


def test_of_a_damaged_file_frames_keep_their_times_and_few_are_missing(tmp_path: Path) -> None:
    clip = media.make_clip(
        tmp_path / "clip.mp4",
        num_frames=120,
        options=_B_FRAMES,
        picture=lambda index: media.textured_picture(index, width=64, height=48),
    )
    with av.open(str(clip)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos is not None]
    content = bytearray(clip.read_bytes())
    for position, size in places[30:34]:
        content[position : position + size] = bytes(size)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(bytes(content))
    everything = {round(frame[1], 6) for frame in _frames(damaged)[0]}
    for sampling in _SAMPLINGS:
        expected = _frames(clip, **sampling)[0]
        found = _frames(damaged, **sampling)[0]
        assert {round(frame[1], 6) for frame in found} <= everything
        assert len(found) >= len(expected) - 4


_TOGETHER: dict[str, dict[str, Any]] = {
    "b-frames.mkv": {"options": _B_FRAMES},
    "fragmented.mp4": {"options": _B_FRAMES, "mux_options": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}},
}


@pytest.mark.parametrize("name", _TOGETHER)
def test_recordings_put_together(tmp_path: Path, name: str) -> None:
    """Stamps begin again in the middle; none of the pictures is left out, whatever FFmpeg says of them."""
    clip = media.make_clip(tmp_path / f"one-{name}", num_frames=60, **_TOGETHER[name])
    together = tmp_path / name
    together.write_bytes(2 * clip.read_bytes())
    everything, num_all, _ = _frames(together)
    levels = [frame[2] for frame in _frames(clip)[0]]
    assert num_all == 120 and [frame[2] for frame in everything] == 2 * levels
    assert [frame[1] for frame in everything] == pytest.approx([index / 25 for index in range(120)], abs=0.06)
    _assert_same(together)
    found, num_decoded, _ = _frames(together, keyframes=True)
    assert num_decoded == 120 and [frame[0] for frame in found] == [*range(0, 60, 12), *range(60, 120, 12)]
    assert set(found) <= set(everything)


_OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:b-pyramid=normal:keyint=12:min-keyint=12:scenecut=0"}
_KEYED_CLIPS: dict[str, dict[str, Any]] = {
    **{name: clip for name, clip in _CLIPS.items() if name != "transport.ts"},
    "open-gop.mp4": {"options": _OPEN_GOP},
    "open-gop.mkv": {"options": _OPEN_GOP},
    "hevc-open-gop.mp4": {
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:open-gop=1:bframes=4:b-adapt=0:keyint=12:min-keyint=12:scenecut=0"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "lag-in-frames": "8"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "keyint=12"}},
    "all-key.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


@pytest.mark.parametrize("name", _KEYED_CLIPS)
def test_key_frames_have_the_numbers_times_and_pixels_of_decoding_all(tmp_path: Path, name: str) -> None:
    path = media.make_clip(tmp_path / name, num_frames=60, **_KEYED_CLIPS[name])
    everything, num_all, _ = _frames(path)
    stamps = _key_stamps(path)
    expected = [frame for place, frame in enumerate(everything) if place in stamps]
    found, num_decoded, num_skipped = _frames(path, keyframes=True)
    assert [frame[1] for frame in found] == pytest.approx([frame[1] for frame in expected], abs=1e-9)
    assert [frame[::2] for frame in found] == [frame[::2] for frame in expected]
    assert len(expected) == 60 if name == "all-key.mov" else 5 <= len(expected) <= 8
    assert (num_decoded, num_skipped) == (num_all, num_all - len(expected))
    assert [frame[0] for frame in _frames(path, keyframes=True, max_frames=2)[0]] == [
        frame[0] for frame in expected[:2]
    ]
    sampler = FrameSampler(target_fps=1.0)
    kept = [frame[0] for frame in expected if sampler.keep(frame[1])]
    assert [frame[0] for frame in _frames(path, keyframes=True, target_fps=1.0)[0]] == kept


def test_key_frames_alone_need_a_container_with_the_stamp_of_each_picture(tmp_path: Path) -> None:
    for name in ("clip.ts", "clip.avi"):
        path = media.make_clip(tmp_path / name, num_frames=30)
        with pytest.raises(SourceRejectedError, match="MP4"):
            _frames(path, keyframes=True)


def _key_stamps(path: Path) -> set[int]:
    """The places of the key frames among all pictures, from the stamps of the packets."""
    with av.open(str(path)) as container:
        stamps = {packet.pts: packet.is_keyframe for packet in container.demux(video=0) if packet.pts is not None}
    return {place for place, stamp in enumerate(sorted(stamps)) if stamps[stamp]}


def _assert_same(path: Path) -> None:
    """Sampling while decoding gives the same as sampling afterwards."""
    everything, num_all, _ = _frames(path)
    for sampling in _SAMPLINGS:
        sampler = FrameSampler(**sampling)
        expected = [frame for frame in everything if sampler.keep(frame[1])]
        found, num_decoded, num_skipped = _frames(path, **sampling)
        assert [frame[0] for frame in found] == [frame[0] for frame in expected], sampling
        assert [frame[1] for frame in found] == pytest.approx([frame[1] for frame in expected], abs=1e-9), sampling
        assert all(abs(one[2] - other[2]) <= 2 for one, other in zip(found, expected, strict=True)), sampling
        assert (num_decoded, num_skipped) == (num_all, num_all - len(expected)), sampling


def _decoding_order(groups: Sequence[int]) -> list[int]:
    """Stamps of groups of pictures: the last one of a group first, then those before it."""
    order, start = [], 0
    for length in groups:
        order += [start + length - 1, *range(start, start + length - 1)]
        start += length
    return order


@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.integers(1, 6), st.none() | st.floats(1, 40))
def test_what_comes_out_at_once_is_foreseen_and_nothing_is_lost(
    groups: list[int], every: int, target_fps: float | None
) -> None:
    order = _decoding_order(groups)
    sampler = FrameSampler(every=every, target_fps=target_fps)
    kept = {stamp for stamp in sorted(order) if sampler.keep(stamp / 25)}
    unwanted = UnwantedPictures(every=every, target_fps=target_fps, time_base=1 / 25)
    shown: list[int] = []
    held: list[int] = []
    for stamp, following in zip(order, [*order[1:], order[-1]], strict=True):
        is_reference = stamp > following or stamp == max(order)
        if unwanted.add(stamp) and not is_reference:
            assert stamp not in kept
        else:
            held.append(stamp)
        while held and min(held) <= min(following, stamp):  # the decoder gives what no later picture precedes
            stamp_shown = min(held)
            held.remove(stamp_shown)
            shown += [*unwanted.passed(stamp_shown), stamp_shown]
    for stamp in sorted(held):
        shown += [*unwanted.passed(stamp), stamp]
    shown += unwanted.rest()
    assert shown == sorted(order)
