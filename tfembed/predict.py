"""What a trained model says of examples, and how well it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfembed.builders import Probabilities, Values
from tfembed.data import Dataset, Split
from tfembed.data.examples import as_examples, as_paths
from tfembed.encoders.encoder import INPUTS, Encoder
from tfembed.features import FeatureCache, encode
from tfembed.features.unknown_words import unknown_rows, warn_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParts:
    """The three layers of a model that a builder made."""

    encoder: Encoder
    head: keras.Sequential
    last: keras.layers.Layer

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of their indices; none for regressions."""
        return self.last.class_names if isinstance(self.last, Probabilities) else ()

    @property
    def temperature(self) -> float | None:
        """What logits are divided by to make probabilities; None for regressions."""
        return float(self.last.temperature) if isinstance(self.last, Probabilities) else None

    @property
    def target_scale(self) -> tuple[float, float] | None:
        """Mean and scale that turn standardized values into those of the targets' unit; None for classes."""
        return (float(self.last.mean), float(self.last.scale)) if isinstance(self.last, Values) else None

    @property
    def task(self) -> str:
        """As in `Dataset.task`."""
        if not isinstance(self.last, Probabilities):
            return "regression"
        return "multi_label" if self.last.multi_label else "classification"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """What a model says of n examples.

    Attributes:
        labels: The likeliest class of each; for several labels all those of at least 0.5; none for regressions.
        probabilities: float32 `(n, num_classes)`; for regressions the values `(n, 1)`.
        logits: Outputs of the head, of the same shape: for classes before temperature and softmax or sigmoid; for
            regressions standardized, before they are scaled to the unit of the targets.

    Example:
        >>> import tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> found = te.predict(model, np.zeros([3, 8, 8], "uint8"))
        >>> len(found.labels), found.logits.shape
        (3, (3, 2))
    """

    labels: tuple[Any, ...]
    probabilities: np.ndarray
    logits: np.ndarray


def parts_of(model: keras.Model) -> ModelParts:
    """Take a model apart that a builder made.

    Raises:
        ValueError: If no builder made it.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"A {type(model).__name__} is no model: expected what build_text_classifier or one of its kin makes."
        )
    layers = model.layers
    kinds = (Encoder, keras.Sequential, (Probabilities, Values))
    if len(layers) < 4 or not all(map(isinstance, layers[-3:], kinds)):
        raise ValueError(
            f"Model {model.name!r} has layers {[layer.name for layer in layers]}: expected an encoder, a head, and "
            "probabilities or values. Make it with build_text_classifier or one of its kin."
        )
    return ModelParts(encoder=layers[-3], head=layers[-2], last=layers[-1])


def predict(
    model: keras.Model, examples: Sequence[Any] | np.ndarray, *, cache: FeatureCache | None = None
) -> Predictions:
    """Predict; texts are batched by length. Texts of which the encoder knows no word are counted in a warning.

    Args:
        model: From one of the builders.
        examples: Texts `(n,)`; or images as paths (strings too), encoded bytes, or pixels `uint8 (n, height, width)`,
            with a last axis of 1 or 3 if they have one.
        cache: Where embeddings are kept.

    Raises:
        ValueError: If the examples are not what the model takes.

    Example:
        >>> import tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> predict(model, np.zeros([1, 8, 8], "uint8")).probabilities.shape
        (1, 2)
    """
    predictions, num_unknown = _predict(model, examples, cache)
    warn_unknown(num_unknown, len(predictions.logits), parts_of(model).encoder.spec.name)
    return predictions


def predict_quietly(
    model: keras.Model, examples: Sequence[Any] | np.ndarray, cache: FeatureCache | None = None
) -> Predictions:
    """Predict as `predict` does, without its warning, for callers that warned before."""
    return _predict(model, examples, cache)[0]


def _predict(
    model: keras.Model, examples: Sequence[Any] | np.ndarray, cache: FeatureCache | None
) -> tuple[Predictions, int]:
    """Predict, and count the texts of which the encoder knows no word."""
    parts = parts_of(model)
    examples = as_paths(examples) if parts.encoder.spec.kind == "image" else examples
    kind, checked = as_examples(examples, lambda i: f"examples[{i}]")
    if kind != parts.encoder.spec.kind:
        raise ValueError(f"The examples are {kind}s: expected {parts.encoder.spec.kind}s, which the model takes.")
    last_cut = len(parts.encoder.blocks)
    get = encode if cache is None else cache.get
    embeddings = get(parts.encoder, checked, last_cut).batch(np.arange(len(checked)))[INPUTS]
    logits = parts.head(embeddings, training=False)
    probabilities = np.asarray(parts.last(logits))
    predictions = Predictions(
        labels=_labels(probabilities, parts), probabilities=probabilities, logits=np.asarray(logits)
    )
    return predictions, len(unknown_rows(embeddings, kind))


def _labels(probabilities: np.ndarray, parts: ModelParts) -> tuple[Any, ...]:
    names = parts.class_names
    if parts.task == "regression":
        return ()
    if parts.task == "multi_label":
        return tuple(tuple(names[i] for i in np.flatnonzero(row >= 0.5)) for row in probabilities)
    return tuple(names[i] for i in probabilities.argmax(axis=1))


def evaluate(model: keras.Model, split: Split, *, cache: FeatureCache | None = None) -> dict[str, float]:
    """Measure a model on one part of a data set.

    Args:
        model: From one of the builders.
        split: Examples with labels.
        cache: Where embeddings are kept.

    Returns:
        `accuracy`, `macro_f1` and `loss` (cross-entropy) for classes; `accuracy` (all labels of an example right),
        `micro_f1` and `loss` for several labels; `mean_absolute_error`, `root_mean_squared_error` and `r2` for targets.

    Raises:
        ValueError: If the split is empty.

    Example:
        >>> import tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> split = te.Split(examples=np.zeros([2, 8, 8], "uint8"), labels=np.array([0, 1]))
        >>> evaluate(model, split)["accuracy"]
        0.5
    """
    if not isinstance(split, Split):
        splits = " A Dataset has three: pass data.test, which the model has not learned from." * isinstance(
            split, Dataset
        )
        raise ValueError(f"evaluate measures a Split, but was passed a {type(split).__name__}.{splits}")
    if not len(split):
        raise ValueError("The split is empty: there is nothing to measure. Make the data set with a share for it.")
    return measure(parts_of(model).task, split, predict_quietly(model, split.examples, cache).probabilities)


def measure(task: str, split: Split, predicted: np.ndarray) -> dict[str, float]:
    """Measure what was predicted of one part of a data set.

    Args:
        task: As in `Dataset.task`.
        split: Examples with labels.
        predicted: As in `Predictions.probabilities`.

    Returns:
        See `evaluate`.

    Example:
        >>> split = Split(examples=np.array(["a", "b"], object), labels=np.array([0, 1]))
        >>> measure("classification", split, np.array([[0.9, 0.1], [0.6, 0.4]]))["accuracy"]
        0.5
    """
    from sklearn import metrics

    if task == "regression":
        # float32 would lose the squares of large targets, and the spread of those far from 0.
        targets, values = split.labels.astype(np.float64), predicted[:, 0].astype(np.float64)
        return {
            "mean_absolute_error": float(metrics.mean_absolute_error(targets, values)),
            "root_mean_squared_error": float(metrics.root_mean_squared_error(targets, values)),
            "r2": float(metrics.r2_score(targets, values)) if len(split) > 1 else float("nan"),
        }
    if task == "multi_label":
        chosen = (predicted >= 0.5).astype(int)
        clipped = np.clip(predicted, 1e-7, 1 - 1e-7)
        entropy = -np.where(split.labels > 0, np.log(clipped), np.log1p(-clipped))
        f1 = metrics.f1_score(split.labels, chosen, average="micro", zero_division=0)
        accuracy = (chosen == split.labels).all(axis=1).mean()
        return {"accuracy": float(accuracy), "micro_f1": float(f1), "loss": float(entropy.mean())}
    chosen = predicted.argmax(axis=1)
    likelihood = np.clip(predicted[np.arange(len(split)), split.labels], 1e-7, 1.0)
    f1 = metrics.f1_score(split.labels, chosen, average="macro", zero_division=0)
    accuracy = (chosen == split.labels).mean()
    return {"accuracy": float(accuracy), "macro_f1": float(f1), "loss": float(-np.log(likelihood).mean())}
