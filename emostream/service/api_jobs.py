"""Jobs over HTTP: a whole folder, or a prefix of an object store, as one wish with progress."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Self

from fastapi import FastAPI, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from emostream.redact import redact
from emostream.service.api_context import Context
from emostream.service.api_models import FileOptions, problem_responses
from emostream.service.folder import VIDEO_PATTERNS, find_files
from emostream.service.job import MAX_JOB_ID_LENGTH, FileResult, Job, JobProgress, records_of
from emostream.stream import StreamState

_MAX_PAGE = 500

JobId = Annotated[str, Path(max_length=64, description="Names the job.", examples=["archive"])]

_JOB_EXAMPLE: dict[str, Any] = {
    "id": "archive",
    "url": "file:///srv/media/2026/",
    "parallel": 2,
    "done": False,
    "num_files": 120,
    "num_waiting": 100,
    "num_active": 2,
    "num_ended": 17,
    "num_failed": 1,
    "num_frames": 51_200,
    "num_faces": 88_100,
}


class JobRequest(FileOptions):
    """A batch of files that is wanted. Every frame of every file is processed once, also after a worker died."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"id": "archive", "url": "file:///srv/media/2026/", "target_fps": 10},
                {"id": "uploads", "url": "s3://videos/uploads/", "patterns": ["*.mp4"], "parallel": 8},
            ]
        },
    )

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=MAX_JOB_ID_LENGTH,
        description="Names the job; the streams of its files are ID.1, ID.2, …",
    )
    url: str = Field(
        min_length=1, max_length=2048, description="Folder under the media root, or prefix of an object store."
    )
    patterns: list[str] = Field(
        list(VIDEO_PATTERNS), min_length=1, max_length=32, description="Names of files, as in a shell."
    )
    parallel: int = Field(2, ge=1, le=1000, description="So many files at once.")


class JobView(BaseModel):
    """A job and how far it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB_EXAMPLE]})

    id: str
    url: str = Field(description="Credentials masked.")
    parallel: int
    done: bool = Field(description="No file is left to be processed.")
    num_files: int
    num_waiting: int
    num_active: int = Field(description="Files that workers are at.")
    num_ended: int = Field(description="Files that were processed to their end.")
    num_failed: int
    num_frames: int = Field(description="Frames published so far.")
    num_faces: int

    @classmethod
    def of(cls, progress: JobProgress) -> Self:
        """What may be shown of a job."""
        return cls(
            id=progress.job.job_id,
            url=redact(progress.job.url),
            parallel=progress.job.max_parallel,
            done=progress.is_done,
            num_files=progress.num_files,
            num_waiting=progress.num_waiting,
            num_active=progress.num_active,
            num_ended=progress.num_ended,
            num_failed=progress.num_failed,
            num_frames=progress.num_frames,
            num_faces=progress.num_faces,
        )


class FileView(BaseModel):
    """What became of one file."""

    stream_id: str = Field(description="Its events are those of this stream.")
    url: str = Field(description="Credentials masked.")
    state: StreamState | None = Field(description="ended or failed; null when its stream was removed before.")
    detail: str
    num_frames: int
    num_faces: int

    @classmethod
    def of(cls, result: FileResult) -> Self:
        """What may be shown of a file."""
        return cls(
            stream_id=result.stream_id,
            url=redact(result.url),
            state=result.state,
            detail=redact(result.detail),
            num_frames=result.num_frames,
            num_faces=result.num_faces,
        )


class JobFiles(BaseModel):
    """Finished files of a job, in the order in which they were finished."""

    job: JobView
    files: list[FileView]
    next_start: int | None = Field(description="Give it as `start` for the next page; null on the last one.")


def add_jobs(app: FastAPI, *, reading: list[Any], writing: list[Any]) -> None:
    """The paths of `/v1/jobs`."""

    @app.post(
        "/v1/jobs",
        status_code=201,
        dependencies=writing,
        tags=["jobs"],
        responses={200: {"model": JobView, "description": "It was there already"}, **problem_responses(400, 409, 413)},
    )
    async def create_job(body: JobRequest, context: Context, response: Response) -> JobView:
        """Ask for a batch of files. Asking again for the same id and place changes nothing and answers 200."""
        job = Job(body.id, body.url, body.parallel)
        service = context.settings.service
        urls = await asyncio.to_thread(
            find_files, body.url, patterns=body.patterns, policy=context.policy, max_files=service.max_job_files
        )
        is_new = await context.jobs.create(job, records_of(job, urls, like=body.record_of_file()))
        response.status_code = 201 if is_new else 200
        response.headers["Location"] = f"/v1/jobs/{job.job_id}"
        return JobView.of(await context.jobs.progress(job.job_id))

    @app.get("/v1/jobs", dependencies=reading, tags=["jobs"], responses=problem_responses())
    async def list_jobs(context: Context) -> list[JobView]:
        """All jobs, by id."""
        return [JobView.of(progress) for progress in await context.jobs.all()]

    @app.get("/v1/jobs/{job_id}", dependencies=reading, tags=["jobs"], responses=problem_responses(404))
    async def show_job(job_id: JobId, context: Context) -> JobView:
        """One job and how far it is."""
        return JobView.of(await context.jobs.progress(job_id))

    @app.get("/v1/jobs/{job_id}/files", dependencies=reading, tags=["jobs"], responses=problem_responses(404))
    async def list_files(
        job_id: JobId,
        context: Context,
        start: Annotated[int, Query(ge=0, le=2**31, description="`next_start` of the page before.")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 100,
    ) -> JobFiles:
        """What became of the files that are finished."""
        progress, results = await context.jobs.results(job_id, start=start, limit=limit)
        end = start + len(results)
        has_more = len(results) == limit and end < progress.num_ended + progress.num_failed
        return JobFiles(
            job=JobView.of(progress),
            files=[FileView.of(result) for result in results],
            next_start=end if has_more else None,
        )

    @app.delete(
        "/v1/jobs/{job_id}", status_code=204, dependencies=writing, tags=["jobs"], responses=problem_responses(404)
    )
    async def remove_job(job_id: JobId, context: Context) -> None:
        """Ask for a job no more: files in work are stopped, events stay."""
        await context.jobs.remove(job_id)
