"""`emostream jobs`: processes folders of files with a running service, over HTTP."""

from __future__ import annotations

import json as json_format
import time
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from emostream.cli.options import JsonOption, PixelAspectOption, notes
from emostream.cli.streams import LOCAL_SERVICE, ServiceOption, TokenOption
from emostream.cli.tables import Column, print_record, print_records
from emostream.client.http.json_client import ApiClient
from emostream.errors import EmostreamError

jobs_app = typer.Typer(help="Process folders of files with a running service.", no_args_is_help=True)

JobIdArgument = Annotated[str, typer.Argument(metavar="JOB", help="Job id.")]

_COUNTS = ("num_files", "num_waiting", "num_active", "num_ended", "num_failed", "num_frames", "num_faces")
_COLUMNS = (Column("id"), *map(Column, _COUNTS), Column("url", is_detail=True))
_POLL_SECONDS = 1.0


@jobs_app.command(epilog="Example: emostream jobs add file:///videos/summer/ --id summer --pattern '*.mp4' --wait")
def add(
    url: Annotated[str, typer.Argument(help="Folder (file:///…/) or object store prefix (s3://…/).", metavar="URL")],
    *,
    job_id: Annotated[str, typer.Option("--id", help="Job id.", metavar="JOB")],
    pattern: Annotated[
        list[str] | None,
        typer.Option(
            help="Process only files that match this pattern, for example '*.mp4'; repeatable.", metavar="PATTERN"
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Number of files processed at the same time.", metavar="N")] = 2,
    fps: Annotated[
        float | None, typer.Option(help="Process at most this many frames per second.", metavar="FPS")
    ] = None,
    every: Annotated[int, typer.Option(help="Process every Nth frame.", metavar="N")] = 1,
    pixel_aspect: PixelAspectOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all files are processed and show progress.")] = False,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Add a job: process all files of a folder. Idempotent: an identical request changes nothing."""
    body: dict[str, Any] = {"id": job_id, "url": url, "parallel": parallel, "every": every}
    options = {"patterns": pattern, "target_fps": fps, "pixel_aspect": pixel_aspect}
    body |= {name: value for name, value in options.items() if value}
    client = ApiClient(service, token=token)
    shown = client.call("POST", "/v1/jobs", body)
    print_record(_waited(client, job_id) if wait else shown, json=json)


@jobs_app.command("list", epilog="Example: emostream jobs list")
def list_jobs(*, service: ServiceOption = LOCAL_SERVICE, token: TokenOption = None, json: JsonOption = False) -> None:
    """List all jobs."""
    jobs = ApiClient(service, token=token).call("GET", "/v1/jobs")
    print_records(jobs, columns=_COLUMNS, json=json, empty="no jobs; add one with `emostream jobs add URL --id JOB`")


@jobs_app.command(epilog="Example: emostream jobs show summer")
def show(
    job_id: JobIdArgument,
    *,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Show one job."""
    print_record(ApiClient(service, token=token).call("GET", _path(job_id)), json=json)


@jobs_app.command("wait", epilog="Example: emostream jobs wait summer")
def wait_for(
    job_id: JobIdArgument,
    *,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Wait until all files of a job are processed. Fails if some could not be."""
    print_record(_waited(ApiClient(service, token=token), job_id), json=json)


@jobs_app.command(epilog="Example: emostream jobs files summer")
def files(job_id: JobIdArgument, *, service: ServiceOption = LOCAL_SERVICE, token: TokenOption = None) -> None:
    """List the results of finished files as JSON Lines."""
    client, start = ApiClient(service, token=token), 0
    while True:
        page = client.call("GET", f"{_path(job_id)}/files?start={start}&limit=500")
        for file in page["files"]:
            print(json_format.dumps(file))
        if page["next_start"] is None:
            return
        start = page["next_start"]


@jobs_app.command(epilog="Example: emostream jobs remove summer")
def remove(job_id: JobIdArgument, *, service: ServiceOption = LOCAL_SERVICE, token: TokenOption = None) -> None:
    """Delete a job. Its published events are kept."""
    ApiClient(service, token=token).call("DELETE", _path(job_id))


def _waited(client: ApiClient, job_id: str) -> dict[str, Any]:
    """Wait for the job to finish, with a progress bar on standard error, and return it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True) as progress:
        task = progress.add_task(job_id, total=None)
        while True:
            job: dict[str, Any] = client.call("GET", _path(job_id))
            progress.update(
                task,
                total=job["num_files"],
                completed=job["num_ended"] + job["num_failed"],
                description=f"{job_id}: {job['num_frames']} frames, {job['num_faces']} faces",
            )
            if job["done"]:
                break
            time.sleep(_POLL_SECONDS)
    if job["num_failed"]:
        raise EmostreamError(
            f"{job['num_failed']} of {job['num_files']} files could not be processed; see "
            f"`emostream jobs files {job_id}` for the reasons"
        )
    return job


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"
