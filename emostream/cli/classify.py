"""`emostream classify`: finds the faces of pictures and classifies their expressions."""

from __future__ import annotations

import asyncio
import json as json_format
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

from emostream.analysis.faces import drawn_picture
from emostream.cli.options import (
    ConfigOption,
    JsonOption,
    OverlayOption,
    check_is_path,
    check_quotes,
    notes,
    screen,
    settings_for_command,
)
from emostream.cli.picture_list import list_pictures
from emostream.cli.tables import as_markup, coloured, new_table
from emostream.config import Settings
from emostream.domain.redact import printable, redact, shown_address, shown_source
from emostream.domain.stream import stream_id_from_url
from emostream.errors import ConfigError, SourceError
from emostream.pipeline.build import load_keen_picture_search, load_models
from emostream.pipeline.pictures import ClassifiedPicture, classify_picture
from emostream.render.overlay_style import OverlayStyle
from emostream.render.png import write_png
from emostream.vision.detect.picture_search import PictureSearch
from emostream.wire.events import json_from_event

_NUM_PROBABILITIES_SHOWN = 3
_LEAST_PROBABILITY_SHOWN = 0.01
_FIRST_OF_MANY = "first of several pictures"


def classify(
    pictures: Annotated[
        list[str],
        typer.Argument(help="Picture files, folders or URLs; of a video, its first frame.", metavar="PICTURE"),
    ],
    *,
    whole: Annotated[
        bool, typer.Option("--whole", help="Treat each picture as one cropped face; skip face detection.")
    ] = False,
    annotate: Annotated[
        Path | None, typer.Option(help="Write annotated copies of the pictures to this folder.", metavar="FOLDER")
    ] = None,
    blur: Annotated[bool, typer.Option("--blur", help="Blur faces in the annotated pictures.")] = False,
    overlay: OverlayOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Find the faces of pictures and classify their expressions.

    A picture that cannot be read is reported; the others are still processed.
    """
    check_quotes(pictures)
    settings = settings_for_command(config)
    check_is_path(annotate, option="--annotate")
    if blur and annotate is None:
        raise ConfigError("--blur needs --annotate FOLDER: it blurs faces in the annotated pictures")
    if overlay is not None and annotate is None:
        raise ConfigError("--overlay needs --annotate FOLDER: it says what is drawn on the annotated pictures")
    listed = list_pictures(pictures)
    if listed.num_others:
        notes.print(f"skipped {listed.num_others} files without a picture's file name extension")
    errors: list[SourceError] = list(listed.errors)
    for error in errors:
        _report(error, json=json)
    if listed.names:
        hidden_by = load_keen_picture_search(settings) if blur else None
        style = overlay or OverlayStyle.BARS
        writer = None if annotate is None else _AnnotatedFolder(annotate, style=style, hidden_by=hidden_by)
        asyncio.run(_classify_all(listed.names, settings, writer, errors=errors, is_whole_face=whole, json=json))
    if errors:
        num_named = len(listed.names) + len(listed.errors)
        if num_named > 1:
            notes.print(f"{len(errors)} of {num_named} could not be classified")
        raise typer.Exit(errors[0].exit_code)


async def _classify_all(
    names: Sequence[str],
    settings: Settings,
    writer: _AnnotatedFolder | None,
    *,
    errors: list[SourceError],
    is_whole_face: bool,
    json: bool,
) -> None:
    table = _table()
    models = load_models(settings)
    try:
        for name in track(names, description="classify", console=notes, disable=_is_quiet(names), transient=True):
            try:
                found = await classify_picture(name, settings=settings, models=models, is_whole_face=is_whole_face)
            except SourceError as exc:
                errors.append(exc)
                _report(exc, json=json, name=name)
                continue
            written = None if writer is None else writer.write(found, name=name)
            if json:
                typer.echo(json_format.dumps(_as_dict(found, name=name, written=written)))
            else:
                _add_rows(table, found, name=name)
    finally:
        models.close()
        if table.row_count:
            screen.print(table)
    if writer is not None and writer.num_written:
        notes.print(f"annotated pictures: {writer.num_written} in {writer.folder}", markup=False, soft_wrap=True)


def _is_quiet(names: Sequence[str]) -> bool:
    return len(names) == 1 or not notes.is_terminal


def _report(error: SourceError, *, json: bool, name: str | None = None) -> None:
    """Print an error on standard error, and with --json an error object in place of the picture's."""
    notes.print("[bold red]error:[/] ", end="")
    notes.print(printable(redact(str(error))), markup=False, soft_wrap=True)
    if json and name is not None:
        typer.echo(json_format.dumps({"picture": shown_address(name), "error": redact(str(error))}))


def _as_dict(found: ClassifiedPicture, *, name: str, written: Path | None) -> dict[str, Any]:
    event = json_format.loads(json_from_event(found.event))
    faces = [{"number": face.pop("track_id"), **face} for face in event["faces"]]
    for face in faces:  # fields of streams have no meaning for a single picture
        del face["smoothed_probabilities"], face["found_by"], face["zones"]
    return {
        "picture": shown_source(name),
        "width": event["frame_width"],
        "height": event["frame_height"],
        **({"pixel_aspect": event["pixel_aspect"]} if "pixel_aspect" in event else {}),
        "model": f"{event['model_name']} {event['model_version']}",
        "faces": faces,
        "is_first_of_many": found.is_first_of_many,
        "num_faces_left_out": found.num_faces_left_out,
        **({} if written is None else {"annotated": str(written)}),
    }


def _table() -> Table:
    table = new_table()
    table.add_column("picture", overflow="fold")
    table.add_column("face", justify="right", no_wrap=True)
    # Custom models may have long labels, which must not be cut off.
    table.add_column("expression", overflow="fold")
    table.add_column("probabilities", overflow="fold")
    table.add_column("remarks", overflow="fold")
    return table


def _add_rows(table: Table, found: ClassifiedPicture, *, name: str) -> None:
    """Add a row per face, or one row that says that there is none."""
    shown, remarks = as_markup(shown_source(name)), [_FIRST_OF_MANY] if found.is_first_of_many else []
    if found.num_faces_left_out:
        remarks.append(f"{found.num_faces_left_out} more faces left out (detect.max_faces)")
    if not found.event.faces:
        size = f"{found.frame.width}×{found.frame.height}"
        table.add_row(shown, "–", "[dim]no face found[/]", "", ", ".join([f"{size} pixels", *remarks]))
    for item in found.event.faces:
        strongest = sorted(item.scores.as_dict().items(), key=lambda pair: -pair[1])[:_NUM_PROBABILITIES_SHOWN]
        table.add_row(
            shown,
            str(item.face.track_id),
            coloured(item.dominant),
            ", ".join(
                f"{coloured(emotion)} {probability:.0%}"
                for emotion, probability in strongest
                if probability >= _LEAST_PROBABILITY_SHOWN
            ),
            ", ".join([*item.quality, *remarks]),
        )
        shown, remarks = "", []


class _AnnotatedFolder:
    """Writes annotated pictures as PNG. Repeated names get a number.

    Args:
        folder: created if missing.
        style: what is drawn.
        hidden_by: makes a search for the faces to blur in a picture; None blurs none.

    Raises:
        ConfigError: the folder cannot be created.
    """

    def __init__(self, folder: Path, *, style: OverlayStyle, hidden_by: Callable[[], PictureSearch] | None) -> None:
        self.folder = folder
        self._style = style
        self._hidden_by = hidden_by
        self.num_written = 0
        self._taken: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"cannot create folder {folder}: {exc.strerror}; choose a writable one") from exc

    def write(self, found: ClassifiedPicture, *, name: str) -> Path:
        """Draw the faces and write the picture."""
        file_name = next(each for each in _names_for(name) if each not in self._taken)
        self._taken.add(file_name)
        path = self.folder / file_name
        write_png(drawn_picture(found, style=self._style, hidden_by=self._hidden_by), path)
        self.num_written += 1
        return path


def _names_for(name: str) -> Iterator[str]:
    """`photo-annotated.png`, `photo-2-annotated.png`, …; never the name of the picture itself."""
    stem = stream_id_from_url(name) if "://" in name else Path(name.partition("?")[0]).stem or "picture"
    yield f"{stem}-annotated.png"
    number = 2
    while True:
        yield f"{stem}-{number}-annotated.png"
        number += 1
