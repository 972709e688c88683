"""Tracks the faces of a stream: detects now and then and follows by optical flow in between."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emostream.config import TrackSettings
from emostream.domain.face import Face
from emostream.domain.frame import Frame, Luma
from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.track.appearance import FrameLooks, VectorOf
from emostream.vision.track.flow import FacePatch, follow_faces, patch_of
from emostream.vision.track.kept_scenes import KeptScenes, Scene
from emostream.vision.track.scene import (
    has_faded,
    has_new_motion,
    is_cut,
    is_cut_around,
    small_of,
    thumbnail_of,
    zoom_between,
)
from emostream.vision.track.tracker import FaceTracker, TrackUpdate

# Without a reason to search again, the interval between searches is this many times longer.
_CALM_FACTOR = 2
# A face whose shape changed by more than this since it was detected, in face sizes, triggers a search. On the test
# clips the landmarks' error correlates with it (0.6), hardly with elapsed time; 0.006 costs up to 10 % more searches,
# and boxes agree with those of searching every frame better by 0.003 (IoU) at most.
_MAX_DRIFT = 0.008
# Two boxes that overlap more than this are on the same face: one of them follows the wrong person.
_MAX_OVERLAP = 0.4
# Detections of a face differ by a few per cent from frame to frame. A detection this near (in face sizes) to where flow
# says that the face is only draws it there. On the test clips the step of a box at a search falls from 2.3–3.9 % of the
# face to 1.3–2.7 % (median), its distance from a search of every frame from 3.6–5.8 % to 3.1–5.1 % (90th percentile).
_MAX_APART = 0.15
_SHARE_OF_DETECTION = 0.5
# After a pause of this length all tracks end, unless the source's frames are usually that far apart.
_MAX_PAUSE_SECONDS = 10.0
_PAUSE_PER_GAP = 3
# Pictures kept to see that one was faded into another: 300 kB at most.
_FADE_SECONDS = 1.5
_FADE_STEP_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class FollowedFaces:
    """The faces of one frame.

    Attributes:
        faces: with track ids, in order of track id.
        ended_track_ids: tracks that will not come back; drop their state.
        was_detected: whether the detector searched this frame.
        detect_seconds: time spent in the detector.
        follow_seconds: time spent on everything else.
    """

    faces: tuple[Face, ...]
    ended_track_ids: tuple[int, ...]
    was_detected: bool
    detect_seconds: float
    follow_seconds: float


class FaceFollower:
    """Tracks all faces of one stream. Called from one thread at a time, frame by frame, in order.

    The detector searches a frame at regular intervals, when the scene changes, and when a face cannot be followed
    reliably. What it finds is averaged with where the face was followed to, so that boxes do not jump. The interval is
    halved when the last search missed a known face, when a face changes (turns, speaks) and when something new moves,
    and halved again while a lost face may come back. A face missed by one search is followed until the next; missed
    twice, it is lost.

    A track is continued by a face that looks like it, so another person in the same place gets another id. A cut sets
    all tracks aside; they continue when the picture or a face that surely looks the same returns shortly, so that a
    flash, a fade, a damaged frame or a look elsewhere ends no track. A zoom is no cut.

    Args:
        detect: finds the faces in a gray picture, weak ones included; shared by streams, so thread-safe.
        settings: tracking parameters.
        detections_per_second: searches per second of source time while there is a reason to search; otherwise half.
        phase: 0…1, the share of an interval by which the second search is early. It keeps streams that start together
            from searching at the same time.
        vector_of: helps to tell people apart in pictures that are far apart; None tells them apart by looks alone.
        clock: monotonic seconds, used only to measure durations.
    """

    def __init__(
        self,
        detect: Callable[[Luma], list[Face]],
        *,
        settings: TrackSettings,
        detections_per_second: float = 6.0,
        phase: float = 0.0,
        vector_of: VectorOf | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._detect = detect
        self._clock = clock
        self._interval_seconds = 1 / detections_per_second
        self._phase = phase
        self._vector_of = vector_of
        self._tracker = FaceTracker(
            max_lost_seconds=settings.max_lost_seconds,
            min_iou=settings.min_iou,
            confirm_score=settings.confirm_score,
        )
        self._patches: dict[int, FacePatch] = {}
        self._missed: set[int | None] = set()
        self._kept = KeptScenes(max_away_seconds=3 * settings.max_lost_seconds)
        self._thumbnail: Luma | None = None
        self._small: Luma | None = None
        self._smalls: deque[tuple[float, Luma]] = deque()
        self._shape: tuple[int, ...] = ()
        self._at_seconds = -math.inf
        self._gap_seconds = math.inf
        self._searched_thumbnail: Luma | None = None
        self._searched_at_seconds = -math.inf

    def follow(self, frame: Frame) -> FollowedFaces:
        """Track the faces into the next frame.

        Raises:
            InferenceError: the detector could not search this frame.
        """
        started = self._clock()
        small = small_of(frame.luma)
        thumbnail = thumbnail_of(small)
        ended = self._end_what_cannot_go_on(frame)
        differs = self._thumbnail is not None and is_cut(self._thumbnail, thumbnail)

        detect_seconds = 0.0
        moved = None if differs or self._is_due(frame, thumbnail) else self._moved(frame.luma)
        if moved is None:
            detecting = self._clock()
            detections = self._detect(frame.luma)
            detect_seconds = self._clock() - detecting
            gap_seconds = frame.pts_seconds - self._at_seconds
            is_zoomed = differs and self._change_scene(frame, small, thumbnail, detections)
            looks = FrameLooks(
                frame.luma,
                self._patches,
                gap_seconds=gap_seconds,
                is_zoomed=is_zoomed,
                vector_of=self._vector_of,
                has_faded=lambda face: has_faded(
                    [earlier for _, earlier in self._smalls], small, face=face, frame_width=frame.width
                ),
            )
            update = self._searched(frame, detections, looks)
            is_first = self._searched_thumbnail is None
            early = self._phase * _CALM_FACTOR * self._interval_seconds if is_first else 0.0
            self._searched_at_seconds, self._searched_thumbnail = frame.pts_seconds - early, thumbnail
        else:
            update = self._tracker.move([patch.face for patch in moved], pts_seconds=frame.pts_seconds)
            self._remember(update, {patch.face.track_id: patch for patch in moved}, frame.luma)
        ended += update.ended_track_ids + self._kept.ended(pts_seconds=frame.pts_seconds)
        self._thumbnail, self._shape = thumbnail, frame.luma.shape
        self._keep(small, pts_seconds=frame.pts_seconds)
        self._at_seconds, self._gap_seconds = frame.pts_seconds, frame.pts_seconds - self._at_seconds
        return FollowedFaces(
            faces=update.faces,
            ended_track_ids=ended,
            was_detected=moved is None,
            detect_seconds=detect_seconds,
            follow_seconds=self._clock() - started - detect_seconds,
        )

    def _end_what_cannot_go_on(self, frame: Frame) -> tuple[int, ...]:
        """End all tracks when the frame size changed or after a long pause: their state is in pixels of the frame
        before."""
        if self._thumbnail is None:
            return ()
        pause = max(_MAX_PAUSE_SECONDS, _PAUSE_PER_GAP * self._gap_seconds)
        if frame.luma.shape == self._shape and frame.pts_seconds - self._at_seconds <= pause:
            return ()
        self._patches.clear()
        self._missed.clear()
        self._thumbnail = self._searched_thumbnail = self._small = None
        self._smalls.clear()
        return tuple(track.track_id for track in self._tracker.set_aside()) + self._kept.end_all()

    def _keep(self, small: Luma, *, pts_seconds: float) -> None:
        """Keep the picture of this frame, and some of those before."""
        self._small = small
        if not self._smalls or pts_seconds - self._smalls[-1][0] >= _FADE_STEP_SECONDS * 0.99:
            self._smalls.append((pts_seconds, small))
        while pts_seconds - self._smalls[0][0] > _FADE_SECONDS:
            self._smalls.popleft()

    def _change_scene(self, frame: Frame, small: Luma, thumbnail: Luma, detections: Sequence[Face]) -> bool:
        """At a scene change, set the tracks aside and restore those of an earlier scene that returned.

        Returns:
            Whether it is the same scene at another size; the tracks are then moved to their new places.
        """
        assert self._thumbnail is not None and self._small is not None  # noqa: S101  # for the type checker
        faces = tuple(patch.face for patch in self._patches.values())
        if not is_cut_around(
            self._thumbnail,
            thumbnail,
            elapsed_seconds=frame.pts_seconds - self._at_seconds,
            faces=[*faces, *detections],
            frame_width=frame.width,
        ):
            return False
        zoom = zoom_between(self._small, small, frame_width=frame.width)
        if zoom is not None:
            self._tracker.zoom(zoom)
        else:
            looks = FrameLooks(frame.luma, self._patches, gap_seconds=math.inf)
            left = Scene(self._thumbnail, self._at_seconds, faces, self._tracker.set_aside(looks))
            back = self._kept.take(thumbnail, pts_seconds=frame.pts_seconds, faces=detections, frame_width=frame.width)
            if back is not None:
                self._tracker.give_back(back.tracks)
            self._kept.add(left)
        self._patches.clear()
        self._missed.clear()
        self._smalls.clear()
        return zoom is not None

    def _is_due(self, frame: Frame, thumbnail: Luma) -> bool:
        elapsed = frame.pts_seconds - self._searched_at_seconds
        # Time stamps are rounded to the container's time base; a frame must not be late because of that.
        interval = self._interval_seconds * 0.99
        if elapsed >= _CALM_FACTOR * interval or self._searched_thumbnail is None:
            return True
        if elapsed >= interval / _CALM_FACTOR and (self._tracker.has_lost or self._tracker.has_newly_unconfirmed):
            return True
        if elapsed < interval:
            return False
        patches = self._patches.values()
        if self._missed or any(patch.drift > _MAX_DRIFT for patch in patches):
            return True
        faces = [patch.face for patch in patches]
        return has_new_motion(self._searched_thumbnail, thumbnail, faces=faces, frame_width=frame.width)

    def _moved(self, luma: Luma) -> list[FacePatch] | None:
        """All known faces in this frame, or None when one of them cannot be followed reliably."""
        moved = [patch for patch in follow_faces(list(self._patches.values()), luma) if patch is not None]
        if len(moved) < len(self._patches) or _has_overlap([patch.face for patch in moved]):
            return None
        return moved

    def _searched(self, frame: Frame, detections: Sequence[Face], looks: FrameLooks) -> TrackUpdate:
        """The detected faces, and faces that were missed for the first time, as far as they can be followed."""
        update = self._tracker.update(detections, pts_seconds=frame.pts_seconds, looks=looks, away=self._kept.tracks)
        self._kept.remove(update.returned)
        displaced = tuple(track for track in update.displaced if track.looks)
        self._kept.add(Scene(None, self._at_seconds, (), displaced))
        gone = {face.track_id for face in update.faces} | set(update.ended_track_ids) | self._missed
        gone |= {track.track_id for track in displaced}
        found = {face.track_id: face for face in update.faces}
        candidates = [patch for track_id, patch in self._patches.items() if track_id in found or track_id not in gone]
        moved = {patch.face.track_id: patch for patch in follow_faces(candidates, frame.luma) if patch is not None}
        faces = [_blended(face, moved[face.track_id].face) if face.track_id in moved else face for face in update.faces]
        kept: dict[int | None, FacePatch] = {}
        for track_id, patch in moved.items():
            if track_id not in found and not _has_overlap([*faces, patch.face]):
                faces.append(patch.face)
                kept[track_id] = patch
        self._missed = set(kept)
        faces.sort(key=lambda face: face.track_id or 0)
        update = TrackUpdate(tuple(faces), update.ended_track_ids)
        self._remember(update, kept, frame.luma)
        return update

    def _remember(self, update: TrackUpdate, moved: dict[int | None, FacePatch], luma: Luma) -> None:
        """Store the patch of each reported face; detected ones are cut from this frame."""
        patches = {}
        for face in update.faces:
            if face.track_id is None:
                continue
            known = self._patches.get(face.track_id)
            window = None if known is None else known.window
            patches[face.track_id] = moved.get(face.track_id) or patch_of(luma, face, window=window)
        self._patches = patches


def _blended(face: Face, followed: Face) -> Face:
    """A detected face, drawn towards where it was followed to: detections of a face differ by a few per cent."""
    here, there = (np.array([*each.box_xyxy, *np.ravel(each.landmarks)]) for each in (face, followed))
    apart = float(np.abs(here - there).max()) / max(face.width, face.height)
    if apart > _MAX_APART or len(here) != len(there):
        return face
    x0, y0, x1, y1, *points = (there + _SHARE_OF_DETECTION * (here - there)).tolist()
    landmarks = tuple(zip(points[::2], points[1::2], strict=True))
    return dataclasses.replace(face, box_xyxy=(x0, y0, x1, y1), landmarks=landmarks)


def _has_overlap(faces: Sequence[Face]) -> bool:
    """Whether two faces overlap too much."""
    if not any(_touch(one, other) for one, other in itertools.combinations(faces, 2)):
        return False  # the usual case, decided cheaply
    boxes = np.array([face.box_xyxy for face in faces])
    return bool(np.triu(iou_matrix(boxes, boxes), k=1).max() > _MAX_OVERLAP)


def _touch(one: Face, other: Face) -> bool:
    x0, y0, x1, y1 = one.box_xyxy
    left, top, right, bottom = other.box_xyxy
    return x0 < right and left < x1 and y0 < bottom and top < y1
