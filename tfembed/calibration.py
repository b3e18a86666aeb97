"""Calibration: scores that mean what they say."""

import logging

import keras
import numpy as np

from tfembed.data import Split
from tfembed.features import FeatureCache
from tfembed.predict import ModelParts, parts_of, predict_quietly

logger = logging.getLogger(__name__)

_LOG_TEMPERATURES = (-3.0, 3.0)
_TOLERANCE = 1e-4


def calibrate(model: keras.Model, split: Split, *, cache: FeatureCache | None = None) -> float:
    """Fit the temperature of a classifier's scores (https://arxiv.org/abs/1706.04599).

    Logits are divided by it, so that of the examples with a score of 0.8 about 80 % are right. Labels do not change,
    nor does any other weight. The temperature is part of the model: it is saved and exported with it.

    It minimizes the log loss summed over the examples (and over their labels, where each may have several), plus half
    the square of its logarithm, which matters where there are few examples. It lies in [0.05, 20.1], that is e to the
    power of -3 and 3; a warning says where the optimum lies at a bound.

    Args:
        model: From one of the builders, trained.
        split: Examples that it was not trained on, such as `data.validation`.
        cache: Where embeddings are kept.

    Returns:
        The temperature; above 1 where the model was too sure of itself.

    Raises:
        ValueError: If the model is a regressor, or the split is empty.

    Example:
        >>> import tfembed as te
        >>> data = te.load_text(te.resource_path("reviews"), label="sentiment")
        >>> model = te.build_text_classifier(te.load_encoder("minilm"), data.class_names)
        >>> _ = te.train(model, data.few_shot(10), te.linear_probe())
        >>> te.calibrate(model, data.validation) > 0
        True
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    parts = parts_of(model)
    if parts.task == "regression":
        raise ValueError("A regressor gives values, not scores: there is nothing to calibrate. Pass a classifier.")
    if not len(split):
        raise ValueError(
            "The split is empty: pass examples that the model was not trained on, such as the validation part."
        )
    logits = predict_quietly(model, split.examples, cache).logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        # The second term keeps a few examples, all of them right, from making the model quite sure of everything.
        return _log_loss(logits / np.exp(log_temperature), split.labels, parts) + log_temperature**2 / 2

    optimum = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": _TOLERANCE})
    temperature = float(np.exp(optimum.x))
    if min(abs(optimum.x - bound) for bound in _LOG_TEMPERATURES) < 2 * _TOLERANCE:
        logger.warning(
            "The temperature is at the bound %.3g: scores stay less calibrated than the examples ask for. Check that "
            "their labels are right.",
            temperature,
        )
    parts.last.temperature.assign(temperature)
    return temperature


def _log_loss(logits: np.ndarray, labels: np.ndarray, parts: ModelParts) -> float:
    """Sum the log loss over all decisions: one for each example, or for each label of each example."""
    if parts.task == "multi_label":
        return float(np.sum(np.logaddexp(0, logits) - labels * logits))
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float(-log_probabilities[np.arange(len(labels)), labels].sum())


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> float:
    """How far scores are from the share that is right: the expected calibration error, in [0, 1].

    Args:
        probabilities: Of classes that exclude each other, `(n, num_classes)`.
        labels: Whole numbers `(n,)`.
        num_bins: Of the score of the best class, of equal width.

    Example:
        >>> calibration_error(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
        0.0
    """
    scores, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((scores * num_bins).astype(int), num_bins - 1)
    gaps = [abs((scores[bins == i] - right[bins == i]).mean()) * (bins == i).mean() for i in np.unique(bins)]
    return float(sum(gaps))
