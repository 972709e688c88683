"""The service's jobs in Redis: lists of files that become streams as workers have capacity."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from emostream.domain.stream import StreamKind, StreamState
from emostream.errors import ConfigError, EmostreamError, RecordError
from emostream.service.registry.records import StreamRecord, json_from_record, read_report
from emostream.service.registry.store import JOBS, RegistryStore, text_pairs
from emostream.service.registry.streams import UnreadableRecordError
from emostream.service.registry.unknown_fields import is_for_newer
from emostream.wire.job_models import MAX_JOB_ID_LENGTH

_VERSION = version("emostream")


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Attributes:
        job_id: its id; the streams of its files are `JOB_ID.1`, `JOB_ID.2`, …
        url: the submitted folder or prefix; may contain credentials.
        max_parallel: number of files processed at the same time.
    """

    job_id: str
    url: str
    max_parallel: int = 2


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of one file.

    Attributes:
        stream_id: its stream, under which its events are published.
        url: the file; may contain credentials.
        state: ended or failed; None when its stream was deleted before it ended.
        detail: one sentence for people.
        num_frames, num_faces: published, in all runs of the stream together.
    """

    stream_id: str
    url: str
    state: StreamState | None
    detail: str = ""
    num_frames: int = 0
    num_faces: int = 0


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The progress of a job.

    Attributes:
        job: the job.
        num_waiting, num_active, num_ended, num_failed: numbers of files; their sum is the total.
        num_frames, num_faces: published so far, including files in progress.
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
        """Total number of files."""
        return self.num_waiting + self.num_active + self.num_ended + self.num_failed

    @property
    def is_done(self) -> bool:
        """Whether all files are processed."""
        return not self.num_waiting and not self.num_active


def records_of(job: Job, urls: Sequence[str], *, like: StreamRecord) -> list[StreamRecord]:
    """The stream records of a job's files, in order.

    Args:
        job: the job.
        urls: of the files.
        like: a record with the options that all of them share.

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
    """Serialise a job to one line of JSON; equal jobs give equal text."""
    return json.dumps(asdict(job), sort_keys=True, separators=(",", ":"))


def job_from_json(text: str | bytes) -> Job:
    """The inverse of `json_from_job`; unknown fields are ignored.

    Raises:
        RecordError: the text is not a job, or one for newer versions only (`min_version`).
    """
    try:
        content: dict[str, Any] = json.loads(text)
        if is_for_newer(content, version=_VERSION):
            raise ValueError(f"it needs version {content['min_version']}")
        return Job(str(content["job_id"]), str(content["url"]), int(content["max_parallel"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise RecordError("an entry of the registry is not a job; another version may have written it") from exc


def read_result(text: str | bytes) -> FileResult:
    """Parse a result as written by `jobs_feed.lua`. An unreadable one gives a result that says so."""
    try:
        content: dict[str, Any] = json.loads(text)
        report = _report_in(content)
        return FileResult(
            stream_id=str(content["stream_id"]),
            url=str(content["url"]),
            state=StreamState(content["state"]) if content["state"] else None,
            detail=str(report.get("detail", "")) if content["state"] else "its stream was deleted",
            num_frames=int(report.get("num_frames", 0)) + int(content.get("earlier_frames", 0)),
            num_faces=int(report.get("num_faces", 0)) + int(content.get("earlier_faces", 0)),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return FileResult("", "", None, "the result cannot be read; another version may have written it")


def _report_in(content: dict[str, Any]) -> dict[str, Any]:
    """The worker's report in a result; empty when it is unreadable."""
    try:
        report = json.loads(content["report"]) if content["report"] else {}
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


logger = logging.getLogger(__name__)


class JobExistsError(EmostreamError, ValueError):
    """Another job has this id."""

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class UnknownJobError(EmostreamError, KeyError):
    """No job has this id."""

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobRegistry:
    """Creates, reads and deletes jobs. Several processes may use it at once.

    Args:
        store: connection; not closed.
    """

    def __init__(self, store: RegistryStore) -> None:
        self._store = store
        self.num_waiting = 0
        """Files that would be streams by now if workers had room for them, as of the last `feed`."""

    async def create(self, job: Job, records: Sequence[StreamRecord]) -> bool:
        """Create a job. Idempotent: an identical request changes nothing.

        Args:
            job: the job.
            records: one for each file.

        Returns:
            Whether it is new.

        Raises:
            JobExistsError: another job has the id, or another stream has that of one of its files.
            UnreadableRecordError: the existing job cannot be read by this version.
        """
        texts = [json_from_record(record) for record in records]
        verdict, found = await self._store.run("jobs_put", [job.job_id, json_from_job(job), *texts])
        if verdict == b"exists":
            _check_same(job, found)
        if verdict == b"taken":
            raise JobExistsError(
                f"a stream has the id {found.decode()}, which a file of job {job.job_id} would have; choose another id",
                job_id=job.job_id,
            )
        return bool(verdict == b"ok")

    async def has(self, job: Job) -> bool:
        """Whether the job exists already; errors as in `create`."""
        found = await self._store.field_of(JOBS, job.job_id)
        if found is not None:
            _check_same(job, found)
        return found is not None

    async def feed(self, *, max_streams: int) -> int:
        """Add streams for waiting files, and delete jobs that finished long ago; called periodically by workers.

        Args:
            max_streams: limit of the number of unfinished streams.

        Returns:
            How many files changed state.
        """
        life_ms = int(1000 * (self._store.max_idle_seconds or 0))
        num_moved, self.num_waiting = await self._store.run("jobs_feed", [max_streams, life_ms, _VERSION])
        return int(num_moved)

    async def remove(self, job_id: str) -> None:
        """Delete a job. Files in progress are stopped; published events are kept.

        Raises:
            UnknownJobError: there is no such job.
        """
        if not await self._store.run("jobs_remove", [job_id]):
            raise _unknown(job_id)

    async def all(self) -> list[JobProgress]:
        """All jobs, ordered by id; unreadable ones are left out."""
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
        """The progress of one job.

        Raises:
            UnknownJobError: there is no such job.
            UnreadableRecordError: this version cannot read it.
        """
        return (await self.results(job_id, start=0, limit=0))[0]

    async def results(self, job_id: str, *, start: int, limit: int) -> tuple[JobProgress, list[FileResult]]:
        """The progress of a job, and results of files in the order in which they finished.

        Args:
            job_id: the job.
            start: 0-based index of the first result.
            limit: largest number of results.

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
        # Redis has no empty range; one that ends before it starts is empty.
        first, last = (start, start + limit - 1) if limit else (1, 0)
        reply = await self._store.run("jobs_look", [job_id, first, last])
        text, num_waiting, flat_sums, reports, results, earlier_frames, earlier_faces = reply
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
            num_frames=sums.get("frames", 0) + earlier_frames + sum(report.num_frames for report in running),
            num_faces=sums.get("faces", 0) + earlier_faces + sum(report.num_faces for report in running),
        )
        return progress, [read_result(result) for result in results]


def _check_same(job: Job, found: bytes) -> None:
    if _read(job.job_id, found) != job:
        raise JobExistsError(
            f"job {job.job_id} exists with another folder or other options; choose another id", job_id=job.job_id
        )


def _read(job_id: str, text: bytes) -> Job:
    try:
        return job_from_json(text)
    except RecordError as exc:
        raise UnreadableRecordError(
            f"the record of job {job_id} cannot be read: it is damaged, or of a newer version of emostream; use that "
            "version, or delete the job",
            record_id=job_id,
        ) from exc


def _unknown(job_id: str) -> UnknownJobError:
    return UnknownJobError(f"there is no job {job_id}", job_id=job_id)
