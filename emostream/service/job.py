"""A batch of files as one job: what is wanted, how far it is, and what became of each file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from emostream.errors import ConfigError, EventRejectedError
from emostream.service.record import StreamRecord
from emostream.stream import StreamKind, StreamState

MAX_JOB_ID_LENGTH = 48
"""Leaves room for the number of a file in the id of its stream."""


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
        EventRejectedError: it is no job.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        return Job(str(content["job_id"]), str(content["url"]), int(content["max_parallel"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise EventRejectedError("an entry of the registry is no job; was it written by another version?") from exc


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
