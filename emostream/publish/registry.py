"""Every kind of sink, by the scheme of its URL; and all sinks of a process, opened from its settings.

A new sink is declared here, in `KINDS`. Sinks of installed packages are found by their entry points `emostream.sinks`.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from emostream.config import PublishSettings
from emostream.domain.redact import shown_sink
from emostream.domain.stream import StreamKind
from emostream.errors import ConfigError
from emostream.files import make_private_folder
from emostream.publish.counted_sink import CountedSink
from emostream.publish.files.jsonl_sink import JsonlSink
from emostream.publish.files.table_sink import TableSink
from emostream.publish.kafka_sink import open_kafka_sink
from emostream.publish.mqtt_sink import open_mqtt_sink
from emostream.publish.redis.address import SCHEMES
from emostream.publish.redis.sink import RedisSink
from emostream.publish.sink import Delivery, EventSink
from emostream.publish.spool.sink import SINKS_FOLDER, SPOOL_NAMES, SpoolSink
from emostream.publish.webhook_sink import open_webhook_sink

logger = logging.getLogger(__name__)

ENTRY_POINTS = "emostream.sinks"
"""The group under which packages name their sinks: URL scheme = factory."""
WORKER = "{worker}"
"""Stands in a URL for the name of the worker that opens the sink."""

SinkFactory = Callable[[str, PublishSettings], EventSink]
"""Takes the whole URL and the settings; raises `ConfigError` when the URL cannot be used."""


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A kind of sink.

    Attributes:
        schemes: of its URLs.
        example: a URL, for messages and documents.
        open: makes the sink. It does not connect: that comes with the first event, or with `check`.
        delivery: what it promises.
        is_file: its events go to a file of this machine. Other sinks have a server, which can be away: a spool keeps
            events for them.
    """

    schemes: tuple[str, ...]
    example: str
    open: SinkFactory
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    is_file: bool = False


def path_of(url: str) -> Path:
    """The file that the URL of a file sink names.

    Raises:
        ConfigError: it names none.
    """
    scheme, _, path = url.partition(":")
    if not path:
        raise ConfigError(f"{scheme}: names no file; expected for example {scheme}:events.{scheme}")
    return Path(path)


KINDS = (
    SinkKind(
        SCHEMES,
        "redis://localhost:6379/0",
        lambda url, settings: RedisSink(settings, redis_url=url),
        Delivery.EXACTLY_ONCE,
    ),
    SinkKind(
        ("jsonl",),
        "jsonl:events.jsonl",
        lambda url, _: JsonlSink.to_file(path_of(url), with_status=True),
        is_file=True,
    ),
    SinkKind(
        ("parquet",),
        "parquet:events.parquet",
        lambda url, _: TableSink(path_of(url), suffix=".parquet"),
        Delivery.WHEN_CLOSED,
        is_file=True,
    ),
    SinkKind(("webhook+http", "webhook+https"), "webhook+https://example.org/events", open_webhook_sink),
    SinkKind(("kafka", "kafka+ssl"), "kafka://host:9092/emostream.events", open_kafka_sink),
    SinkKind(("mqtt", "mqtts"), "mqtt://host:1883/emostream", open_mqtt_sink),
)
"""All kinds that are built in. `docs/plugins.md` has the same in a table."""

_BY_SCHEME = {scheme: kind for kind in KINDS for scheme in kind.schemes}


def kind_of_sink(url: str) -> SinkKind:
    """The kind of sink that a URL names, built in or of an installed package.

    Raises:
        ConfigError: the scheme is unknown, or the package's sink cannot be loaded.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme in _BY_SCHEME:
        return _BY_SCHEME[scheme]
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if scheme not in found:
        known = ", ".join(sorted({*_BY_SCHEME, *found}))
        raise ConfigError(f"no sink for {shown_sink(url)}: its scheme is none of {known}; is the package installed?")
    return SinkKind((scheme,), f"{scheme}:…", _loaded(found[scheme]))


def _loaded(point: EntryPoint) -> SinkFactory:
    try:
        factory: SinkFactory = point.load()
    except Exception as exc:
        raise ConfigError(f"the sink {point.name!r} of {point.value} cannot be loaded: {exc}") from exc
    return factory


def open_sink(url: str, *, settings: PublishSettings) -> EventSink:
    """The sink that a URL names, without a spool.

    Args:
        url: `redis://…`, `jsonl:FILE`, `parquet:FILE`, `webhook+https://…?emostream_secret=…`, `kafka://…/TOPIC`,
            `mqtt://…/PREFIX`, or the scheme of an installed package's sink.
        settings: time-outs and bounds.

    Raises:
        ConfigError: the scheme is unknown, a package is missing, or the URL cannot be used.
    """
    return kind_of_sink(url).open(url, settings)


# With a spool behind it, waiting longer for an absent server only holds up the pipeline.
_MAX_RETRY_SECONDS_BEFORE_SPOOL = 1.0
_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9._+-]")


@dataclass(frozen=True, slots=True)
class OpenedFor:
    """For whom sinks are opened.

    Attributes:
        settings: time-outs, bounds, and the folder of spools.
        worker: takes the place of `{worker}` in URLs.
        kind_of: live or file, by stream id: which streams may lose events when too many wait; None means none.
    """

    settings: PublishSettings
    worker: str
    kind_of: Callable[[str], StreamKind] | None = None


def open_redis_sink(
    settings: PublishSettings, *, redis_url: str, kind_of: Callable[[str], StreamKind] | None = None
) -> CountedSink | SpoolSink:
    """The sink for the Redis of the settings, with a spool before it where they name a folder.

    Raises:
        ConfigError: the URL is not one of Redis, or the folder cannot be used.
    """
    return _opened(redis_url, OpenedFor(settings, "", kind_of), folder=settings.spool_dir, name=shown_sink(redis_url))


def open_sinks(urls: Sequence[str], opened_for: OpenedFor) -> list[EventSink]:
    """Sinks of a program that needs all of them: a failure of one is one of the program.

    Those that have a server keep events in a spool while it is away, where the settings name a folder.

    Raises:
        ConfigError: a URL cannot be used, a package is missing, or a file or folder cannot be made.
    """
    folders = _spool_folders(urls, opened_for.settings.spool_dir)
    return [
        _opened(url, opened_for, folder=folder, name=name)
        for (url, name), folder in zip(_named(urls), folders, strict=True)
    ]


def open_detached_sinks(urls: Sequence[str], opened_for: OpenedFor) -> list[EventSink]:
    """Sinks beside another one, which they never hold up: events for each wait in its spool, or in memory.

    Raises:
        ConfigError: as `open_sinks`; or several workers would write one file.
    """
    folders = _spool_folders(urls, opened_for.settings.spool_dir)
    sinks: list[EventSink] = []
    for (url, name), folder in zip(_named(urls), folders, strict=True):
        _check_own_file(url)
        sinks.append(_opened(url, opened_for, folder=folder, name=name, is_detached=True))
    return sinks


def check_detached_sinks(settings: PublishSettings) -> None:
    """Say now what workers would say of `publish.sinks`; no file is made and nothing is connected.

    Raises:
        ConfigError: as `open_detached_sinks`, as far as that is not for a worker's machine to say.
    """
    for url in urls_of(settings):
        kind = kind_of_sink(url)
        _check_own_file(url)
        if kind in KINDS and "jsonl" not in kind.schemes:  # its file is made at once; a plugin may do anything
            kind.open(_for_worker(url, "worker"), settings)


def urls_of(settings: PublishSettings) -> list[str]:
    """`publish.sinks`, in clear text."""
    return [url.get_secret_value() for url in settings.sinks]


def event_files(urls: Iterable[str]) -> list[Path]:
    """The files among the sinks that events are written to."""
    return [path_of(url) for url in urls if kind_of_sink(url).is_file]


def _opened(
    url: str, opened_for: OpenedFor, *, folder: Path | None, name: str, is_detached: bool = False
) -> CountedSink | SpoolSink:
    kind, settings = kind_of_sink(url), opened_for.settings
    has_spool = is_detached or folder is not None
    if has_spool:
        # A detached spool tries again by itself, and says once that the sink is away.
        longest = 0.0 if is_detached else _MAX_RETRY_SECONDS_BEFORE_SPOOL
        retry_seconds = min(settings.max_retry_seconds, longest)
        settings = settings.model_copy(update={"max_retry_seconds": retry_seconds})
    sink = CountedSink(kind.open(_for_worker(url, opened_for.worker), settings), name=name)
    if not has_spool:
        return sink
    return SpoolSink(
        sink,
        folder=folder,
        max_bytes_per_stream=settings.spool_max_bytes,
        kind_of=opened_for.kind_of,
        is_detached=is_detached,
        name=name,
    )


def _for_worker(url: str, worker: str) -> str:
    return url.replace(WORKER, _NO_FILE_NAME.sub("-", worker))


def _check_own_file(url: str) -> None:
    if kind_of_sink(url).is_file and WORKER not in url:
        path = path_of(url)
        better = path.with_name(f"{path.stem}-{WORKER}{path.suffix}")
        raise ConfigError(
            f"{shown_sink(url)}: the workers of a service would overwrite each other's files; put {WORKER} into the "
            f"name: {url.partition(':')[0]}:{better}"
        )


def _named(urls: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each URL with a name that no other has, and that holds no secret."""
    names: list[str] = []
    for url in urls:
        shown = shown_sink(url)
        names.append(shown)
        count = names.count(shown)
        yield url, shown if count == 1 else f"{shown} ({count})"


def _spool_folders(urls: Sequence[str], spool_dir: Path | None) -> list[Path | None]:
    """Where events wait for each sink; None for files, and where the settings name no folder.

    A folder is named after what is shown of the URL, so a new password changes nothing.
    """
    if spool_dir is None:
        return [None for _ in urls]
    folders = [
        None if kind_of_sink(url).is_file else spool_dir / SINKS_FOLDER / _folder_name(url, name)
        for url, name in _named(urls)
    ]
    if not urls and not (spool_dir / SINKS_FOLDER).is_dir():
        return []
    try:
        make_private_folder(spool_dir, is_ours=SPOOL_NAMES.__contains__)
        make_private_folder(spool_dir / SINKS_FOLDER)
    except OSError as exc:
        raise ConfigError(f"cannot spool to {spool_dir}: {exc.strerror}; name a folder you may write") from exc
    _warn_of_others(spool_dir / SINKS_FOLDER, {folder.name for folder in folders if folder is not None})
    return folders


def _folder_name(url: str, name: str) -> str:
    return f"{url.partition(':')[0].lower()}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _warn_of_others(folder: Path, known: set[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in known and next(path.glob("streams/*/*.spool"), None) is not None:
            logger.warning(
                "events wait in %s for a sink that is not in the settings any more; name it again to have them sent, "
                "or remove the folder",
                path,
            )
