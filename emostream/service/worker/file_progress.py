"""Where a file continues that was processed in part, and the figures of runs that were killed."""

from __future__ import annotations

import sys
from dataclasses import replace

from emostream.decode.resuming import ResumePoint
from emostream.domain.stream import StreamKind, StreamState
from emostream.service.registry.leases import StreamLeases
from emostream.service.registry.records import StreamRecord, StreamReport
from emostream.service.registry.store import RegistryStore


class FileProgress:
    """How far files were processed. The event stream is the checkpoint: what was published was processed.

    Args:
        store: connection to the registry, and to the events.
        leases: correct the last report of a run that was killed.
    """

    def __init__(self, store: RegistryStore, *, leases: StreamLeases) -> None:
        self._store = store
        self._leases = leases

    async def resume_point(
        self, record: StreamRecord, *, epoch: int, report: StreamReport | None
    ) -> ResumePoint | None:
        """The last frame of a file that was published since it was added.

        Args:
            record: of the stream.
            epoch: of the run that is about to start.
            report: the last one of the runs before; completed by what was published after it.

        Returns:
            None for live streams, and for files that start at their beginning.

        Raises:
            RegistryError: Redis does not answer or refuses.
        """
        if record.spec.kind is not StreamKind.FILE:
            return None
        last = await self._store.last_event_before(epoch, stream_id=record.stream_id)
        if last is None or last[0] <= record.created_epoch:
            return None
        await self._complete(report, record, last_published=last[:2], epoch=epoch)
        return ResumePoint(last[1], pts_seconds=last[2])

    async def _complete(
        self, report: StreamReport | None, record: StreamRecord, *, last_published: tuple[int, int], epoch: int
    ) -> None:
        """Complete the last report of a run that was killed by what it published after it."""
        before: tuple[int, int] = (record.created_epoch, sys.maxsize)
        if report is not None and report.epoch > record.created_epoch:
            before = (report.epoch, report.last_index)
            if report.num_frames and report.last_index < 0:  # of an earlier version, which does not say where it was
                return
        num_frames, num_faces = await self._store.figures_after(before, stream_id=record.stream_id)
        if not num_frames:
            return
        last_epoch, last_index = last_published
        report = report or StreamReport(StreamState.PENDING)
        if report.epoch == last_epoch:
            num_frames, num_faces = report.num_frames + num_frames, report.num_faces + num_faces
        completed = replace(report, epoch=last_epoch, num_frames=num_frames, num_faces=num_faces, last_index=last_index)
        await self._leases.correct(record.stream_id, completed, epoch=epoch)
