"""What trials learn from and are measured on: the validation part, or folds. The test part is in none of it."""

from dataclasses import dataclass, replace

import numpy as np

from tfembed.data import Dataset, Split, fingerprint
from tfembed.data.draws import Fold, draw_folds, max_folds
from tfembed.data.groups import are_trivial, content_groups, merge_groups, number
from tfembed.data.split import concatenate_splits, derived_rows

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
    """Divide training and validation part into folds of whole groups.

    Augmented copies and descriptions are in training parts alone: copies wherever their original is not held out,
    descriptions in every one.

    Args:
        data: Its test part is left out.
        folds: How many; 1 for the validation part as it is; None for 1 if the caller passed a validation part or it
            has 30 examples or more, and else for 5, or fewer where a class has fewer groups.
        seed: Of the draw.

    Raises:
        ValueError: If there is nothing to validate on, or a class is too small for so many folds.

    Example:
        >>> data = Dataset.from_arrays(list("abcdefgh"), [0, 1] * 4, ["x", "y"], validation=0, test=0.25)
        >>> [len(each.validation) for each in make_folds(data, 3, seed=0).datasets]
        [2, 2, 2]
    """
    nothing, pool = data.test.subset([]), pooled(data)
    drawn = _draw(data, pool, folds, seed)
    if not drawn:
        if not len(data.validation):
            raise ValueError("The data have no validation part to choose by: pass folds=2 or more, or data with one.")
        rows = (np.arange(len(data.validation)),)
        return _keyed((replace(data, test=nothing),), rows)
    datasets = tuple(
        replace(data, train=pool.subset(train), validation=pool.subset(held), test=nothing) for train, held in drawn
    )
    return _keyed(datasets, tuple(held for _, held in drawn))


def fewest_alike(data: Dataset, folds: int | None, seed: int) -> int:
    """Count the training examples of the largest class in the fold that has the fewest of them.

    Args:
        data: Data for a classification.
        folds: Number of folds; see `make_folds`.
        seed: Seed of the draw.

    Example:
        >>> data = Dataset.from_arrays(list("abcdef"), [0, 1] * 3, ["x", "y"], validation=0, test=0)
        >>> fewest_alike(data, None, seed=0)
        2
    """
    pool = pooled(data)
    trained = [pool.labels[train] for train, _ in _draw(data, pool, folds, seed)] or [data.train.labels]
    return min(int(np.bincount(labels).max(initial=0)) for labels in trained)


def _draw(data: Dataset, pool: Split, folds: int | None, seed: int) -> list[Fold]:
    """Draw the folds of `make_folds`; none where the validation split is kept as it is."""
    is_kept = len(data.validation) >= _FEWEST_TO_CHOOSE_BY or (data.own_validation and len(data.validation))
    if folds is None:
        return [] if is_kept else draw_folds(pool, data.task, _DEFAULT, seed)
    return [] if folds == 1 else _exactly(pool, data.task, folds, seed)


def _exactly(pool: Split, task: str, folds: int, seed: int) -> list[Fold]:
    most = max_folds(pool, task)
    if not 2 <= folds <= most:
        groups = "" if pool.groups is None else " groups"
        raise ValueError(f"folds={folds}: expected 1, or 2 to {most}, for the smallest class has {most}{groups}.")
    drawn = draw_folds(pool, task, folds, seed)
    if len(drawn) != folds:
        raise ValueError(
            f"folds={folds}: no {folds} folds of whole groups were found that each train on every class. Pass another "
            "number of folds, or 1 for the validation part."
        )
    return drawn


def pooled(data: Dataset) -> Split:
    """Training and validation part as one, with equal examples in one group."""
    pool = concatenate_splits([data.train, data.validation]) if len(data.validation) else data.train
    own = np.arange(len(pool)) if pool.groups is None else pool.groups
    groups = merge_groups(own, content_groups(pool.examples))
    return replace(pool, groups=None if are_trivial(groups) else groups)


def content_key(split: Split) -> str:
    """A name for examples, labels, groups and marks of derived rows: the same for equal ones."""
    key = f"{fingerprint(split.examples)[:32]}{fingerprint(split.labels)[:8]}"
    if split.groups is not None and not are_trivial(split.groups):
        key += fingerprint(number(split.groups.tolist()))[:8]  # numbered anew: it matters only which rows share one
    derived = derived_rows(split)
    return key + fingerprint(derived)[:8] if derived.any() else key


def _keyed(datasets: tuple[Dataset, ...], rows: tuple[np.ndarray, ...]) -> Folds:
    keys = tuple(f"{content_key(data.train)}-{content_key(data.validation)}" for data in datasets)
    return Folds(datasets=datasets, rows=rows, keys=keys)
