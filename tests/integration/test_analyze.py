"""`emostream analyze` as a child process: good clips, every kind of bad input, Redis that is absent or goes away."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from redis import Redis

from emostream.cli.bench.demo_clip import make_demo_clip
from emostream.publish.redis.embedded import EmbeddedRedis
from tests import media
from tests.integration.command_line import run_emostream
from tests.ports import unused_port
from tests.vision.track.people_clips import Person, Scene, make_people_clip, shots_of

pytestmark = pytest.mark.integration

NUM_FRAMES = 30


@pytest.fixture(scope="module")
def faces_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two moving faces for a bit more than a second."""
    path = tmp_path_factory.mktemp("clip") / "faces.mp4"
    make_demo_clip(path, num_frames=NUM_FRAMES)
    return path


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with EmbeddedRedis() as server:
        yield server.url


def test_json_has_an_event_for_each_frame_with_two_followed_faces(faces_clip: Path) -> None:
    outcome = run_emostream("analyze", faces_clip, "--json")
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]

    assert [event["frame_index"] for event in events] == list(range(NUM_FRAMES))
    assert {event["stream_id"] for event in events} == {"faces"}
    assert {len(event["faces"]) for event in events} == {2}
    assert len({face["track_id"] for event in events for face in event["faces"]}) == 2
    for event in events:
        for face in event["faces"]:
            assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)
            assert sum(face["smoothed_probabilities"].values()) == pytest.approx(1, abs=1e-3)
            assert face["confidence"] == max(face["smoothed_probabilities"].values())


def test_sampling_and_limits(faces_clip: Path) -> None:
    outcome = run_emostream("analyze", faces_clip, "--json", "--every", "3", "--max-frames", "4", "--stream-id", "door")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert [event["frame_index"] for event in events] == [0, 3, 6, 9]
    assert {event["stream_id"] for event in events} == {"door"}


def test_key_frames_only(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "clip.mp4", num_frames=25, options={"x264-params": "keyint=10:scenecut=0"})
    whole = [json.loads(line) for line in run_emostream("analyze", clip, "--json").out.splitlines()]
    outcome = run_emostream("analyze", clip, "--json", "--keyframes")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert [event["frame_index"] for event in events] == [0, 10, 20]
    assert [event["pts_seconds"] for event in events] == [whole[index]["pts_seconds"] for index in (0, 10, 20)]
    assert run_emostream("analyze", media.make_clip(tmp_path / "clip.ts"), "--keyframes").code == 3


def test_several_sources_of_which_one_cannot_be_read(faces_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    media.make_clip(folder / "empty.mp4", num_frames=3)
    (folder / "notes.txt").write_text("no video")
    outcome = run_emostream("analyze", faces_clip, folder, tmp_path / "absent.mp4", "--json", "--max-frames", "5")
    assert outcome.code == 3
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert [event["stream_id"] for event in events] == ["faces"] * 5 + ["empty"] * 3
    assert "absent.mp4" in outcome.err


def test_a_report_is_about_one_source(faces_clip: Path, tmp_path: Path) -> None:
    outcome = run_emostream("analyze", faces_clip, faces_clip, "--report", tmp_path / "report.html")
    assert outcome.code == 0, outcome.err  # named twice, it is one source
    media.make_clip(tmp_path / "other.mp4", num_frames=3)
    outcome = run_emostream("analyze", faces_clip, tmp_path / "other.mp4", "--report", tmp_path / "both.html")
    assert outcome.code == 2 and not (tmp_path / "both.html").exists()


def test_people_get_a_table_a_video_and_the_events(faces_clip: Path, tmp_path: Path) -> None:
    video, output = tmp_path / "out.mp4", tmp_path / "events.jsonl"
    outcome = run_emostream("analyze", faces_clip, "--annotate", video, "--output", output)
    assert outcome.code == 0, outcome.err
    assert "#0" in outcome.out
    assert "#1" in outcome.out
    assert str(video) in outcome.err
    assert len(output.read_text().splitlines()) == NUM_FRAMES
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == NUM_FRAMES


@pytest.mark.parametrize("name", ["events.csv", "events.parquet"])
def test_output_is_written_in_the_format_of_its_name(faces_clip: Path, tmp_path: Path, name: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    outcome = run_emostream("analyze", faces_clip, "--output", tmp_path / name, "--max-frames", "6")
    assert outcome.code == 0, outcome.err
    table = getattr(pandas, f"read_{name.partition('.')[2]}")(tmp_path / name)
    assert len(table) == 12 and set(table["track_id"]) == {0, 1}
    assert list(table["frame_index"]) == [number for index in range(6) for number in (index, index)]


@pytest.mark.parametrize("name", ["events.xlsx", "events.json", "events.mp4"])
def test_an_output_of_an_unknown_format_is_refused(faces_clip: Path, tmp_path: Path, name: str) -> None:
    outcome = run_emostream("analyze", faces_clip, "--output", tmp_path / name)
    assert outcome.code == 2 and name in outcome.err and ".parquet" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_faces_gets_a_sentence(tmp_path: Path) -> None:
    media.make_clip(tmp_path / "empty.mp4", num_frames=3)
    outcome = run_emostream("analyze", "empty.mp4", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert outcome.out == "empty: no face found in 3 frames\n"
    assert outcome.err.count("frames/s") == 2, "with and without start-up"


def test_a_terminal_shows_how_much_is_done_and_left(faces_clip: Path) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "emostream", "analyze", str(faces_clip), "--every", "3", "--json"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end, env=environment) as running:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as output:  # its end is an error
            while part := output.read(4096):
                shown += part
    assert running.returncode == 0
    assert f"{NUM_FRAMES // 3}/{NUM_FRAMES // 3}".encode() in shown
    assert b"0:00:00" in shown, "the time left"


def test_events_go_to_redis_and_tail_reads_them(faces_clip: Path, redis_url: str) -> None:
    published = run_emostream("analyze", faces_clip, "--redis", redis_url, "--stream-id", "cam-1", "--json")
    assert published.code == 0, published.err
    tailed = run_emostream("tail", "cam-1", "--from", "start", "--no-follow", "--json", "--redis", redis_url)
    assert tailed.code == 0, tailed.err
    assert tailed.out == published.out

    pretty = run_emostream("tail", "--from", "start", "--limit", "3", "--status", "--redis", redis_url)
    assert pretty.code == 0, pretty.err
    assert "cam-1" in pretty.out


def _missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def _folder(folder: Path) -> Path:
    return folder


def _text(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("this is no video\n" * 20)
    return path


def _empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def _audio(folder: Path) -> Path:
    return media.make_audio(folder / "sound.m4a")


def _textured(path: Path, *, faststart: bool) -> Path:
    """100 frames whose pictures, not the index, take up the file."""
    return media.make_clip(
        path, num_frames=100, faststart=faststart, picture=lambda i: media.textured_picture(i, width=64, height=48)
    )


def _without_index(folder: Path) -> Path:
    whole = _textured(folder / "whole.mp4", faststart=False)
    return media.cut_file(whole, folder / "cut.mp4")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_missing, "no such file"),
        (_folder, "folder"),
        (_text, "expected a video"),
        (_empty, "0 bytes"),
        (_audio, "sound"),
        (_without_index, "moov"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else None,
)
def test_sources_that_cannot_work(make: Callable[[Path], Path], expected: str, tmp_path: Path) -> None:
    outcome = run_emostream("analyze", make(tmp_path), "--json")
    assert outcome.code == 3, outcome.err
    assert outcome.err.startswith("error: ")
    assert len(outcome.err.splitlines()) == 1
    assert expected in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("side", [1, 16])
def test_tiny_videos_have_events_without_faces(side: int, tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "tiny.mkv", num_frames=5, width=side, height=side, codec="ffv1", pix_fmt="gray")
    outcome = run_emostream("analyze", clip, "--json")
    assert outcome.code == 0, outcome.err
    assert [json.loads(line)["faces"] for line in outcome.out.splitlines()] == [[]] * 5


def test_a_png_with_a_colour_profile_does_not_end_the_process(tmp_path: Path) -> None:
    """PyAV 18 frees the profile's name twice when side data is read; it ended in a segmentation fault."""
    picture = media.make_clip(tmp_path / "a.png", num_frames=1, codec="png", pix_fmt="rgb24")
    media.add_png_chunk(picture, b"iCCP", b"name\0\0" + zlib.compress(bytes(300)))
    outcome = run_emostream("analyze", picture, "--json")
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == 1


def test_a_cut_file_publishes_what_is_there_and_then_says_so(tmp_path: Path) -> None:
    whole = _textured(tmp_path / "whole.mp4", faststart=True)
    outcome = run_emostream("analyze", media.cut_file(whole, tmp_path / "cut.mp4"), "--json")
    assert outcome.code == 4, outcome.err
    assert 0 < len(outcome.out.splitlines()) < 100
    assert len(outcome.err.splitlines()) == 1


def test_credentials_are_masked_and_an_unreachable_host_is_named() -> None:
    port = unused_port()
    outcome = run_emostream("analyze", f"rtsp://admin:hunter2@127.0.0.1:{port}/door?token=abc123", "--json")
    assert outcome.code == 3, outcome.err
    assert "127.0.0.1" in outcome.err
    assert "hunter2" not in outcome.err
    assert "abc123" not in outcome.err


def test_a_refused_rtsp_login_is_no_traceback() -> None:
    with media.rtsp_responder("401 Unauthorized") as address:
        outcome = run_emostream("analyze", f"rtsp://admin:hunter2@{address}/door", "--json")
    assert outcome.code == 3, outcome.err
    assert "refused" in outcome.err
    assert "hunter2" not in outcome.err


def test_redis_that_is_absent_or_refuses_the_password(faces_clip: Path, redis_url: str) -> None:
    port = unused_port()
    absent = run_emostream(
        "analyze",
        faces_clip,
        "--redis",
        f"redis://:s3cret@127.0.0.1:{port}",
        environment={"EMOSTREAM_PUBLISH__MAX_RETRY_SECONDS": "0.5"},
    )
    assert absent.code == 6, absent.err
    assert "s3cret" not in absent.err

    wrong = run_emostream("analyze", faces_clip, "--redis", redis_url.replace(":", ":x", 2).replace(":x//", "://", 1))
    assert wrong.code == 2, wrong.err


def test_redis_that_goes_away_in_the_middle_ends_with_one_message(tmp_path: Path) -> None:
    clip = _textured(tmp_path / "clip.mp4", faststart=True)
    with EmbeddedRedis() as server:
        command = [sys.executable, "-m", "emostream", "analyze", str(clip), "--redis", server.url]
        os.kill(server.server_pid, signal.SIGSTOP)  # so that the command cannot be finished before the server dies
        environment = os.environ | {
            "EMOSTREAM_PUBLISH__MAX_RETRY_SECONDS": "1",
            "EMOSTREAM_PUBLISH__CONNECT_TIMEOUT_SECONDS": "20",
        }
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        time.sleep(4)
        assert process.poll() is None, "it waits for the server"
        os.kill(server.server_pid, signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 6, err
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert err.splitlines()[-1] == errors[0], "warnings of the attempts come before it"


def test_one_person_seen_once_a_second_is_one_track(tmp_path: Path) -> None:
    """She nods and walks to and fro, by up to her own width a second."""
    person = Person(0, lambda index: (320 + 90 * math.sin(index / 30), 180 + 8 * math.sin(index / 6), 110))
    clip = make_people_clip(tmp_path / "one.mp4", list(shots_of([Scene(3, 200, [person])])))
    outcome = run_emostream("analyze", clip, "--fps", "1", "--json")
    assert outcome.code == 0, outcome.err
    faces = [json.loads(line)["faces"] for line in outcome.out.splitlines()]
    assert 8 <= len(faces) <= 9 and all(len(found) == 1 for found in faces)
    assert {(face["track_id"], face["person_id"]) for found in faces for face in found} == {(0, 1)}


def test_ctrl_c_is_told_as_the_end(tmp_path: Path) -> None:
    clip = media.make_clip(tmp_path / "long.mp4", num_frames=20_000, width=64, height=48)
    with EmbeddedRedis() as server, Redis.from_url(server.url) as client:
        command = [
            sys.executable,
            "-m",
            "emostream",
            "analyze",
            str(clip),
            "--redis",
            server.url,
            "--stream-id",
            "hall",
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            while not client.exists("emostream:events:hall"):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
        told = [json.loads(entry[b"event"]) for _, entry in client.xrange("emostream:status")]
        num_events = client.xlen("emostream:events:hall")
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert [status["state"] for status in told] == ["running", "ended"]
    assert 0 < told[-1]["num_events"] <= num_events < 20_000, "events that were on their way may not be counted"


def test_wrong_settings_and_arguments(faces_clip: Path, tmp_path: Path) -> None:
    setting = run_emostream("analyze", faces_clip, environment={"EMOSTREAM_DETECT__MIN_SCORE": "7"})
    assert (setting.code, "detect.min_score" in setting.err) == (2, True)
    config = tmp_path / "settings.yaml"
    config.write_text("detect: [1, 2\n")
    assert run_emostream("analyze", faces_clip, "--config", config).code == 2
    assert run_emostream("analyze", faces_clip, "--every", "0").code == 2
    assert run_emostream("analyze", faces_clip, "--keyframes", "--every", "2").code == 2
    assert run_emostream("analyze", "rtsp://127.0.0.1:1/door", "--keyframes").code == 2
    assert run_emostream("analyze").code == 2
    assert run_emostream("analyze", faces_clip, "--annotate", tmp_path / "missing" / "out.mp4").code == 2
    assert run_emostream("analyze", faces_clip, "--output", tmp_path / "missing" / "out.jsonl").code == 2


def test_a_foreign_or_missing_model(faces_clip: Path, tmp_path: Path) -> None:
    missing = run_emostream(
        "analyze", faces_clip, environment={"EMOSTREAM_CLASSIFY__MODEL": str(tmp_path / "none.onnx")}
    )
    assert (missing.code, "none.onnx" in missing.err) == (5, True)
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"no model")
    outcome = run_emostream(
        "analyze",
        faces_clip,
        environment={"EMOSTREAM_DETECT__KIND": "yunet", "EMOSTREAM_DETECT__PATH": str(foreign)},
    )
    assert (outcome.code, "foreign.onnx" in outcome.err) == (5, True)
