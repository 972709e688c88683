"""The clearest frames are kept, and pictures are made seldom."""

from __future__ import annotations

from emostream.domain.event import UNKNOWN, EmotionEvent, FaceEmotion
from emostream.domain.frame import Frame
from emostream.render.report.moments import KeyMoments
from tests.render.report.events import event_of, face_of, frame_of


class Camera:
    """Counts the pictures that it makes."""

    def __init__(self) -> None:
        self.num_pictures = 0

    def __call__(self, frame: Frame, event: EmotionEvent, face: FaceEmotion) -> bytes:
        """The number of the frame as picture."""
        self.num_pictures += 1
        return str(frame.frame_index).encode()


def collect(camera: Camera | None, faces: list[FaceEmotion]) -> KeyMoments:
    moments = KeyMoments(camera)
    for index, face in enumerate(faces):
        event = event_of(index, face)
        moments.add(frame_of(event), event)
    return moments


def test_the_clearest_frame_of_each_emotion_without_flags() -> None:
    happy = [face_of(3, "happy", probability=0.4 + 0.005 * step) for step in range(100)]
    dark = [face_of(3, "happy", probability=0.99, quality=["dark"]), face_of(3, "sad", quality=["dark"])]
    camera = Camera()
    moments = collect(camera, [*happy, *dark]).of(3)
    assert set(moments) == {"happy", "sad"}
    assert moments["happy"].confidence > 0.84
    assert moments["happy"].quality == ()
    assert moments["sad"].jpeg == b"101"
    assert camera.num_pictures < 15


def test_without_pictures_the_moments_remain() -> None:
    assert collect(None, [face_of(1, "fear")]).of(1)["fear"].jpeg is None


def test_people_seen_briefly_are_forgotten_in_every_part_of_a_long_run() -> None:
    long_seen = [face_of(0, "happy")] * 20
    moments = collect(Camera(), [*long_seen, *(face_of(number, "happy") for number in range(1, 2000))])
    known = [number for number in range(2000) if moments.of(number)]
    assert len(known) <= 200
    assert known[0] == 0
    assert known[-1] == 1999
    assert {number // 500 for number in known} == {0, 1, 2, 3}


def test_pictures_of_a_crowd_in_one_frame_are_bounded() -> None:
    camera = Camera()
    moments = KeyMoments(camera)
    for index in range(3):
        event = event_of(index, *(face_of(number, "happy") for number in range(500)))
        moments.add(frame_of(event), event)
    assert camera.num_pictures == 200


def test_unknown_is_no_moment() -> None:
    face = face_of(1, "happy")
    unknown = FaceEmotion(face.face, face.scores, face.smoothed, dominant=UNKNOWN)
    assert collect(None, [unknown]).of(1) == {}
