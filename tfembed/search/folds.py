"""What trials learn from and are measured on: the validation part, or folds. The test part is in none of it."""

from dataclasses import dataclass, replace

import numpy as np

from tfembed.data import Dataset, Split, fingerprint
from tfembed.data.draws import strata_of

_FEWEST_TO_CHOOSE_BY = 30  # validation examples, where nothing is said of folds
_DEFAULT = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Folds:
    """The data sets of a trial's executions.

    Attributes:
        datasets: Each with a training and a validation part, and an empty test part.
        rows: Of each, where its validation examples stand in what they were drawn from.
        keys: Of each, a name for its content.
    """

    datasets: tuple[Dataset, ...]
    rows: tuple[np.ndarray, ...]
    keys: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """Validation examples of each."""
        return [len(data.validation) for data in self.datasets]


def make_folds(data: Dataset, folds: int | None, seed: int) -> Folds:
    """Divide training and validation part into folds.

    Args:
        data: Its test part is left out.
        folds: How many; 1 for the validation part as it is; None for 5, fewer where a class is small, if there are
            fewer than 30 validation examples, and else for 1.
        seed: Of the draw.

    Raises:
        ValueError: If there is nothing to validate on, or a class is too small for so many folds.

    Example:
        >>> data = Dataset.from_arrays(list("abcdefgh"), [0, 1] * 4, ["x", "y"], validation=0, test=0.25)
        >>> [len(each.validation) for each in make_folds(data, 3, seed=0).datasets]
        [2, 2, 2]
    """
    nothing, pool = data.test.subset([]), pooled(data)
    smallest, folds = _smallest(pool.labels, data.task), num_folds(data, folds)
    if folds == 1:
        if not len(data.validation):
            raise ValueError("The data have no validation part to choose by: pass folds=2 or more, or data with one.")
        rows = (np.arange(len(data.validation)),)
        return _keyed((replace(data, test=nothing),), rows)
    if not 2 <= folds <= smallest:
        raise ValueError(f"folds={folds}: expected 1, or 2 to {smallest}, for the smallest class has {smallest}.")
    places = _places(strata_of(pool.labels, data.task), folds, seed)
    held = tuple(np.flatnonzero(places == fold) for fold in range(folds))
    datasets = tuple(
        replace(data, train=pool.subset(places != fold), validation=pool.subset(rows), test=nothing)
        for fold, rows in enumerate(held)
    )
    return _keyed(datasets, held)


def num_folds(data: Dataset, folds: int | None) -> int:
    """Number of folds that `make_folds` makes; see there."""
    if folds is not None:
        return folds
    if len(data.validation) >= _FEWEST_TO_CHOOSE_BY:
        return 1
    return min(_DEFAULT, _smallest(_pooled_labels(data), data.task))


def fewest_alike(data: Dataset, folds: int | None) -> int:
    """Number of training examples of the largest class in the fold that has the fewest of them.

    Args:
        data: For a classification.
        folds: See `make_folds`.

    Example:
        >>> data = Dataset.from_arrays(list("abcdef"), [0, 1] * 3, ["x", "y"], validation=0, test=0)
        >>> fewest_alike(data, None), fewest_alike(data, 2)
        (2, 1)
    """
    count = num_folds(data, folds)
    if count == 1:
        return max(np.bincount(data.train.labels), default=0)
    largest = int(max(np.bincount(_pooled_labels(data)), default=0))
    return largest - -(-largest // count)


def pooled(data: Dataset) -> Split:
    """Training and validation part as one."""
    if not len(data.validation):
        return data.train
    parts = (data.train, data.validation)
    return Split(
        examples=np.concatenate([part.examples for part in parts]),
        labels=_pooled_labels(data),
    )


def _pooled_labels(data: Dataset) -> np.ndarray:
    return np.concatenate([part.labels for part in (data.train, data.validation) if len(part)] or [data.train.labels])


def content_key(split: Split) -> str:
    """A name for examples and labels: the same for equal ones."""
    return f"{fingerprint(split.examples)[:32]}{fingerprint(split.labels)[:8]}"


def _keyed(datasets: tuple[Dataset, ...], rows: tuple[np.ndarray, ...]) -> Folds:
    keys = tuple(f"{content_key(data.train)}-{content_key(data.validation)}" for data in datasets)
    return Folds(datasets=datasets, rows=rows, keys=keys)


def _smallest(labels: np.ndarray, task: str) -> int:
    return int(np.bincount(labels).min()) if task == "classification" else len(labels)


def _places(strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each example: every stratum is shared out evenly, and so are all examples."""
    order = np.random.default_rng(seed).permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    places = np.empty(len(strata), np.int64)
    places[order] = np.arange(len(strata)) % folds
    return places
