"""Remembers scenes that were cut away shortly before: by a flash, a black or damaged frame, or a short other scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emostream.domain.face import Face
from emostream.domain.frame import Luma
from emostream.vision.track.scene import is_cut, is_cut_around
from emostream.vision.track.tracker import Track

_MAX_SCENES = 4
# Within this time, or after a single frame, the picture has hardly changed when it returns.
_BRIEF_SECONDS = 0.5
# Later, only a nearly identical picture counts as the same scene: in the test clips people who sit and talk correlate
# by 0.86 to 1 within two seconds; another person in the same chair by 0.79 and less.
_MIN_CORRELATION = 0.85


@dataclass(slots=True, eq=False)
class Scene:
    """The state of a scene when it was left.

    Attributes:
        thumbnail: of its last frame.
        at_seconds: time of its last frame.
        faces: in its last frame.
        tracks: set aside by the tracker.
        num_frames: number of frames since.
    """

    thumbnail: Luma
    at_seconds: float
    faces: tuple[Face, ...]
    tracks: tuple[Track, ...]
    num_frames: int = 0


class KeptScenes:
    """The last few scenes with faces. Called for each frame, in order.

    Args:
        max_away_seconds: how long a scene is remembered; one frame at least.
    """

    def __init__(self, *, max_away_seconds: float) -> None:
        self._max_away_seconds = max_away_seconds
        self._scenes: list[Scene] = []
        self._ended: list[int] = []

    def add(self, scene: Scene) -> None:
        """Remember a scene that was left; one without tracks is ignored."""
        if not scene.tracks:
            return
        self._scenes.append(scene)
        while len(self._scenes) > _MAX_SCENES:
            self._end(self._scenes[0])

    def take(self, thumbnail: Luma, *, pts_seconds: float, faces: Sequence[Face], frame_width: int) -> Scene | None:
        """Remove and return the scene that this frame returns to; None when there is none."""
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
        """Tracks that will not come back. Call once after each frame."""
        for scene in list(self._scenes):
            if scene.num_frames > 1 and pts_seconds - scene.at_seconds > self._max_away_seconds:
                self._end(scene)
            scene.num_frames += 1
        ended, self._ended = tuple(self._ended), []
        return ended

    def end_all(self) -> tuple[int, ...]:
        """Forget all scenes and return their tracks."""
        for scene in list(self._scenes):
            self._end(scene)
        ended, self._ended = tuple(self._ended), []
        return ended

    def _end(self, scene: Scene) -> None:
        self._scenes.remove(scene)
        self._ended += [track.track_id for track in scene.tracks]
