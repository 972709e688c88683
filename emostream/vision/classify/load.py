"""Opens the classifier that the settings name."""

from __future__ import annotations

import logging
from pathlib import Path

from emostream.config import ClassifySettings, ModelSettings
from emostream.errors import ConfigError, EngineUnavailableError, ModelError
from emostream.vision.classify.classifier import EmotionClassifier
from emostream.vision.classify.engines import DEFAULT_ENGINE, EngineContext, choose_engine, open_engine, open_fastest
from emostream.vision.engines.trt.cuda import is_gpu_given

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
        EngineUnavailableError: the engine's package or hardware is missing; with engine `auto` only where a GPU is
            required.
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
    if settings.engine == DEFAULT_ENGINE and settings.gpu_required:
        raise ConfigError(
            f"classify.gpu_required is set, but classify.engine {DEFAULT_ENGINE} runs on the CPU; set classify.engine "
            "to auto, or remove classify.gpu_required"
        )
    if settings.engine != "auto":
        return open_engine(settings.engine, settings, context)
    choice = choose_engine()
    on_gpu = choice.candidates[:-1]
    if not on_gpu:
        logger.info("using engine %s", DEFAULT_ENGINE)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in choice.passed_over.items())
        if settings.gpu_required:
            raise EngineUnavailableError(
                f"classify.gpu_required is set, but no engine for a GPU can be used here ({reasons})"
            )
        if is_gpu_given():
            logger.warning("a GPU was given to this process, but the emotion model runs on the CPU (%s)", reasons)
        return open_engine(DEFAULT_ENGINE, settings, context)
    try:
        return open_fastest(on_gpu, settings, context)
    except (ModelError, ConfigError) as exc:
        if settings.gpu_required:
            raise
        # A slower engine is better than a service that does not start; `emostream doctor -v` shows the reason as well.
        logger.warning("no GPU engine can be used, falling back to %s: %s", DEFAULT_ENGINE, exc)
        return open_engine(DEFAULT_ENGINE, settings, context)
