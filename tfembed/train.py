"""Train: carry out a strategy, phase by phase."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.calibration import calibrate
from tfembed.data import Dataset, Split, check_dataset
from tfembed.description import describe
from tfembed.encoders.keras_settings import check_settings
from tfembed.features import FeatureCache, fit_sequence_length
from tfembed.features.unknown_words import warn_of_splits
from tfembed.head_layers import draw_untrained_head, is_untrained, rebuild_head, rescale_outputs
from tfembed.intervals import confidence_intervals
from tfembed.phases import describe_undone
from tfembed.predict import ModelParts, evaluate, parts_of, predict_quietly
from tfembed.running import PhaseResult, run_phase
from tfembed.saved_model.layer import HubLayer
from tfembed.strategies import Strategy, as_strategy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What training came to.

    Attributes:
        metrics: Metrics of each split that is not empty, by its name; see `evaluate`.
        intervals: 95 % confidence intervals of the metrics of validation and test split, by the split's name; see
            `confidence_intervals`.
        sizes: Number of examples of each of these splits.
        seconds: In all.
        trained_parameters: The largest number of values that could change in a phase.
        seed: What the order of examples, dropout and the folds were drawn with.
        strategy: What was carried out.
        phases: What each phase did.

    Example:
        >>> import tfembed as te
        >>> data = te.Dataset.from_arrays(np.zeros([4, 8, 8], "uint8"), ["a", "b"] * 2, validation=0, test=0)
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
        >>> result = te.train(model, data, te.linear_probe())
        >>> result.strategy.name, [phase.name for phase in result.phases], result.metrics["train"]["accuracy"]
        ('linear_probe', ['probe'], 0.5)
    """

    metrics: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: float
    trained_parameters: int
    seed: int
    strategy: Strategy
    phases: tuple[PhaseResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return asdict(self)


def train(  # noqa: PLR0913 - all but three have defaults
    model: keras.Model,
    data: Dataset,
    strategy: Strategy | str,
    *,
    seed: int = 0,
    balanced: bool = False,
    cache: FeatureCache | None = None,
    distribution: tf.distribute.Strategy | None = None,
) -> Result:
    """Train a model phase by phase. What is frozen is computed once.

    Sets the seeds of Python, NumPy and TensorFlow before each phase, so that a phase is settled by its seed and by the
    weights that it begins with. Afterwards what the last phase unfroze is still unfrozen.

    Args:
        model: From one of the builders; it is changed.
        data: Choices are made on its validation part, where it has one: the weights of the best epoch are kept, a
            phase that made it worse is undone, and the temperature of the scores is fitted; see `calibrate`. Targets
            of a regression are standardized by mean and standard deviation of the training split, which the model
            keeps; a phase that does worse than that mean is undone, on the training split if there is no other.
        strategy: What to train, in which phases; a text such as `"lp_ft:1"`, as `tfembed train --strategy` takes it.
        seed: Seed of the head's initial weights, the order of examples, dropout, and the folds. The same seed gives the
            same result on the same machine. A head that was trained before keeps its weights.
        balanced: Whether every class counts the same, however many examples it has; for classifications alone.
        cache: Features that are known already, for several runs on the same data.
        distribution: Shares each batch among devices: `tf.distribute.MirroredStrategy()` among the GPUs of a machine,
            `tf.distribute.MultiWorkerMirroredStrategy()` among machines that all run this. Make it before anything is
            loaded, and the model outside of its scope. Heads that are solved, and contrastive phases, which
            compare all of a batch, run on one device.

    Raises:
        ValueError: If data, model and strategy do not fit, or a phase unfreezes what the encoder does not have.

    Example:
        >>> import tfembed as te
        >>> data = te.load_text(te.resource_path("reviews"), label="sentiment")
        >>> model = te.build_text_classifier(te.load_encoder("minilm"), data.class_names)
        >>> te.train(model, data.few_shot(10), te.linear_probe()).metrics["test"]["accuracy"] > 0.6
        True
    """
    strategy = as_strategy(strategy)
    check_dataset(data, "train")
    if balanced and data.task != "classification":
        raise ValueError(
            f"balanced=True weighs classes that exclude each other, but the data are for {data.task}: leave it out."
        )
    warn_of_splits(parts_of(model).encoder, {name: split.examples for name, split in _splits(data).items()})
    cache = cache or FeatureCache()
    run = partial(run_phase, balanced=balanced, cache=cache, distribution=distribution)
    result = execute(model, data, strategy, seed=seed, run=run, cache=cache)
    for line in describe_undone([asdict(phase) for phase in result.phases]):
        logger.warning("%s", line)
    measured = {name: split for name, split in _splits(data).items() if name != "train"}
    return replace(result, intervals={name: _intervals(model, split, cache) for name, split in measured.items()})


def _splits(data: Dataset) -> dict[str, Split]:
    """Return the splits that are not empty, by name."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: split for name, split in splits.items() if len(split)}


def _intervals(model: keras.Model, split: Split, cache: FeatureCache) -> dict[str, tuple[float, float]]:
    predicted = predict_quietly(model, split.examples, cache).probabilities
    return confidence_intervals(parts_of(model).task, split, predicted)


def execute(
    model: keras.Model,
    data: Dataset,
    strategy: Strategy,
    *,
    seed: int,
    run: Callable[..., PhaseResult],
    cache: FeatureCache,
) -> Result:
    """Train a model as `train` does, and measure it, without intervals and warnings.

    Args:
        model: See `train`, as the others.
        data: Its splits.
        strategy: What to train.
        seed: Seed of the first phase; each later one has the next.
        run: Function that runs a phase, given components of the model, data, phase and seed.
        cache: Cache of features.
    """
    check_settings(parts_of(model).encoder.spec.kind)
    started = time.perf_counter()
    phases, splits = fit(model, data, strategy, seed=seed, run=run, cache=cache), _splits(data)
    return Result(
        metrics={name: evaluate(model, split, cache=cache) for name, split in splits.items()},
        sizes={name: len(split) for name, split in splits.items()},
        seconds=time.perf_counter() - started,
        trained_parameters=max(phase.trained_parameters for phase in phases),
        seed=seed,
        strategy=strategy,
        phases=tuple(phases),
    )


def fit(
    model: keras.Model,
    data: Dataset,
    strategy: Strategy,
    *,
    seed: int,
    run: Callable[..., PhaseResult],
    cache: FeatureCache,
) -> list[PhaseResult]:
    """Train a model as `execute` does, without measuring what came of it."""
    parts = parts_of(model)
    _check(parts, data, strategy)
    if parts.temperature is not None:
        parts.last.temperature.assign(1.0)
    rebuild_head(parts.head, parts.encoder.join(strategy.phases[0].depths))
    draw_untrained_head(parts.head, seed)
    if parts.target_scale is not None:
        _set_target_scale(parts, data.train.labels)
    if parts.encoder.spec.kind == "text":
        fit_sequence_length(parts.encoder, data.train.examples)
    parts.encoder.note_training(0)
    phases: list[PhaseResult] = []
    for i, phase in enumerate(strategy.phases):
        _seed(parts, seed + i)
        phases.append(run(parts, data, phase, seed=seed + i))
    parts.encoder.trained_with = strategy.to_json()
    if len(data.validation) and data.task != "regression":
        calibrate(model, data.validation, cache=cache)
    return phases


def _set_target_scale(parts: ModelParts, labels: np.ndarray) -> None:
    """Set mean and scale of the last layer to mean and standard deviation of targets; the scale of equal targets is 1.

    What the head has learnt in another scale keeps its meaning: predictions stay the same, except for a cosine head,
    whose outputs are bounded and only change their unit.
    """
    mean, scale = parts.target_scale or (0.0, 1.0)
    new_mean, spread = float(labels.mean(dtype="float64")), float(labels.std(dtype="float64"))
    new_scale = 1.0 if labels.min() == labels.max() else spread
    parts.last.mean.assign(new_mean)
    parts.last.scale.assign(new_scale)
    if not is_untrained(parts.head):
        rescale_outputs(parts.head, scale / new_scale, (mean - new_mean) / new_scale)


def _seed(parts: ModelParts, seed: int) -> None:
    """Set all seeds, those of dropout layers that exist already, and of the dropout inside of modules, included."""
    keras.utils.set_random_seed(seed)
    parts.encoder.renew_vocabularies()
    for i, layer in enumerate([*parts.encoder._flatten_layers(), *parts.head._flatten_layers()]):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign([seed, i])
        if isinstance(layer, HubLayer):
            layer.set_seed(seed, i)


def _check(parts: ModelParts, data: Dataset, strategy: Strategy) -> None:
    if data.kind != parts.encoder.spec.kind or data.task != parts.task:
        raise ValueError(
            f"The data are {data.kind}s for a {data.task}; the model is one of {parts.encoder.spec.kind}s for a "
            f"{parts.task}. Build one that fits."
        )
    is_contrastive = any(phase.objective == "contrastive" for phase in strategy.phases)
    if data.task != "classification" and is_contrastive:
        raise ValueError(
            f"Strategy {strategy.name!r} draws batches by class, and the data are for a {data.task}: expected one "
            "class an example. Take another strategy, such as lp_ft."
        )
    if data.class_names != parts.class_names:
        raise ValueError(
            f"The data have classes {list(data.class_names)}, the model {list(parts.class_names)}: expected the same "
            "in the same order. Build the model with data.class_names."
        )
    describe(strategy, parts.encoder)  # it raises for what the encoder does not have, before the first phase is run
    if not len(data.train):
        raise ValueError("The training part is empty: give it examples.")
    if data.task == "classification":
        counts = np.bincount(data.train.labels, minlength=len(data.class_names))
        if missing := [name for name, count in zip(data.class_names, counts, strict=True) if not count]:
            raise ValueError(f"Classes without a training example: {missing}. Give each at least one, or leave it out.")
        if is_contrastive and counts.max() == 1:
            raise ValueError(
                f"Strategy {strategy.name!r} brings examples of a class together, and each class has only one to train "
                "on: give a class two or more, or take another strategy, such as linear_probe."
            )
