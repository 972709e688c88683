"""`analyze --annotate`: sound in step with the pictures, times and number of frames kept, faces blurred."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import pytest

from emostream.cli.bench.demo_clip import make_demo_clip
from tests.integration.command_line import run_emostream
from tests.media import cut_file, make_clip
from tests.vision.detect.real_model import centerface_path, real_detector
from tests.vision.track.people_clips import (
    FPS,
    Person,
    Place,
    Scene,
    Shot,
    along,
    clearness,
    make_people_clip,
    shots_of,
)

pytestmark = pytest.mark.integration

RATE = 48_000
FLASH_SECONDS = 1.0
IRREGULAR = [index / 25 + (index % 3) * 0.005 for index in range(40)]


def make_flash_and_beep(
    path: Path, *, sound: str = "aac", start_seconds: float = 0.0, late_seconds: float = 0.0, rotation: int = 0
) -> Path:
    """40 pictures at irregular times; from 1.0 s on they are bright, and a tone begins.

    The container starts at `start_seconds`, the pictures `late_seconds` after the sound.
    """
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            video.set_display_rotation(rotation)
        audio: Any = container.add_stream(sound, rate=RATE, layout="mono")
        for seconds in IRREGULAR:
            level = 220 if seconds >= FLASH_SECONDS else 40
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = round(1000 * (start_seconds + late_seconds + seconds)), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        times = np.arange(round(2 * RATE)) / RATE
        tone = np.where(times >= FLASH_SECONDS + late_seconds, 0.5 * np.sin(2 * np.pi * 1000 * times), 0)
        resampler = av.AudioResampler(format=audio.codec_context.format, layout="mono", rate=RATE)
        for position in range(0, len(tone), 960):
            part = tone[None, position : position + 960].astype(np.float32)
            piece = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            piece.sample_rate, piece.time_base = RATE, Fraction(1, RATE)
            piece.pts = position + round(start_seconds * RATE)
            for converted in resampler.resample(piece):
                container.mux(audio.encode(converted))
        container.mux(audio.encode(None))
    return path


class Seen(NamedTuple):
    """What a player shows: times of pictures, when it gets bright, when it gets loud, how wide a picture is."""

    times: list[float]
    flash_seconds: float
    beep_seconds: float | None
    width: int


def play(path: Path) -> Seen:
    with av.open(str(path)) as container:
        pictures = [(float(frame.time or 0), frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
    # The middle: the time is written into a corner.
    bright = [seconds for seconds, picture in pictures if picture[24:, 40:].mean() > 130]
    with av.open(str(path)) as container:
        beep = None
        for frame in container.decode(audio=0) if container.streams.audio else ():
            samples = frame.to_ndarray().astype(np.float64).ravel()
            loud = np.flatnonzero(np.abs(samples) > 0.1 * (32768 if frame.format.name.startswith("s16") else 1))
            if len(loud) and beep is None:
                beep = float(frame.time or 0) + loud[0] / frame.sample_rate
    return Seen([seconds for seconds, _ in pictures], bright[0], beep, pictures[0][1].shape[1])


CASES = [
    pytest.param("a.mp4", "out.mp4", {}, "copied (aac)", id="mp4"),
    pytest.param("a.mp4", "out.mkv", {}, "copied (aac)", id="mp4 to mkv"),
    pytest.param("a.mkv", "out.mov", {"sound": "libopus"}, "re-encoded (opus → aac)", id="Opus to mov"),
    pytest.param("a.mkv", "out.mp4", {"sound": "pcm_s16le"}, "re-encoded (pcm_s16le → aac)", id="PCM to mp4"),
    pytest.param("a.ts", "out.mp4", {"start_seconds": 3.0}, "copied (aac)", id="MPEG-TS that starts at 3 s"),
    pytest.param("a.mkv", "out.mp4", {"late_seconds": 0.4, "sound": "libopus"}, "copied (opus)", id="sound first"),
]


@pytest.mark.parametrize(("source", "target", "making", "description"), CASES)
def test_sound_stays_in_step_and_pictures_keep_their_times(
    tmp_path: Path, source: str, target: str, making: dict[str, Any], description: str
) -> None:
    centerface_path()
    clip = make_flash_and_beep(tmp_path / source, **making)
    outcome = run_emostream("analyze", clip, "--annotate", tmp_path / target, "--json")
    assert outcome.code == 0, outcome.err
    assert f"(libx264; sound {description})" in outcome.err or "h264_" in outcome.err
    seen = play(tmp_path / target)
    start = making.get("late_seconds", 0.0)  # a picture that begins after the sound does so in the video too
    assert seen.times[0] == pytest.approx(start, abs=0.022), "sound of AAC begins one packet early"
    times = [seconds - seen.times[0] for seconds in seen.times]
    assert times == pytest.approx(IRREGULAR, abs=0.0011), "Matroska and the clips keep milliseconds"
    assert seen.flash_seconds - seen.times[0] == pytest.approx(1.0, abs=0.011)
    assert seen.beep_seconds == pytest.approx(seen.times[0] + 1.0, abs=0.003)


def test_a_phone_s_video_is_written_upright(tmp_path: Path) -> None:
    centerface_path()
    clip = make_flash_and_beep(tmp_path / "a.mp4", rotation=90)
    outcome = run_emostream("analyze", clip, "--annotate", tmp_path / "out.mp4", "--json")
    assert outcome.code == 0, outcome.err
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
        assert not any(frame.rotation for frame in frames)
    assert (frames[0].width, frames[0].height, len(frames)) == (48, 64, len(IRREGULAR))


def test_pixels_that_are_not_square_are_written_as_square_ones(tmp_path: Path) -> None:
    centerface_path()
    clip = make_clip(tmp_path / "a.mp4", num_frames=3, options={"x264-params": "sar=3/2"})
    outcome = run_emostream("analyze", clip, "--annotate", tmp_path / "out.mp4", "--json")
    assert outcome.code == 0, outcome.err
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio or 1) == (96, 48, 1)


def test_faces_are_the_same_however_wide_their_pixels_are(tmp_path: Path) -> None:
    real_detector()
    square, narrow = tmp_path / "square.mp4", tmp_path / "narrow.mp4"
    make_demo_clip(square, num_frames=10)
    with av.open(str(square)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    narrowed = [np.asarray(cv2.resize(each, (320, 360), interpolation=cv2.INTER_AREA), np.uint8) for each in pictures]
    make_clip(
        narrow,
        num_frames=10,
        width=320,
        height=360,
        picture=lambda index: narrowed[index],
        pixel_aspect=Fraction(2),
        options={"crf": "12"},
    )
    events = []
    for clip in (square, narrow):
        outcome = run_emostream("analyze", clip, "--annotate", tmp_path / "out.mp4", "--json")
        assert outcome.code == 0, outcome.err
        events.append([json.loads(line) for line in outcome.out.splitlines() if line.startswith('{"schema')])
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (640, 360)
    for one, other in zip(*events, strict=True):
        assert "pixel_aspect" not in one and other["pixel_aspect"] == 2
        assert (other["frame_width"], other["frame_height"]) == (320, 360)
        assert len(one["faces"]) == len(other["faces"]) == 2
        for face, same in zip(one["faces"], other["faces"], strict=True):
            x0, y0, x1, y1 = face["box_xyxy"]
            assert same["box_xyxy"] == pytest.approx([x0 / 2, y0, x1 / 2, y1], abs=0.08 * (y1 - y0))
            assert same["dominant"] == face["dominant"]


def test_blurred_faces_are_found_by_no_detector(tmp_path: Path) -> None:
    clip, detector = tmp_path / "faces.mp4", real_detector()
    make_demo_clip(clip, num_frames=10)
    for name, options in (("clear.mp4", ()), ("blurred.mp4", ("--blur",))):
        outcome = run_emostream("analyze", clip, "--annotate", tmp_path / name, "--json", *options)
        assert outcome.code == 0, outcome.err
    found = {}
    for name in ("clear.mp4", "blurred.mp4"):
        with av.open(str(tmp_path / name)) as container:
            pictures = [frame.to_ndarray(format="gray").astype(np.uint8) for frame in container.decode(video=0)]
        found[name] = [len([face for face in detector.detect(picture) if face.score > 0.5]) for picture in pictures]
    assert found == {"clear.mp4": [2] * 10, "blurred.mp4": [0] * 10}


def coming_and_going() -> list[Shot]:
    """People enter on every side, leave, return, appear from behind a door, and are cut to."""

    def walker(index: int) -> Place | None:
        if index < 40:
            return (-60 + 8 * index, 150, 110)
        if index < 70:
            return (260, 150, 110)
        if index < 110:
            return (260 + 12 * (index - 70), 150, 110)
        return (max(760 - 12 * (index - 110), 280), 180, 110)

    def climber(index: int) -> Place | None:
        if index < 60:
            return (480, 430 - 10 * max(index - 30, 0), 90)
        return (480 + 18 * max(index - 80, 0), 130, 90)

    return list(
        shots_of(
            [
                Scene(1, 150, [Person(0, walker), Person(1, climber)]),
                Scene(50, 20, [Person(1, along((200, 180), (1, 0), 140)), Person(2, along((460, 150), (0, 1), 80))]),
                Scene(1, 20, [Person(0, along((280, 180), (1, 0), 110)), Person(3, along((480, 130), (0, 0), 90))]),
                Scene(
                    77,
                    50,
                    [
                        Person(0, lambda index: (300, 180, 120) if index % 20 < 12 else None),
                        Person(1, along((-40, 120), (14, 0), 100)),
                    ],
                ),
            ]
        )
    )


def test_people_who_come_or_go_are_blurred_in_every_frame(tmp_path: Path) -> None:
    centerface_path()
    shots = coming_and_going()
    clip = make_people_clip(tmp_path / "people.mp4", shots, audio=True)
    outcome = run_emostream("analyze", clip, "--annotate", tmp_path / "hidden.mp4", "--blur", "--json")
    assert outcome.code == 0, outcome.err
    with av.open(str(tmp_path / "hidden.mp4")) as container:
        shown = [
            (float(frame.time or 0), frame.to_ndarray(format="rgb24").astype(np.uint8))
            for frame in container.decode(video=0)
        ]
        assert len(container.streams.audio) == 1
    assert [seconds for seconds, _ in shown] == pytest.approx([index / FPS for index in range(len(shots))], abs=0.0011)
    clear = [
        (index, face.person)
        for index, (shot, (_, picture)) in enumerate(zip(shots, shown, strict=True))
        for face in shot.faces
        if face.visible >= 0.5 and clearness(shot, picture, face) > 0.5
    ]
    assert clear == []
    # Not because everything is blurred: a picture in which nobody was for a second stays as it is.
    assert np.abs(shown[0][1][200:, 300:].astype(int) - shots[0].rgb[200:, 300:]).mean() < 4


def test_sound_stays_in_step_with_pictures_that_are_held(tmp_path: Path) -> None:
    centerface_path()
    clip = make_flash_and_beep(tmp_path / "a.mp4")
    outcome = run_emostream("analyze", clip, "--annotate", tmp_path / "out.mp4", "--blur", "--json")
    assert outcome.code == 0, outcome.err
    seen = play(tmp_path / "out.mp4")
    assert seen.times == pytest.approx(IRREGULAR, abs=0.0011)
    assert seen.flash_seconds == pytest.approx(1.0, abs=0.011)
    assert seen.beep_seconds == pytest.approx(1.0, abs=0.003)


def test_frames_before_damage_are_written_though_they_were_held(tmp_path: Path) -> None:
    centerface_path()
    whole = make_clip(tmp_path / "whole.mp4", num_frames=60, width=320, height=240, options={"crf": "10"})
    clip = cut_file(whole, tmp_path / "cut.mp4")
    counts = []
    for options in ((), ("--blur",)):
        outcome = run_emostream("analyze", clip, "--annotate", tmp_path / "out.mp4", "--json", *options)
        assert outcome.code == 4, outcome.err
        with av.open(str(tmp_path / "out.mp4")) as container:
            counts.append(len(list(container.decode(video=0))))
    assert counts[0] == counts[1] > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--annotate", "a.mp4"], "source a.mp4"),
        (["--output", "a.mp4"], "source a.mp4"),
        (["--sink", "jsonl:a.mp4"], "source a.mp4"),
        (["--annotate", "out.gif"], "ending in .mp4, .mkv or .mov"),
        (["--annotate", "out.mp4", "--encoder", "theora"], "theora"),
        (["--blur"], "--annotate"),
    ],
)
def test_wrong_arguments(tmp_path: Path, options: list[str], message: str) -> None:
    centerface_path()
    clip = make_clip(tmp_path / "a.mp4", num_frames=3)
    before = clip.read_bytes()
    outcome = run_emostream("analyze", "a.mp4", *options, "--json", cwd=tmp_path)
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert clip.read_bytes() == before
