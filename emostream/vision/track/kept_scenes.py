"""Scenes that were cut away from a moment ago: a flash, a black or a damaged frame, a short look elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.track.scene import is_cut, is_cut_around
from emostream.vision.track.tracker import Track

_MAX_SCENES = 4
# After so long, or a single frame at any rate, the picture has hardly changed when it returns.
_BRIEF_SECONDS = 0.5
# After longer, only the very same picture is taken for the same scene: on the test clips, people who sit and talk leave
# 0.86 to 1 of it within two seconds; another person in the same chair 0.79 and less.
_MIN_CORRELATION = 0.85


@dataclass(slots=True, eq=False)
class Scene:
    """What was seen last of a scene.

    Attributes:
        thumbnail: of its last frame.
        at_seconds: time of that.
        faces: in that frame.
        tracks: set aside by the tracker.
        num_frames: looked at since.
    """

    thumbnail: Luma
    at_seconds: float
    faces: tuple[Face, ...]
    tracks: tuple[Track, ...]
    num_frames: int = 0


class KeptScenes:
    """The last few scenes with people in them. Called for each frame, in order.

    Args:
        max_away_seconds: a scene is kept for so long, and for one frame at any frame rate.
    """

    def __init__(self, *, max_away_seconds: float) -> None:
        self._max_away_seconds = max_away_seconds
        self._scenes: list[Scene] = []
        self._ended: list[int] = []

    def add(self, scene: Scene) -> None:
        """Keep a scene that was cut away from; one without people is not worth it."""
        if not scene.tracks:
            return
        self._scenes.append(scene)
        while len(self._scenes) > _MAX_SCENES:
            self._end(self._scenes[0])

    def take(self, thumbnail: Luma, *, pts_seconds: float, faces: Sequence[Face], frame_width: int) -> Scene | None:
        """The scene that this frame returns to, if it does; it is kept no longer."""
        for scene in reversed(self._scenes):
            elapsed = pts_seconds - scene.at_seconds
            if scene.num_frames <= 1 or elapsed <= _BRIEF_SECONDS:
                is_other = is_cut(scene.thumbnail, thumbnail) and is_cut_around(
                    scene.thumbnail,
                    thumbnail,
                    elapsed_seconds=elapsed,
                    faces=[*scene.faces, *faces],
                    frame_width=frame_width,
                )
            else:
                is_other = is_cut(scene.thumbnail, thumbnail, min_correlation=_MIN_CORRELATION)
            if not is_other:
                self._scenes.remove(scene)
                return scene
        return None

    def ended(self, *, pts_seconds: float) -> tuple[int, ...]:
        """Tracks that will not come back; to be asked once after each frame."""
        for scene in list(self._scenes):
            if scene.num_frames > 1 and pts_seconds - scene.at_seconds > self._max_away_seconds:
                self._end(scene)
            scene.num_frames += 1
        ended, self._ended = tuple(self._ended), []
        return ended

    def end_all(self) -> tuple[int, ...]:
        """Keep nothing; the tracks that end."""
        for scene in list(self._scenes):
            self._end(scene)
        ended, self._ended = tuple(self._ended), []
        return ended

    def _end(self, scene: Scene) -> None:
        self._scenes.remove(scene)
        self._ended += [track.track_id for track in scene.tracks]
