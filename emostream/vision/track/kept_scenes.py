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
# by 0.86 to 1 within two seconds; another person in the same chair by 0.79 and less. Or the same background around the
# faces: who sits there is decided by their looks.
_MIN_CORRELATION = 0.85
_MIN_CONCORDANCE = 0.85


@dataclass(slots=True, eq=False)
class Scene:
    """The state of a scene when it was left.

    Attributes:
        thumbnail: of its last frame; None where the scene went on, but another person took the place of one of them.
        at_seconds: time of its last frame.
        faces: in its last frame.
        tracks: set aside by the tracker.
        num_frames: number of frames since.
    """

    thumbnail: Luma | None
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
            if scene.thumbnail is not None and _is_same(
                scene, scene.thumbnail, thumbnail, pts_seconds=pts_seconds, faces=faces, frame_width=frame_width
            ):
                self._scenes.remove(scene)
                return scene
        return None

    @property
    def tracks(self) -> list[Track]:
        """The tracks of all scenes."""
        return [track for scene in self._scenes for track in scene.tracks]

    def remove(self, tracks: Sequence[Track]) -> None:
        """Forget tracks that continue."""
        for scene in self._scenes if tracks else ():
            scene.tracks = tuple(track for track in scene.tracks if track not in tracks)
        self._scenes = [scene for scene in self._scenes if scene.tracks]

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


def _is_same(
    scene: Scene, before: Luma, now: Luma, *, pts_seconds: float, faces: Sequence[Face], frame_width: int
) -> bool:
    """Whether a scene returned."""
    elapsed = pts_seconds - scene.at_seconds
    is_brief = scene.num_frames <= 1 or elapsed <= _BRIEF_SECONDS
    if not (is_cut(before, now) if is_brief else is_cut(before, now, min_correlation=_MIN_CORRELATION)):
        return True
    around = [*scene.faces, *faces]
    if is_brief:
        return not is_cut_around(before, now, elapsed_seconds=elapsed, faces=around, frame_width=frame_width)
    return not is_cut_around(
        before,
        now,
        elapsed_seconds=elapsed,
        faces=around,
        frame_width=frame_width,
        min_concordance=_MIN_CONCORDANCE,
    )
