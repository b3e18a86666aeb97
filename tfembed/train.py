"""Carry out a strategy: the only place where flags are set, models compiled and fitted."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.data import Dataset, Split, class_weights
from tfembed.encoders.encoder import INPUTS, Suffix
from tfembed.features import FeatureCache, Source
from tfembed.heads import is_linear, solve_linear
from tfembed.predict import ModelParts, evaluate, parts_of
from tfembed.progress import progress
from tfembed.saved_model.graph import CutError
from tfembed.strategies import Phase, Strategy

# Examples are shuffled, then sorted by length within so many batches: little padding (9 to 14 % on Banking77, where 8
# would leave 20 to 35 %), and batches that differ.
_BATCHES_PER_SORTING = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseResult:
    """What a phase did.

    Attributes:
        name: The phase's.
        num_frozen: Blocks whose results were computed once.
        trained_parameters: How many values could change.
        seconds: Features included.
        history: Loss and metrics of each epoch; empty where the head was solved.
    """

    name: str
    num_frozen: int
    trained_parameters: int
    seconds: float
    history: dict[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What training came to.

    Attributes:
        metrics: Of the parts of the data set that are not empty, by the part's name; see `evaluate`.
        seconds: In all.
        trained_parameters: The largest number of values that could change in a phase.
        seed: What the order of examples, dropout and the folds were drawn with.
        strategy: What was carried out.
        phases: What each phase did.
    """

    metrics: dict[str, dict[str, float]]
    seconds: float
    trained_parameters: int
    seed: int
    strategy: Strategy
    phases: tuple[PhaseResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return asdict(self)


def train(
    model: keras.Model,
    data: Dataset,
    strategy: Strategy,
    *,
    seed: int = 0,
    balanced: bool = False,
    cache: FeatureCache | None = None,
) -> Result:
    """Train a model phase by phase. What is frozen is computed once.

    Sets the seeds of Python, NumPy and TensorFlow. Afterwards what the last phase unfroze is still unfrozen.

    Args:
        model: From one of the builders; it is changed.
        data: Choices are made on its validation part, where it has one: the weights of the best epoch are kept.
        strategy: What to train, in which phases.
        seed: The same seed gives the same result on the same machine.
        balanced: Whether every class counts the same, however many examples it has.
        cache: Features that are known already, for several runs on the same data.

    Raises:
        ValueError: If data and model do not fit, or a phase unfreezes what the encoder does not have.

    Example:
        >>> import tfembed as te
        >>> data = te.load_text(te.resource_path("reviews"), label="sentiment")
        >>> model = te.build_text_classifier(te.load_encoder("minilm"), data.class_names)
        >>> te.train(model, data.few_shot(10), te.linear_probe()).metrics["test"]["accuracy"] > 0.6
        True
    """
    started, parts = time.perf_counter(), parts_of(model)
    _check(parts, data)
    _seed(parts, seed)
    cache = cache or FeatureCache()
    phases = tuple(
        run_phase(parts, data, phase, seed=seed + i, balanced=balanced, cache=cache)
        for i, phase in enumerate(strategy.phases)
    )
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return Result(
        metrics={name: evaluate(model, split, cache=cache) for name, split in splits.items() if len(split)},
        seconds=time.perf_counter() - started,
        trained_parameters=max(phase.trained_parameters for phase in phases),
        seed=seed,
        strategy=strategy,
        phases=phases,
    )


def run_phase(
    parts: ModelParts, data: Dataset, phase: Phase, *, seed: int, balanced: bool, cache: FeatureCache
) -> PhaseResult:
    """Set the flags, then solve the head, or compile and fit it with what is unfrozen of the encoder."""
    started, encoder, head = time.perf_counter(), parts.encoder, parts.head
    encoder.unfreeze(phase.unfreeze)
    head.trainable = True
    try:
        cut = encoder.num_frozen
        features = [cache.get(encoder, split.examples, cut) for split in (data.train, data.validation)]
    except CutError:
        cut = 0  # an encoder that cannot be cut is run whole: the same result, only slower
        features = [cache.get(encoder, split.examples, cut) for split in (data.train, data.validation)]
    history: dict[str, list[float]] = {}
    if phase.solve and cut == len(encoder.blocks) and is_linear(head):
        embeddings = features[0].batch(np.arange(len(data.train)))[INPUTS]
        solved = solve_linear(embeddings, data.train.labels, task=data.task, seed=seed, balanced=balanced)
        head.get_layer("logits").set_weights(solved)
    else:
        history = _fit(_join(parts, features[0], cut), data, phase, features, seed=seed, balanced=balanced)
    return PhaseResult(
        name=phase.name,
        num_frozen=cut,
        trained_parameters=sum(
            int(np.prod(v.shape)) for v in [*encoder.trainable_variables, *head.trainable_variables]
        ),
        seconds=time.perf_counter() - started,
        history={name: [float(value) for value in values] for name, values in history.items()},
    )


def _fit(
    model: keras.Model, data: Dataset, phase: Phase, features: list[Source], *, seed: int, balanced: bool
) -> dict[str, list[float]]:
    optimizer = keras.optimizers.AdamW(phase.learning_rate, weight_decay=phase.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, _loss(data.task, phase.label_smoothing), jit_compile=False)
    weights = class_weights(data.train, len(data.class_names)) if balanced else None
    validation = _batches(features[1], data, data.validation, phase=phase) if len(data.validation) else None
    with progress(f"Training, phase {phase.name}", phase.epochs) as advance:
        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: advance(1))]
        if validation is not None:  # without a validation part there is nothing to choose an epoch by: all are run
            stop = keras.callbacks.EarlyStopping("val_loss", patience=phase.patience, restore_best_weights=True)
            callbacks.append(stop)
        return model.fit(
            _batches(features[0], data, data.train, phase=phase, seed=seed, weights=weights),
            validation_data=validation,
            epochs=phase.epochs,
            callbacks=callbacks,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        ).history


def _join(parts: ModelParts, features: Source, cut: int) -> keras.Model:
    """The model from the cut to the logits; its weights are those of the whole."""
    inputs = {}
    for name, value in features.batch(np.arange(1)).items():
        lengths_vary = features.lengths.max() > 1 and value.ndim > 1 and value.shape[1] == features.lengths[0]
        shape = (None, *value.shape[2:]) if lengths_vary else value.shape[1:]
        inputs[name] = keras.Input(shape, dtype=_dtype(value), name=name.replace("/", "_"))
    return keras.Model(inputs, parts.head(Suffix(parts.encoder, cut)(inputs)))


def _batches(
    features: Source,
    data: Dataset,
    split: Split,
    *,
    phase: Phase,
    seed: int | None = None,
    weights: dict[int, float] | None = None,
) -> tf.data.Dataset:
    """Batches of features, labels and weights of the examples; shuffled anew for each epoch where a seed is given."""
    rng = None if seed is None else np.random.default_rng(seed)
    labels = _targets(split.labels, data)
    shares = np.ones(len(split), "float32")
    if weights is not None:
        shares = np.array([weights[int(label)] for label in split.labels], "float32")

    def epoch() -> Iterator[Any]:
        for rows in _order(features.lengths, phase.batch_size, rng):
            yield features.batch(rows), labels[rows], shares[rows]

    sample = features.batch(np.arange(1))
    signature = {
        name: tf.TensorSpec((None, *([None] * (value.ndim > 1)), *value.shape[2:]), _dtype(value))
        for name, value in sample.items()
    }
    specs = (signature, tf.TensorSpec((None, *labels.shape[1:]), "float32"), tf.TensorSpec((None,), "float32"))
    dataset = tf.data.Dataset.from_generator(epoch, output_signature=specs)
    count = -(-len(split) // phase.batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)


def _order(lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None) -> list[np.ndarray]:
    """Rows in batches: examples of like length together, in random order where there is a generator."""
    if rng is None:
        order = np.argsort(lengths, kind="stable")
    else:
        chunk = batch_size * _BATCHES_PER_SORTING
        drawn = rng.permutation(len(lengths))
        chunks = [drawn[start : start + chunk] for start in range(0, len(drawn), chunk)]
        order = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in chunks])
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]


def _targets(labels: np.ndarray, data: Dataset) -> np.ndarray:
    if data.task == "classification":
        return np.eye(len(data.class_names), dtype="float32")[labels]
    return labels.astype("float32").reshape(len(labels), -1)


def _loss(task: str, label_smoothing: float) -> keras.losses.Loss:
    if task == "regression":
        return keras.losses.MeanSquaredError()
    kinds = {"classification": keras.losses.CategoricalCrossentropy, "multi_label": keras.losses.BinaryCrossentropy}
    return kinds[task](from_logits=True, label_smoothing=label_smoothing)


def _dtype(value: np.ndarray) -> str:
    return "string" if value.dtype.kind in "OSU" else value.dtype.name


def _seed(parts: ModelParts, seed: int) -> None:
    """Set all seeds, those of dropout layers that exist already included."""
    keras.utils.set_random_seed(seed)
    for i, layer in enumerate([*parts.encoder._flatten_layers(), *parts.head._flatten_layers()]):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign([seed, i])


def _check(parts: ModelParts, data: Dataset) -> None:
    if data.kind != parts.encoder.spec.kind or data.task != parts.task:
        raise ValueError(
            f"The data are {data.kind}s for a {data.task}; the model is one of {parts.encoder.spec.kind}s for a "
            f"{parts.task}. Build one that fits."
        )
    if data.class_names != parts.class_names:
        raise ValueError(
            f"The data have classes {list(data.class_names)}, the model {list(parts.class_names)}: expected the same "
            "in the same order. Build the model with data.class_names."
        )
    if not len(data.train):
        raise ValueError("The training part is empty: give it examples.")
