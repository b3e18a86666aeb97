"""Equal examples: in two splits, where they make measures look better than they are, and in one."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tfembed.data.examples import Rows
from tfembed.data.groups import content_groups
from tfembed.data.split import Split

logger = logging.getLogger(__name__)


def describe_shared(contents: Mapping[str, np.ndarray]) -> list[str]:
    """Say how many examples each split has in common with those before it.

    Args:
        contents: Numbers of the examples of train, validation and test, equal where examples are.

    Example:
        >>> describe_shared({"train": np.array([0, 1]), "validation": np.array([2]), "test": np.array([1, 1, 3])})
        ['2 of 3 test examples are training examples too']
    """
    sentences = []
    for name, others in (("validation", ("train",)), ("test", ("train", "validation"))):
        for other in others:
            if count := int(np.isin(contents[name], contents[other]).sum()):
                amount = f"{count} of {len(contents[name])} {name}"
                sentences.append(f"{amount} examples are {'training' if other == 'train' else other} examples too")
    return sentences


def contents_of(splits: Mapping[str, Split]) -> dict[str, np.ndarray]:
    """Number the examples of splits, equal ones alike."""
    numbers = content_groups(np.concatenate([split.examples for split in splits.values()]))
    ends = np.cumsum([len(split) for split in splits.values()])[:-1]
    return dict(zip(splits, np.split(numbers, ends), strict=True))


def without_duplicates(
    rows: Rows, validation: float | Rows | Split, test: float | Rows | Split
) -> tuple[Rows, float | Rows | Split]:
    """Keep the first of equal rows of training and validation, and none that is in a later split too.

    How many rows are dropped is logged, and how many of these have another label than the first of their equals.

    Args:
        rows: Training rows, also those that splits are drawn from.
        validation: Share of them, or the split itself.
        test: Likewise; it stays as it is.

    Returns:
        The training rows and the validation split that are left.

    Raises:
        ValueError: If no training row is left.
    """
    parts = [part for part in (test, validation, rows) if not isinstance(part, int | float) and _are_alike(part, rows)]
    numbers = content_groups(np.concatenate([part.examples for part in parts]))
    pieces = np.split(numbers, np.cumsum([len(part.examples) for part in parts])[:-1])
    taken: set[int] = set()
    for part, piece in zip(parts, pieces, strict=True):
        if part is validation:
            keep = _firsts(part, piece.tolist(), taken, "validation")
            validation = part.subset(keep) if isinstance(part, Split) else _rows_at(part, keep)
        elif part is rows:
            rows = _rows_at(rows, _firsts(rows, piece.tolist(), taken, "training"))
        taken.update(piece.tolist())
    if not len(rows.examples):
        raise ValueError(f"{rows.source}: all examples are in the validation or test split too. Pass other splits.")
    return rows, validation


def _are_alike(part: Rows | Split, rows: Rows) -> bool:
    """Return whether a split holds examples in the form of the rows; what differs is refused later, by name."""
    examples = np.asarray(part.examples)
    return len(examples) > 0 and (examples.dtype, examples.shape[1:]) == (rows.examples.dtype, rows.examples.shape[1:])


def _firsts(part: Rows | Split, numbers: list[int], taken: set[int], name: str) -> list[int]:
    """Return the indices of rows that are the first of their equals, and in no later split."""
    labels = [repr(label) for label in part.labels]
    firsts = {number: row for row, number in reversed(list(enumerate(numbers)))}
    keep = [row for row, number in enumerate(numbers) if number not in taken and firsts[number] == row]
    if len(keep) == len(numbers):
        return keep
    num_others = sum(labels[firsts[number]] != label for number, label in zip(numbers, labels, strict=True))
    logger.warning(
        "Dropped %d of %d %s examples as duplicates; %d of them had another label than the first of their equals.",
        len(numbers) - len(keep),
        len(numbers),
        name,
        num_others,
    )
    return keep


def _rows_at(rows: Rows, keep: list[int]) -> Rows:
    """Return rows at some indices; each still stands where it stood."""
    examples, place = rows.examples[keep], rows.place
    examples.flags.writeable = False
    return replace(
        rows,
        examples=examples,
        labels=[rows.labels[row] for row in keep],
        place=lambda row: place(keep[row]),
        groups=None if rows.groups is None else [rows.groups[row] for row in keep],
    )
