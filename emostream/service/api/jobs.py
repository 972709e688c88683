"""Jobs over HTTP: all files of a folder, or of a prefix in an object store, with progress."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Response

from emostream.service.api.context import Context
from emostream.service.api.conversions import file_view, job_view, record_of_file
from emostream.service.egress.folder import find_files
from emostream.service.registry.jobs import Job, records_of
from emostream.wire.http_models import problem_responses
from emostream.wire.job_models import JobFiles, JobRequest, JobView

_MAX_PAGE = 500

JobId = Annotated[str, Path(max_length=64, description="Id of the job.", examples=["archive"])]


def add_jobs(app: FastAPI, *, reading: list[Any], writing: list[Any]) -> None:
    """The paths of `/v1/jobs`."""

    @app.post(
        "/v1/jobs",
        status_code=201,
        dependencies=writing,
        tags=["jobs"],
        responses={
            200: {"model": JobView, "description": "The job existed already with the same URL"},
            **problem_responses(400, 409, 413),
        },
    )
    async def create_job(body: JobRequest, context: Context, response: Response) -> JobView:
        """Create a job for a batch of files. Idempotent: the same id and URL return 200."""
        job = Job(body.id, body.url, body.parallel)
        is_new = not await context.jobs.has(job)
        if is_new:  # else its files may be gone by now
            most = context.settings.service.max_job_files
            urls = await context.in_thread(
                find_files, body.url, patterns=body.patterns, policy=context.policy, max_files=most
            )
            is_new = await context.jobs.create(job, records_of(job, urls, like=record_of_file(body)))
        response.status_code = 201 if is_new else 200
        response.headers["Location"] = f"/v1/jobs/{job.job_id}"
        return job_view(await context.jobs.progress(job.job_id))

    @app.get("/v1/jobs", dependencies=reading, tags=["jobs"], responses=problem_responses())
    async def list_jobs(context: Context) -> list[JobView]:
        """List jobs by id."""
        return [job_view(progress) for progress in await context.jobs.all()]

    @app.get("/v1/jobs/{job_id}", dependencies=reading, tags=["jobs"], responses=problem_responses(404, 409))
    async def show_job(job_id: JobId, context: Context) -> JobView:
        """Show a job and its progress."""
        return job_view(await context.jobs.progress(job_id))

    @app.get("/v1/jobs/{job_id}/files", dependencies=reading, tags=["jobs"], responses=problem_responses(404, 409))
    async def list_files(
        job_id: JobId,
        context: Context,
        start: Annotated[int, Query(ge=0, le=2**31, description="`next_start` of the previous page.")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Maximum number of files on the page.")] = 100,
    ) -> JobFiles:
        """List the results of finished files."""
        progress, results = await context.jobs.results(job_id, start=start, limit=limit)
        end = start + len(results)
        has_more = len(results) == limit and end < progress.num_ended + progress.num_failed
        return JobFiles(
            job=job_view(progress),
            files=[file_view(result) for result in results],
            next_start=end if has_more else None,
        )

    @app.delete(
        "/v1/jobs/{job_id}", status_code=204, dependencies=writing, tags=["jobs"], responses=problem_responses(404)
    )
    async def remove_job(job_id: JobId, context: Context) -> None:
        """Delete a job. Running files are stopped; published events are kept."""
        await context.jobs.remove(job_id)
