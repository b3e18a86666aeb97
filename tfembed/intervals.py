"""Confidence intervals of metrics: how much a value owes to the choice of the examples that it was measured on."""

from collections.abc import Callable, Mapping

import numpy as np

from tfembed.data.split import Split

LEVEL = 0.95
_DRAWS = 1000
_CELLS = 10_000_000  # weights that are held at a time


def confidence_intervals(task: str, split: Split, predicted: np.ndarray) -> dict[str, tuple[float, float]]:
    """Compute the 95 % confidence interval of each metric of a split.

    Accuracies have Wilson's interval, whose bounds hold for few examples too, and where all are right. The other
    metrics have percentiles of a bootstrap over examples, with 1,000 draws and a seed of its own, so that the same
    predictions have the same interval.

    Args:
        task: As in `Dataset.task`.
        split: n examples with labels.
        predicted: Probabilities `(n, num_classes)`, or values `(n, 1)`, as in `Predictions.probabilities`.

    Returns:
        Lower and upper bound of each metric that `evaluate` returns; none for r2 of a single example.

    Example:
        >>> split = Split(examples=np.array(list("abcd"), object), labels=np.array([0, 1, 1, 0]))
        >>> predicted = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
        >>> low, high = confidence_intervals("classification", split, predicted)["accuracy"]
        >>> f"three of four, {low:.2f} to {high:.2f}"
        'three of four, 0.30 to 0.95'
    """
    if task == "regression":
        return _of_values(split.labels.astype(np.float64), predicted[:, 0].astype(np.float64))
    if task == "multi_label":
        return _of_several_labels(split.labels > 0, predicted.astype(np.float64))
    return _of_classes(split.labels, predicted.astype(np.float64))


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Compute Wilson's 95 % confidence interval of a share (https://doi.org/10.1080/01621459.1927.10502953).

    Args:
        count: Number of examples that are right.
        total: Number of all examples, at least 1.

    Example:
        >>> low, high = wilson_interval(23, 24)
        >>> f"{low:.3f} to {high:.3f}"
        '0.798 to 0.993'
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def describe_metric(name: str, value: float, interval: tuple[float, float] | None, total: int) -> str:
    """Describe a metric with its number of examples and its interval.

    Args:
        name: Name of the metric, as in `evaluate`.
        value: Its value.
        interval: Lower and upper bound; None for none, as on training examples.
        total: Number of examples.

    Example:
        >>> describe_metric("accuracy", 23 / 24, (0.798, 0.993), 24)
        'accuracy 95.8 % (23 of 24; 80 to 99)'
        >>> describe_metric("loss", 0.1234, (0.05, 0.3), 24)
        'loss 0.1234 (0.0500 to 0.3000)'
    """
    if name == "accuracy":
        bounds = "" if interval is None else f"; {100 * interval[0]:.0f} to {100 * interval[1]:.0f}"
        return f"accuracy {100 * value:.1f} % ({round(value * total):,} of {total:,}{bounds})"
    shown = "" if interval is None else f" ({_number(interval[0])} to {_number(interval[1])})"
    return f"{name} {_number(value)}{shown}"


def describe_metrics(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], total: int) -> str:
    """Describe all metrics of a split in one line.

    Args:
        metrics: Values by name, as in `evaluate`.
        intervals: Bounds by name; see `confidence_intervals`.
        total: Number of examples.

    Example:
        >>> describe_metrics({"accuracy": 0.5, "loss": 0.7}, {"accuracy": (0.15, 0.85)}, 4)
        'accuracy 50.0 % (2 of 4; 15 to 85)  loss 0.7000'
    """
    return "  ".join(describe_metric(name, value, intervals.get(name), total) for name, value in metrics.items())


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.6g}"


def _of_classes(labels: np.ndarray, predicted: np.ndarray) -> dict[str, tuple[float, float]]:
    chosen, rows = predicted.argmax(axis=1), np.arange(len(labels))
    losses = -np.log(np.clip(predicted[rows, labels], 1e-7, 1.0))
    classes = np.unique(np.concatenate([labels, chosen]))
    is_class, is_chosen = labels[:, None] == classes, chosen[:, None] == classes
    cells = np.concatenate([is_class & is_chosen, is_class, is_chosen], axis=1).astype(np.float64)

    def draw(weights: np.ndarray) -> dict[str, np.ndarray]:
        right, expected, said = np.split(weights @ cells, 3, axis=1)
        present = expected + said
        f1 = 2 * right / np.where(present == 0, 1.0, present)
        macro = f1.sum(axis=1) / (present > 0).sum(axis=1)
        return {"macro_f1": macro, "loss": weights @ losses / len(labels)}

    return {"accuracy": wilson_interval(int((chosen == labels).sum()), len(labels))} | _bootstrap(draw, len(labels))


def _of_several_labels(labels: np.ndarray, predicted: np.ndarray) -> dict[str, tuple[float, float]]:
    chosen, clipped = predicted >= 0.5, np.clip(predicted, 1e-7, 1 - 1e-7)
    losses = -np.where(labels, np.log(clipped), np.log1p(-clipped)).mean(axis=1)
    cells = np.stack([(labels & chosen).sum(axis=1), labels.sum(axis=1) + chosen.sum(axis=1)], axis=1)

    def draw(weights: np.ndarray) -> dict[str, np.ndarray]:
        right, present = (weights @ cells).T
        return {"micro_f1": 2 * right / np.where(present == 0, 1.0, present), "loss": weights @ losses / len(labels)}

    is_right = (labels == chosen).all(axis=1)
    return {"accuracy": wilson_interval(int(is_right.sum()), len(labels))} | _bootstrap(draw, len(labels))


def _of_values(targets: np.ndarray, values: np.ndarray) -> dict[str, tuple[float, float]]:
    errors, centered, count = np.abs(targets - values), targets - targets.mean(), len(targets)

    def draw(weights: np.ndarray) -> dict[str, np.ndarray]:
        squares = weights @ errors**2
        total = weights @ centered**2 - (weights @ centered) ** 2 / count
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(total > 1e-12 * (centered**2).sum(), 1 - squares / total, np.nan)
        return {
            "mean_absolute_error": weights @ errors / count,
            "root_mean_squared_error": np.sqrt(squares / count),
            "r2": r2,
        }

    return _bootstrap(draw, count)


def _bootstrap(draw: Callable[[np.ndarray], dict[str, np.ndarray]], count: int) -> dict[str, tuple[float, float]]:
    """Return percentiles of statistics that `draw` computes from how often each example is drawn, `(draws, count)`."""
    rng, size = np.random.default_rng(0), max(1, _CELLS // count)
    pieces = []
    for start in range(0, _DRAWS, size):
        num_draws = min(size, _DRAWS - start)
        indices = rng.integers(0, count, (num_draws, count)) + count * np.arange(num_draws)[:, None]
        weights = np.bincount(indices.ravel(), minlength=num_draws * count).reshape(num_draws, count)
        pieces.append(draw(weights.astype(np.float64)))
    intervals = {}
    for name in pieces[0]:
        values = np.concatenate([piece[name] for piece in pieces])
        if not np.isnan(values).all():  # of equal targets there is no r2
            low, high = np.nanpercentile(values, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
            intervals[name] = float(low), float(high)
    return intervals
