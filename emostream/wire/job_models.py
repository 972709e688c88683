"""Requests and answers of the HTTP interface about jobs, with examples for its documentation."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from emostream.domain.file_names import VIDEO_SUFFIXES
from emostream.domain.stream import StreamState
from emostream.wire.http_models import SourceUrl, StreamOptions, Text

MAX_JOB_ID_LENGTH = 48
"""Leaves room for the number of a file in the id of its stream."""


VIDEO_PATTERNS = tuple(f"*{suffix}" for suffix in VIDEO_SUFFIXES)

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


class JobRequest(StreamOptions):
    """A batch of files to process. Every frame of every file is processed once, also after a worker failure."""

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
        description="Id of the job; the streams of its files are ID.1, ID.2, …",
    )
    url: SourceUrl = Field(
        min_length=1, max_length=2048, description="Folder under the media root, or prefix in an object store."
    )
    patterns: list[Annotated[Text, Field(max_length=255)]] = Field(
        list(VIDEO_PATTERNS), min_length=1, max_length=32, description="Patterns of file names, as in a shell."
    )
    parallel: int = Field(2, ge=1, le=1000, description="Files processed at once.")


class JobView(BaseModel):
    """A job and its progress."""

    model_config = ConfigDict(json_schema_extra={"examples": [_JOB_EXAMPLE]})

    id: str
    url: str = Field(description="URL, credentials masked.")
    parallel: int
    done: bool = Field(description="Whether all files have been processed.")
    num_files: int
    num_waiting: int
    num_active: int = Field(description="Files being processed.")
    num_ended: int = Field(description="Files processed to their end.")
    num_failed: int
    num_frames: int = Field(description="Frames published so far.")
    num_faces: int


class FileView(BaseModel):
    """Result of one file."""

    stream_id: str = Field(description="Id of the stream that holds its events.")
    url: str = Field(description="URL, credentials masked.")
    state: StreamState | None = Field(description="`ended` or `failed`; null when its stream was deleted.")
    detail: str
    num_frames: int
    num_faces: int


class JobFiles(BaseModel):
    """Finished files of a job, in order of completion."""

    job: JobView
    files: list[FileView]
    next_start: int | None = Field(description="Value of `start` for the next page; null on the last page.")
