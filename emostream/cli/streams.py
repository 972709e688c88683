"""`emostream streams`: manages the streams of a running service, over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer

from emostream.cli.options import JsonOption, PixelAspectOption
from emostream.cli.tables import Column, print_record, print_records
from emostream.client.http.apply import apply_streams, read_streams, wait_until_ready
from emostream.client.http.json_client import ApiClient, ApiError
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError

streams_app = typer.Typer(help="Add, list, change and delete streams of a running service.", no_args_is_help=True)

ServiceOption = Annotated[
    str, typer.Option("--service", envvar="EMOSTREAM_SERVICE_URL", help="URL of the service.", metavar="URL")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="EMOSTREAM_SERVICE_TOKEN", help="Bearer token.", show_default=False, metavar="TOKEN"
    ),
]
StreamIdArgument = Annotated[str, typer.Argument(metavar="STREAM", help="Stream id.")]
LOCAL_SERVICE = "http://127.0.0.1:8000"
_DEFAULT = "default"

_COLUMNS = (
    *map(Column, ("id", "state")),
    Column("measured_fps", "fps"),
    *map(Column, ("num_frames", "num_faces", "num_dropped")),
    Column("latency_ms", "ms"),
    Column("detail", is_detail=True),
)


@streams_app.command(
    epilog="Example: emostream streams add rtsp://user:password@192.168.1.20/stream1 --id door --fps 10"
)
def add(
    url: Annotated[str, typer.Argument(help="URL of the source: RTSP, HTTP, file://, …", metavar="URL")],
    *,
    stream_id: Annotated[
        str | None, typer.Option("--id", help="Stream id; by default derived from the URL.", metavar="STREAM")
    ] = None,
    kind: Annotated[
        StreamKind | None,
        typer.Option(
            help="Kind of source; by default derived from the URL. Webcams and live HLS over HTTP need `live`."
        ),
    ] = None,
    track: Annotated[
        int | None,
        typer.Option(min=0, help="Video track to read, of several; by default the one that players show.", metavar="N"),
    ] = None,
    pixel_aspect: PixelAspectOption = None,
    fps: Annotated[
        float | None, typer.Option(help="Process at most this many frames per second.", metavar="FPS")
    ] = None,
    every: Annotated[int, typer.Option(help="Process every Nth frame.", metavar="N")] = 1,
    paused: Annotated[
        bool, typer.Option("--paused", help="Add the stream paused: open the source, process no frames.")
    ] = False,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Add a stream. Idempotent: an identical request changes nothing."""
    body: dict[str, Any] = {"url": url, "every": every, "paused": paused}
    options = {"id": stream_id, "kind": kind, "track": track, "pixel_aspect": pixel_aspect, "target_fps": fps}
    body |= {name: value for name, value in options.items() if value is not None}
    print_record(ApiClient(service, token=token).add(body), json=json)


@streams_app.command(epilog="Example: emostream streams change door --fps 5 --smoothing default")
def change(
    stream_id: StreamIdArgument,
    *,
    fps: Annotated[
        str | None,
        typer.Option(
            help=f"Process at most this many frames per second; {_DEFAULT} for no limit.", metavar=f"FPS|{_DEFAULT}"
        ),
    ] = None,
    every: Annotated[int | None, typer.Option(min=1, help="Process every Nth frame.", metavar="N")] = None,
    max_frames: Annotated[
        str | None,
        typer.Option(help=f"Stop after this many processed frames; {_DEFAULT} for no limit.", metavar=f"N|{_DEFAULT}"),
    ] = None,
    smoothing: Annotated[
        str | None,
        typer.Option(
            help=f"Time constant of the smoothing of probabilities; {_DEFAULT} for the setting of the service.",
            metavar=f"SECONDS|{_DEFAULT}",
        ),
    ] = None,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Change a stream in place; its source stays open. What is not named stays as it is.

    For zones and further tuning, list the stream in a file for `emostream streams apply`.
    """
    body: dict[str, Any] = {} if every is None else {"every": every}
    for name, option, text in (
        ("target_fps", "--fps", fps),
        ("max_frames", "--max-frames", max_frames),
        ("smoothing_seconds", "--smoothing", smoothing),
    ):
        if text is not None:
            body[name] = _number_or_default(text, option=option)
    if not body:
        raise ConfigError("nothing to change: give --fps, --every, --max-frames or --smoothing")
    print_record(ApiClient(service, token=token).change(stream_id, body), json=json)


@streams_app.command(epilog="Example: emostream streams apply streams.yaml --wait 60")
def apply(
    file: Annotated[
        Path, typer.Argument(help="YAML or JSON file with a list of streams, each with an id.", metavar="FILE")
    ],
    *,
    wait: Annotated[
        float, typer.Option(help="Wait up to this long for the service to become ready.", metavar="SECONDS")
    ] = 0.0,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
) -> None:
    """Add or change the streams listed in a file. Other streams are left alone."""
    streams = read_streams(file)
    client = ApiClient(service, token=token)
    if wait > 0:
        wait_until_ready(client, timeout_seconds=wait)
    for stream_id, what in apply_streams(client, streams):
        typer.echo(f"{stream_id}: {what}")


@streams_app.command("list", epilog="Example: emostream streams list --state failed")
def list_streams(
    *,
    state: Annotated[str | None, typer.Option(help="List only streams in this state.", metavar="STATE")] = None,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """List all streams."""
    streams = list(ApiClient(service, token=token).streams(state=state))
    empty = "no streams" if state is None else f"no streams in state {state}"
    print_records(streams, columns=_COLUMNS, json=json, empty=f"{empty}; add one with `emostream streams add URL`")


@streams_app.command(epilog="Example: emostream streams show door")
def show(
    stream_id: StreamIdArgument,
    *,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Show one stream."""
    print_record(ApiClient(service, token=token).show(stream_id), json=json)


@streams_app.command(epilog="Example: emostream streams remove door")
def remove(stream_id: StreamIdArgument, *, service: ServiceOption = LOCAL_SERVICE, token: TokenOption = None) -> None:
    """Delete a stream. Its published events are kept."""
    ApiClient(service, token=token).remove(stream_id)


@streams_app.command(epilog="Example: emostream streams pause door")
def pause(
    stream_id: StreamIdArgument,
    *,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Pause a stream: its source stays open, no frames are processed."""
    print_record(ApiClient(service, token=token).change(stream_id, {"paused": True}), json=json)


@streams_app.command(epilog="Example: emostream streams resume door")
def resume(
    stream_id: StreamIdArgument,
    *,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Resume a paused stream."""
    print_record(ApiClient(service, token=token).change(stream_id, {"paused": False}), json=json)


@streams_app.command(epilog="Example: emostream streams retry --failed")
def retry(
    stream_id: Annotated[str | None, typer.Argument(metavar="[STREAM]", help="Stream id.", show_default=False)] = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Restart all failed streams.")] = False,
    service: ServiceOption = LOCAL_SERVICE,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """Restart a failed stream, or all of them; a file continues after the last published frame."""
    if (stream_id is None) is not failed:
        raise ConfigError("expected a stream or --failed; give one of the two")
    client = ApiClient(service, token=token)
    if stream_id is not None:
        print_record(client.retry(stream_id), json=json)
        return
    retried = []
    for stream in list(client.streams(state="failed")):
        try:
            retried.append(client.retry(str(stream["id"])))
        except ApiError as exc:
            if exc.status not in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):  # someone else was faster
                raise
    print_records(retried, columns=_COLUMNS, json=json, empty="no streams have failed")


def _number_or_default(text: str, *, option: str) -> float | int | None:
    """A number of an option, or None where it says `default`."""
    if text == _DEFAULT:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError as exc:
        raise ConfigError(f"{option}: expected a number or `{_DEFAULT}`, got {text!r}") from exc
