"""The summary of a data set that people read before they train."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfembed.data.duplicates import contents_of, describe_shared
from tfembed.data.image_files import image_sizes

if TYPE_CHECKING:
    from tfembed.data.dataset import Dataset


def describe(dataset: "Dataset") -> str:
    """Say in a few lines how many examples there are, of what classes, and how long or large.

    Example:
        >>> from tfembed.data import Dataset
        >>> data = Dataset.from_arrays(["yes", "yeah", "no", "nope"], ["y", "y", "n", "n"], validation=0, test=0)
        >>> print(data.describe())
        text classification from arrays (seed 0)
        train 4, validation 0, test 0 examples
        2 classes, 2 training examples each
        texts of 2 to 4 characters, median 4
    """
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    sizes = f"train {len(dataset.train):,}, validation {len(dataset.validation):,}, test {len(dataset.test):,}"
    return "\n".join(
        [
            f"{dataset.kind} {dataset.task.replace('_', '-')} from {dataset.source} (seed {dataset.seed})",
            f"{sizes} examples{_describe_groups(dataset)}",
            _describe_labels(dataset),
            _describe_examples(dataset.train.examples, dataset.kind),
            *describe_shared(contents_of(splits)),
        ]
    )


def _describe_groups(dataset: "Dataset") -> str:
    groups = [split.groups for split in (dataset.train, dataset.validation, dataset.test) if split.groups is not None]
    return f" in {len(np.unique(np.concatenate(groups))):,} groups" if groups else ""


def _describe_labels(dataset: "Dataset") -> str:
    labels, names = dataset.train.labels, dataset.class_names
    if dataset.task == "regression":
        return f"targets from {labels.min():g} to {labels.max():g}, mean {labels.mean():g}"
    if dataset.task == "multi_label":
        counts = labels.sum(axis=0).astype(int)
        kinds = f"{len(names)} labels, {labels.sum() / len(labels):.1f} an example"
    else:
        counts = np.bincount(labels, minlength=len(names))
        kinds = f"{len(names)} classes"
    if counts.min() == counts.max():
        return f"{kinds}, {counts.min():,} training examples each"
    few, many = names[counts.argmin()], names[counts.argmax()]
    return f"{kinds}, from {counts.min():,} ({few}) to {counts.max():,} ({many}) training examples each"


def _describe_examples(examples: np.ndarray, kind: str) -> str:
    if kind == "text":
        lengths = np.array([len(text) for text in examples])
        return f"texts of {lengths.min()} to {lengths.max()} characters, median {np.median(lengths):.0f}"
    if examples.ndim > 1:
        return f"images of {examples.shape[2]} x {examples.shape[1]} pixels, {'RGB' if examples.ndim == 4 else 'grey'}"
    widths, heights = zip(*image_sizes(examples.tolist()), strict=True)
    held = "files" if isinstance(examples[0], Path) else "encoded bytes"
    if len(set(widths)) == len(set(heights)) == 1:
        return f"images of {widths[0]} x {heights[0]} pixels, {held}"
    return f"images {min(widths)} to {max(widths)} wide and {min(heights)} to {max(heights)} high, {held}"
