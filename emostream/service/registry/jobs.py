"""The jobs of the service in Redis: each a list of files that become streams as workers have room for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from emostream.domain.stream import StreamKind, StreamState
from emostream.errors import ConfigError, EmostreamError, RecordError
from emostream.service.registry.records import StreamRecord, json_from_record, read_report
from emostream.service.registry.store import JOBS, RegistryStore, text_pairs
from emostream.service.registry.streams import UnreadableRecordError
from emostream.wire.job_models import MAX_JOB_ID_LENGTH


@dataclass(frozen=True, slots=True)
class Job:
    """A wanted batch.

    Attributes:
        job_id: names it; the streams of its files are `JOB_ID.1`, `JOB_ID.2`, …
        url: the folder or prefix that was asked for; may hold credentials.
        max_parallel: so many files at once.
    """

    job_id: str
    url: str
    max_parallel: int = 2


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        stream_id: its stream, under which its events are.
        url: the file; may hold credentials.
        state: ended or failed; None when its stream was removed before it ended.
        detail: one sentence for people.
        num_frames, num_faces: published.
    """

    stream_id: str
    url: str
    state: StreamState | None
    detail: str = ""
    num_frames: int = 0
    num_faces: int = 0


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes:
        job: what was asked for.
        num_waiting, num_active, num_ended, num_failed: files; their sum is all of them.
        num_frames, num_faces: published so far, those of files in work included.
    """

    job: Job
    num_waiting: int
    num_active: int
    num_ended: int
    num_failed: int
    num_frames: int = 0
    num_faces: int = 0

    @property
    def num_files(self) -> int:
        """All of them."""
        return self.num_waiting + self.num_active + self.num_ended + self.num_failed

    @property
    def is_done(self) -> bool:
        """Whether no file is left to be processed."""
        return not self.num_waiting and not self.num_active


def records_of(job: Job, urls: Sequence[str], *, like: StreamRecord) -> list[StreamRecord]:
    """A wanted stream for each file, in order.

    Args:
        job: whose.
        urls: of the files.
        like: has the options that all of them share.

    Raises:
        ConfigError: the job's id is too long.
    """
    if len(job.job_id) > MAX_JOB_ID_LENGTH:
        raise ConfigError(f"job id {job.job_id!r} is too long; at most {MAX_JOB_ID_LENGTH} characters")
    return [
        replace(like, spec=replace(like.spec, stream_id=f"{job.job_id}.{number}", url=url, kind=StreamKind.FILE))
        for number, url in enumerate(urls, 1)
    ]


def json_from_job(job: Job) -> str:
    """One line; equal jobs give equal text."""
    return json.dumps(asdict(job), sort_keys=True, separators=(",", ":"))


def job_from_json(text: str | bytes) -> Job:
    """The inverse of `json_from_job`; what this version does not know is left out.

    Raises:
        RecordError: it is no job.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        return Job(str(content["job_id"]), str(content["url"]), int(content["max_parallel"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise RecordError("an entry of the registry is no job; was it written by another version?") from exc


def read_result(text: str | bytes) -> FileResult:
    """A result as `jobs_feed.lua` writes it; of one that cannot be read nothing but that is said."""
    try:
        content: dict[str, Any] = json.loads(text)
        report = _report_in(content)
        return FileResult(
            stream_id=str(content["stream_id"]),
            url=str(content["url"]),
            state=StreamState(content["state"]) if content["state"] else None,
            detail=str(report.get("detail", "")) if content["state"] else "its stream was removed",
            num_frames=int(report.get("num_frames", 0)),
            num_faces=int(report.get("num_faces", 0)),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return FileResult("", "", None, "what became of it cannot be read; was it written by another version?")


def _report_in(content: dict[str, Any]) -> dict[str, Any]:
    """What its worker said of a file; nothing where that cannot be read."""
    try:
        report = json.loads(content["report"]) if content["report"] else {}
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


logger = logging.getLogger(__name__)


class JobExistsError(EmostreamError, ValueError):
    """Another job has this id already."""

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class UnknownJobError(EmostreamError, KeyError):
    """There is no job with this id."""

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


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
        raise JobExistsError(
            f"job {job.job_id} exists with another place or other options; choose another id", job_id=job.job_id
        )


def _read(job_id: str, text: bytes) -> Job:
    try:
        return job_from_json(text)
    except RecordError as exc:
        raise UnreadableRecordError(
            f"the record of job {job_id} cannot be read: it is damaged, or of a newer version of emostream; use that "
            "version, or remove the job",
            record_id=job_id,
        ) from exc


def _unknown(job_id: str) -> UnknownJobError:
    return UnknownJobError(f"there is no job {job_id}", job_id=job_id)
