"""Assigns stable track ids to detected faces, by motion, overlap and appearance."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from emostream.domain.face import BoxXyxy, Face
from emostream.vision.geometry.boxes import iou_matrix
from emostream.vision.geometry.similarity import PlaneSimilarity
from emostream.vision.track.appearance import FrameLooks, Look, is_look_due, surely_same
from emostream.vision.track.association import associate, cheapest_pairs
from emostream.vision.track.flow import FacePatch
from emostream.vision.track.motion import BoxMotion, correct, motion_from_box, predict, transform

# A weak detection is more often a false one, so it may continue only a track that was seen recently.
_MAX_WEAK_GAP_SECONDS = 0.5
# For this long after weak detections appear somewhere, more searches are worth their cost.
_UNCONFIRMED_SECONDS = 0.7
_MIN_UNCONFIRMED_PIXELS = 40.0  # smaller ones are not looked at in other ways
# Over a longer distance between frames, the last place of a face says as much as its motion.
_MIN_PAUSE_SECONDS = 0.7
# Looks kept of each track: enough to know a face again that turned meanwhile.
_MAX_LOOKS = 6


@dataclass(frozen=True, slots=True)
class TrackUpdate:
    """The result of one frame.

    Attributes:
        faces: the faces that belong to a track, with `track_id`, in order of track id.
        ended_track_ids: tracks that will not come back.
        displaced: tracks in whose place another person is now. They are no longer in the tracker; `update` may get
            them as `away`.
        returned: tracks of those that were away, whose person was found again.
    """

    faces: tuple[Face, ...]
    ended_track_ids: tuple[int, ...]
    displaced: tuple[Track, ...] = ()
    returned: tuple[Track, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unconfirmed:
    """A place where only weak detections were found: too little for a track, but somebody may be there.

    Attributes:
        box_xyxy: of the newest one.
        since_seconds: time of the first one.
        seen_seconds: time of the newest one.
    """

    box_xyxy: BoxXyxy
    since_seconds: float
    seen_seconds: float

    @property
    def height(self) -> float:
        """Of the box, in pixels."""
        return self.box_xyxy[3] - self.box_xyxy[1]


@dataclass(slots=True, eq=False)
class Track:
    """The state of a track; internal to `FaceTracker`.

    Attributes:
        track_id: never reused.
        motion: state of the motion filter at the last detection.
        seen_at_seconds: time of that detection, or of the last frame to which the face was followed.
        moved_to: where it was followed since the last detection, or None.
        is_missed: whether the last search missed it. Whatever covers a face also moves the flow, so until the next
            detection only the motion filter predicts its position.
        unseen_seconds: time since it was last seen, while frames were processed.
        looks: how the face looked at some of the last detections, with their times, in order.
        patch: the face in the last frame in which it was seen before a search; None where it was seen in none.
    """

    track_id: int
    motion: BoxMotion
    seen_at_seconds: float
    moved_to: BoxXyxy | None = None
    is_missed: bool = False
    unseen_seconds: float = 0.0
    looks: list[tuple[float, Look]] = field(default_factory=list)
    patch: FacePatch | None = None

    @property
    def known_looks(self) -> list[Look]:
        """The looks without their times."""
        return [look for _, look in self.looks]

    def remember(self, look: Look, *, at_seconds: float) -> None:
        """Keep a look; of too many, the oldest one is forgotten."""
        self.looks = [*self.looks[1 - _MAX_LOOKS :], (at_seconds, look)]

    def predicted(self, *, at_seconds: float) -> BoxMotion:
        """The predicted state. Frames in between count as one step: their sum determines the speed."""
        motion = self.motion
        if self.moved_to is not None:
            motion = correct(predict(motion, at_seconds=self.seen_at_seconds), self.moved_to)
        return predict(motion, at_seconds=at_seconds)

    def see(self, motion: BoxMotion) -> None:
        """Update after a detection."""
        self.motion, self.seen_at_seconds, self.moved_to = motion, motion.at_seconds, None
        self.is_missed, self.unseen_seconds = False, 0.0

    def miss(self) -> None:
        """Update after a search that missed it."""
        self.is_missed, self.moved_to = True, None

    def follow(self, box_xyxy: BoxXyxy, *, at_seconds: float) -> None:
        """Update after following it by optical flow."""
        self.seen_at_seconds, self.unseen_seconds = at_seconds, 0.0
        if not self.is_missed:
            self.moved_to = box_xyxy


class FaceTracker:
    """Assigns track ids. One per stream; not thread-safe; time is a parameter.

    Boxes are predicted by their motion and matched to detections in two stages, good detections first, then weak ones
    to the remaining tracks (ByteTrack, Zhang et al. 2022, arXiv:2110.06864): a face that turns away or is half covered
    keeps its id, and a weak false detection never starts a track.

    Args:
        max_lost_seconds: a track ends when its face was missing for longer. Frames that are far apart count as half
            of it at most, so that one frame or one gap ends no track at any frame rate.
        min_iou: smallest overlap of a predicted and a detected box of the same face.
        confirm_score: smallest score of a detection that starts a track.
    """

    def __init__(self, *, max_lost_seconds: float = 1.0, min_iou: float = 0.2, confirm_score: float = 0.6) -> None:
        self._max_lost_seconds = max_lost_seconds
        self._min_iou = min_iou
        self._confirm_score = confirm_score
        self._tracks: list[Track] = []
        self._unconfirmed: list[_Unconfirmed] = []
        self._ids = itertools.count()
        self._at_seconds = math.inf
        self._gap_seconds = self._step_seconds = 0.0

    def update(
        self,
        faces: Sequence[Face],
        *,
        pts_seconds: float,
        looks: FrameLooks | None = None,
        away: Sequence[Track] = (),
    ) -> TrackUpdate:
        """Match the detections of a frame to the tracks.

        Args:
            faces: detections, weak ones included.
            pts_seconds: time of the frame; must not decrease.
            looks: of these faces. A face that looks like another person is not matched, wherever it is. None matches
                by the boxes only.
            away: tracks that are not in the picture, of which one continues where its face is surely found again.
        """
        self._pass_time(pts_seconds)
        if looks is not None:
            self._keep_patches(looks)
        good = [face for face in faces if face.score >= self._confirm_score]
        weak = [face for face in faces if face.score < self._confirm_score]

        known, unknown, refused = self._assign(self._tracks, faces, good, pts_seconds=pts_seconds, looks=looks)
        assigned = {face.track_id for face in known}
        recent = [
            track
            for track in self._tracks
            if track.track_id not in assigned and track.unseen_seconds <= max(_MAX_WEAK_GAP_SECONDS, self._step_seconds)
        ]
        weakly_known, unmatched, refused_weak = self._assign(recent, faces, weak, pts_seconds=pts_seconds, looks=looks)
        assigned |= {face.track_id for face in weakly_known}
        missed = [track for track in self._tracks if track.track_id not in assigned]
        # A weak detection starts no track, but it shows that another person is where a track was.
        others_in_place = {track_id for track_id, face in refused if face in unknown}
        others_in_place |= {track_id for track_id, face in refused_weak if face in unmatched}
        recognised: list[Face] = []
        returned: list[Track] = []
        if looks is not None and unknown:
            recognised, returned, unknown = self._recognise(
                [*missed, *away], unknown, looks, refused=refused, pts_seconds=pts_seconds
            )
            missed = [track for track in missed if track not in returned]
        displaced = others_in_place & {track.track_id for track in missed}
        for track in missed:
            track.miss()
        gone = tuple(track for track in self._tracks if track.track_id in displaced)
        self._tracks = [track for track in self._tracks if track.track_id not in displaced]
        back = tuple(track for track in returned if track not in self._tracks)
        self._tracks += back
        started = [self._start(face, pts_seconds=pts_seconds) for face in unknown]
        self._remember_unconfirmed(unmatched, pts_seconds=pts_seconds)
        found = _by_track([*known, *weakly_known, *recognised, *started])
        if looks is not None:
            self._remember(found, looks, pts_seconds=pts_seconds)
        return TrackUpdate(found, self._end_lost(), gone, back)

    def move(self, faces: Sequence[Face], *, pts_seconds: float) -> TrackUpdate:
        """Update tracks in a frame that was followed by optical flow, not searched.

        Args:
            faces: with their `track_id` and new positions.
            pts_seconds: time of the frame; must not decrease.
        """
        self._pass_time(pts_seconds)
        tracks = {track.track_id: track for track in self._tracks}
        known = [face for face in faces if face.track_id in tracks]
        for face in known:
            tracks[face.track_id or 0].follow(face.box_xyxy, at_seconds=pts_seconds)
        return TrackUpdate(_by_track(known), self._end_lost())

    def zoom(self, similarity: PlaneSimilarity) -> None:
        """Move all tracks to where they are in a picture of the same scene at another size.

        Args:
            similarity: one transform from pixels of the last frame to pixels of the next one.
        """
        for track in self._tracks:
            track.motion = transform(track.predicted(at_seconds=track.seen_at_seconds), similarity)
            track.moved_to = None

    @property
    def has_lost(self) -> bool:
        """Whether the face of a track was not in the last frame and may come back."""
        return any(track.unseen_seconds > 0 for track in self._tracks)

    @property
    def has_newly_unconfirmed(self) -> bool:
        """Whether weak detections appeared shortly before, of which more searches may tell whether they are a face."""
        return any(
            place.height >= _MIN_UNCONFIRMED_PIXELS and self._at_seconds - place.since_seconds <= _UNCONFIRMED_SECONDS
            for place in self._unconfirmed
        )

    def set_aside(self, looks: FrameLooks | None = None) -> tuple[Track, ...]:
        """Remove and return all tracks at a scene change; `give_back` restores them.

        Args:
            looks: of the next frame; they tell how the faces looked in the last one.
        """
        if looks is not None:
            self._keep_patches(looks)
            for track in self._tracks:
                if (look := looks.before(track.track_id)) is not None:
                    track.remember(look, at_seconds=self._at_seconds)
        tracks, self._tracks = tuple(self._tracks), []
        self._unconfirmed = []
        return tracks

    def give_back(self, tracks: Iterable[Track]) -> None:
        """Restore tracks that were set aside. The time in between does not count as unseen."""
        self._tracks = list(tracks)

    def _pass_time(self, pts_seconds: float) -> None:
        """Add the time since the last frame to each track's unseen time."""
        self._gap_seconds = max(pts_seconds - self._at_seconds, 0.0)
        self._at_seconds = pts_seconds
        self._step_seconds = min(self._gap_seconds, self._max_lost_seconds / 2)
        for track in self._tracks:
            track.unseen_seconds += self._step_seconds

    def _end_lost(self) -> tuple[int, ...]:
        is_lost = [track.unseen_seconds > self._max_lost_seconds for track in self._tracks]
        if not any(is_lost):
            return ()
        ended = tuple(track.track_id for track in itertools.compress(self._tracks, is_lost))
        self._tracks = [track for track, lost in zip(self._tracks, is_lost, strict=True) if not lost]
        return ended

    def _assign(
        self,
        tracks: Sequence[Track],
        detected: Sequence[Face],
        faces: Sequence[Face],
        *,
        pts_seconds: float,
        looks: FrameLooks | None,
    ) -> tuple[list[Face], list[Face], list[tuple[int, Face]]]:
        """Match faces to tracks and update these.

        Args:
            tracks: of which each gets one face at most.
            detected: all faces of the frame.
            faces: some of them.
            pts_seconds: time of the frame.
            looks: None where only the boxes count.

        Returns:
            Faces with a track id, faces without a track, and pairs of a track's id and a face in its place that looks
            like another person.
        """
        predicted = [track.predicted(at_seconds=pts_seconds) for track in tracks]
        boxes = np.array([face.box_xyxy for face in faces], dtype=np.float64).reshape(-1, 4)
        is_pause = self._gap_seconds > _MIN_PAUSE_SECONDS
        refused: list[tuple[int, Face]] = []

        def look_distance(track_index: int, face_index: int) -> float:
            track, face = tracks[track_index], faces[face_index]
            if looks is None:
                return 0.0
            distance = looks.distance(
                track.track_id,
                track.looks,
                face,
                pts_seconds=pts_seconds,
                may_be_covered=lambda: self._is_touched(face, detected, pts_seconds=pts_seconds),
            )
            if math.isinf(distance):
                refused.append((track.track_id, face))
            return distance

        pairs = associate(
            predicted,
            boxes,
            min_iou=self._min_iou,
            is_missed=[track.is_missed for track in tracks],
            gap_seconds=self._gap_seconds,
            last_seen=[track.predicted(at_seconds=track.seen_at_seconds) for track in tracks] if is_pause else (),
            look_distance=look_distance,
        )
        known = []
        for track_index, face_index in pairs:
            track = tracks[track_index]
            track.see(correct(predicted[track_index], boxes[face_index]))
            known.append(dataclasses.replace(faces[face_index], track_id=track.track_id))
        paired = {face_index for _, face_index in pairs}
        return known, [face for index, face in enumerate(faces) if index not in paired], refused

    def _is_touched(self, face: Face, detected: Sequence[Face], *, pts_seconds: float) -> bool:
        """Whether a detected face overlaps another one, or the places of two tracks."""
        box = np.array([face.box_xyxy])
        boxes = np.array([other.box_xyxy for other in detected])
        places = np.array([track.predicted(at_seconds=pts_seconds).box_xyxy for track in self._tracks])
        return any(int((iou_matrix(box, others) > 0).sum()) > 1 for others in (boxes, places))

    def _remember_unconfirmed(self, weak: Sequence[Face], *, pts_seconds: float) -> None:
        """Keep where weak detections are that belong to no track."""
        if not weak and not self._unconfirmed:
            return  # the usual case
        places = [(face, self._unconfirmed_at(face)) for face in weak]
        again = {id(place) for _, place in places}
        last = pts_seconds - max(_MAX_WEAK_GAP_SECONDS, self._step_seconds)
        kept = [place for place in self._unconfirmed if id(place) not in again and place.seen_seconds >= last]
        self._unconfirmed = kept + [
            _Unconfirmed(face.box_xyxy, pts_seconds if place is None else place.since_seconds, pts_seconds)
            for face, place in places
        ]

    def _unconfirmed_at(self, face: Face) -> _Unconfirmed | None:
        """Where a face was found weakly before."""
        if not self._unconfirmed:
            return None
        overlaps = iou_matrix(np.array([face.box_xyxy]), np.array([place.box_xyxy for place in self._unconfirmed]))[0]
        best = int(overlaps.argmax())
        return self._unconfirmed[best] if overlaps[best] >= self._min_iou else None

    def _was_beside(self, track: Track, face: Face) -> bool:
        """Whether a face was found weakly while the track was seen elsewhere: it is somebody else then."""
        place = self._unconfirmed_at(face)
        return place is not None and place.since_seconds <= track.seen_at_seconds

    def _recognise(
        self,
        tracks: Sequence[Track],
        faces: Sequence[Face],
        looks: FrameLooks,
        *,
        refused: Collection[tuple[int, Face]],
        pts_seconds: float,
    ) -> tuple[list[Face], list[Track], list[Face]]:
        """Continue tracks whose face is surely found again, wherever it is.

        Returns:
            Faces with a track id, their tracks, and the other faces.
        """
        alike = [
            [
                None
                if (track.track_id, face) in refused or self._was_beside(track, face)
                else _surely_same(track, face, looks)
                for face in faces
            ]
            for track in tracks
        ]
        pairs = cheapest_pairs([[2.0 if value is None else 1 - value for value in row] for row in alike])
        pairs = [(row, column) for row, column in pairs if alike[row][column] is not None]
        for row, column in pairs:
            tracks[row].see(motion_from_box(faces[column].box_xyxy, at_seconds=pts_seconds))
        recognised = [dataclasses.replace(faces[column], track_id=tracks[row].track_id) for row, column in pairs]
        columns = {column for _, column in pairs}
        others = [face for index, face in enumerate(faces) if index not in columns]
        return recognised, [tracks[row] for row, _ in pairs], others

    def _keep_patches(self, looks: FrameLooks) -> None:
        """Keep the pixels of the tracks that were seen in the frame before."""
        for track in self._tracks:
            track.patch = looks.patches.get(track.track_id, track.patch)

    def _remember(self, faces: Sequence[Face], looks: FrameLooks, *, pts_seconds: float) -> None:
        """Keep how the faces of tracks look."""
        tracks = {track.track_id: track for track in self._tracks}
        for face in faces:
            track = tracks[face.track_id or 0]
            if is_look_due(track.looks, pts_seconds=pts_seconds):
                track.remember(looks.of(dataclasses.replace(face, track_id=None)), at_seconds=pts_seconds)

    def _start(self, face: Face, *, pts_seconds: float) -> Face:
        motion = motion_from_box(face.box_xyxy, at_seconds=pts_seconds)
        track = Track(next(self._ids), motion, pts_seconds)
        self._tracks.append(track)
        return dataclasses.replace(face, track_id=track.track_id)


def _surely_same(track: Track, face: Face, looks: FrameLooks) -> float | None:
    """The likeness of a face with a track, when it shows that they are one person; else None."""
    alike = surely_same(track.known_looks, looks.of(face))
    return None if alike is None or looks.is_other_by_vectors(track.patch, face) else alike


def _by_track(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Sort by track id. Ids increase with time, so the oldest track is first."""
    return tuple(sorted(faces, key=lambda face: face.track_id or 0))
