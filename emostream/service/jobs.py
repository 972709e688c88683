"""The jobs of the service in Redis: each a list of files that become streams as workers have room for them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from emostream.errors import EmostreamError, EventRejectedError
from emostream.service.job import (
    FileResult,
    Job,
    JobProgress,
    job_from_json,
    json_from_job,
    read_result,
)
from emostream.service.record import StreamRecord, json_from_record, read_report
from emostream.service.registry import UnreadableRecordError
from emostream.service.store import JOBS, RegistryStore, text_pairs

logger = logging.getLogger(__name__)


class JobExistsError(EmostreamError, ValueError):
    """Another job has this id already."""


class UnknownJobError(EmostreamError, KeyError):
    """There is no job with this id."""


class JobRegistry:
    """Create, watch and remove jobs. Safe to use from several processes at once.

    Args:
        store: connection; not closed here.
    """

    def __init__(self, store: RegistryStore) -> None:
        self._store = store

    async def create(self, job: Job, records: Sequence[StreamRecord]) -> bool:
        """Ask for a job; asking for the same id and place again changes nothing.

        Args:
            job: what is wanted.
            records: one for each file.

        Returns:
            Whether it is new.

        Raises:
            JobExistsError: the id is taken by another job.
            UnreadableRecordError: it is taken by one that this version cannot read.
        """
        texts = [json_from_record(record) for record in records]
        verdict, found = await self._store.run("jobs_put", [job.job_id, json_from_job(job), *texts])
        if verdict == b"exists":
            _check_same(job, found)
        return bool(verdict == b"ok")

    async def has(self, job: Job) -> bool:
        """Whether it was asked for already; errors as in `create`."""
        found = await self._store.field_of(JOBS, job.job_id)
        if found is not None:
            _check_same(job, found)
        return found is not None

    async def feed(self, *, max_streams: int) -> int:
        """Move files on and forget jobs that were finished long ago; called by workers now and then.

        Returns:
            How many files were moved.
        """
        return int(await self._store.run("jobs_feed", [max_streams, int(1000 * (self._store.max_idle_seconds or 0))]))

    async def remove(self, job_id: str) -> None:
        """Ask for a job no more; files in work are stopped, events stay.

        Raises:
            UnknownJobError: there is no such job.
        """
        if not await self._store.run("jobs_remove", [job_id]):
            raise _unknown(job_id)

    async def all(self) -> list[JobProgress]:
        """All jobs, by id; those that this version cannot read are left out."""
        progresses: list[JobProgress] = []
        for job_id in sorted(await self._store.hash_of(JOBS)):
            try:
                found = await self._look(job_id)
            except UnreadableRecordError as exc:
                logger.warning("%s", exc)
                continue
            if found is not None:
                progresses.append(found[0])
        return progresses

    async def progress(self, job_id: str) -> JobProgress:
        """How far one job is.

        Raises:
            UnknownJobError: there is no such job.
            UnreadableRecordError: this version cannot read it.
        """
        return (await self.results(job_id, start=0, limit=0))[0]

    async def results(self, job_id: str, *, start: int, limit: int) -> tuple[JobProgress, list[FileResult]]:
        """How far a job is, and what became of files in the order in which they were finished.

        Args:
            job_id: which job.
            start: 0-based number of the first file wanted.
            limit: at most so many of them.

        Raises:
            UnknownJobError: there is no such job.
            UnreadableRecordError: this version cannot read it.
        """
        found = await self._look(job_id, start=start, limit=limit)
        if found is None:
            raise _unknown(job_id)
        return found

    async def _look(
        self, job_id: str, *, start: int = 0, limit: int = 0
    ) -> tuple[JobProgress, list[FileResult]] | None:
        # Redis has no empty range: one before its beginning is one.
        first, last = (start, start + limit - 1) if limit else (1, 0)
        reply = await self._store.run("jobs_look", [job_id, first, last])
        text, num_waiting, flat_sums, reports, results = reply
        if not text:
            return None
        sums = {name: int(value) for name, value in text_pairs(flat_sums).items()}
        running = [report for text in reports if (report := read_report(text or None)) is not None]
        progress = JobProgress(
            job=_read(job_id, text),
            num_waiting=num_waiting,
            num_active=len(reports),
            num_ended=sums.get("ended", 0),
            num_failed=sums.get("failed", 0),
            num_frames=sums.get("frames", 0) + sum(report.num_frames for report in running),
            num_faces=sums.get("faces", 0) + sum(report.num_faces for report in running),
        )
        return progress, [read_result(result) for result in results]


def _check_same(job: Job, found: bytes) -> None:
    if _read(job.job_id, found) != job:
        raise JobExistsError(f"job {job.job_id} exists with another place or other options; choose another id")


def _read(job_id: str, text: bytes) -> Job:
    try:
        return job_from_json(text)
    except EventRejectedError as exc:
        raise UnreadableRecordError(
            f"the record of job {job_id} cannot be read: it is damaged, or of a newer version of emostream; use that "
            "version, or remove the job",
            job_id=job_id,
        ) from exc


def _unknown(job_id: str) -> UnknownJobError:
    return UnknownJobError(f"there is no job {job_id}", job_id=job_id)
