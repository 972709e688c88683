"""Opens the classifier that the settings name."""

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
    """Open a classifier on the engine that the settings name.

    Args:
        settings: model, engine and largest batch size.
        num_threads: threads per batch; more than one pays off only where a single stream has idle cores.
        cache_dir: folder of compiled engines; None means the default folder of the model store.

    Raises:
        EngineUnavailableError: the engine's package or hardware is missing; never raised with engine `auto`.
        ModelUnavailableError: the model file or its manifest does not exist.
        ManifestError: they are damaged, of another model, or do not match each other.
        ConfigError: the engine is unknown, or the settings ask for more than the model allows.
    """
    context = EngineContext(num_threads=num_threads, cache_dir=cache_dir or ModelSettings().cache_dir)
    classifier = _open(settings, context)
    allowed = classifier.manifest.max_batch_size
    if settings.max_batch_size > allowed:
        classifier.close()
        raise ConfigError(
            f"model {classifier.manifest.name} allows batches of {allowed}, settings ask for "
            f"{settings.max_batch_size}; set classify.max_batch_size to at most {allowed}, or export the model again "
            "with a larger max_batch_size"
        )
    return classifier


def _open(settings: ClassifySettings, context: EngineContext) -> EmotionClassifier:
    if settings.engine != "auto":
        return open_engine(settings.engine, settings, context)
    chosen = choose_engine().name
    logger.info("using engine %s", chosen)
    if chosen == DEFAULT_ENGINE:
        return open_engine(chosen, settings, context)
    try:
        return open_engine(chosen, settings, context)
    except (ModelError, ConfigError) as exc:
        # A slower engine is better than a service that does not start; `emostream doctor -v` shows the reason as well.
        logger.warning("engine %s cannot be used, falling back to %s: %s", chosen, DEFAULT_ENGINE, exc)
        return open_engine(DEFAULT_ENGINE, settings, context)
