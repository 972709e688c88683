"""The classifier the settings ask for."""

from __future__ import annotations

import logging
from pathlib import Path

from emostream.config import ClassifySettings, ModelSettings
from emostream.errors import ConfigError, ModelError
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.classify.engines import DEFAULT_ENGINE, EngineContext, choose_engine, open_engine

logger = logging.getLogger(__name__)


def load_classifier(
    settings: ClassifySettings, *, num_threads: int = 1, cache_dir: Path | None = None
) -> EmotionClassifier:
    """A classifier ready to use, on the engine of the settings.

    Args:
        settings: which model and engine, and how large batches may be.
        num_threads: threads per batch; more than one pays only where a single stream has idle cores.
        cache_dir: folder of compiled engines; None means that of the model store's defaults.

    Raises:
        EngineUnavailableError: the engine's package or hardware is not here; never with `auto`.
        ModelUnavailableError: the file or its manifest does not exist.
        ManifestError: they are damaged, foreign, or do not fit each other.
        ConfigError: there is no such engine, or the model does not allow what the settings ask for.
    """
    context = EngineContext(num_threads=num_threads, cache_dir=cache_dir or ModelSettings().cache_dir)
    classifier = _open(settings, context)
    allowed = classifier.manifest.max_batch_size
    if settings.max_batch_size > allowed:
        classifier.close()
        raise ConfigError(
            f"model {classifier.manifest.name} allows batches of {allowed}, settings ask for "
            f"{settings.max_batch_size}; set classify.max_batch_size to at most {allowed}, or export the model again "
            "with a larger one"
        )
    return classifier


def _open(settings: ClassifySettings, context: EngineContext) -> EmotionClassifier:
    if settings.engine != "auto":
        return open_engine(settings.engine, settings, context)
    chosen = choose_engine().name
    logger.info("engine %s", chosen)
    if chosen == DEFAULT_ENGINE:
        return open_engine(chosen, settings, context)
    try:
        return open_engine(chosen, settings, context)
    except (ModelError, ConfigError) as exc:
        # The GPU would be faster, but a service that works matters more; `doctor` and this line say what is wrong.
        logger.warning("engine %s cannot be used, %s takes its place: %s", chosen, DEFAULT_ENGINE, exc)
        return open_engine(DEFAULT_ENGINE, settings, context)
