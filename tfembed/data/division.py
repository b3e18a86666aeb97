"""From rows with raw labels to the three encoded parts of a data set."""

import numpy as np

from tfembed.data.draws import strata_of, stratified_split
from tfembed.data.examples import Rows, as_examples
from tfembed.data.labels import LabelEncoding
from tfembed.data.split import Split, class_counts


def divide(
    rows: Rows, encoding: LabelEncoding, *, validation: float | Rows | Split, test: float | Rows | Split, seed: int
) -> tuple[Split, Split, Split]:
    """Encode the labels, and draw the parts that were not brought along.

    Args:
        rows: What to train on, and to draw the other parts from.
        encoding: Learnt from the labels of `rows`.
        validation: Share of the rows, or the part itself.
        test: Likewise.
        seed: Of the draw.

    Returns:
        Train, validation and test.

    Raises:
        ValueError: If a class is too small to be in each part, or a part that was brought does not fit.
    """
    everything = Split(examples=rows.examples, labels=encoding.encode(rows))
    shares = {"validation": _share("validation", validation), "test": _share("test", test)}
    if sum(shares.values()) >= 1:
        raise ValueError(f"validation={validation}, test={test}: nothing is left to train on. Leave their sum below 1.")
    _check_sizes(everything, encoding, rows, num_parts=1 + sum(share > 0 for share in shares.values()))
    drawn = stratified_split(strata_of(everything.labels, encoding.task), seed=seed, **shares)
    parts = dict(zip(("train", "validation", "test"), map(everything.subset, drawn), strict=True))
    for name, share in shares.items():
        if share and not len(parts[name]):
            raise ValueError(f"{rows.source}: {len(everything)} examples are too few for {name}={share}. Add some.")
    return (
        parts["train"],
        _brought(validation, rows, encoding) or parts["validation"],
        _brought(test, rows, encoding) or parts["test"],
    )


def _share(name: str, value: float | Rows | Split) -> float:
    if not isinstance(value, int | float):
        return 0.0
    if 0 <= value < 1:
        return float(value)
    raise ValueError(
        f"{name}={value}: expected a share from 0 to below 1 (0.1 is a tenth), or the examples themselves."
    )


def _check_sizes(everything: Split, encoding: LabelEncoding, rows: Rows, num_parts: int) -> None:
    """Every class must be able to be in every part; of several labels an example, each in two parts."""
    if encoding.task == "regression":
        return
    counts = class_counts(everything, len(encoding.class_names))
    is_single = encoding.task == "classification"
    small = np.flatnonzero(counts < num_parts) if is_single else np.flatnonzero((counts == 1) & (num_parts > 1))
    if not len(small):
        return
    name = encoding.class_names[small[0]]
    holders = np.flatnonzero(everything.labels == small[0] if is_single else everything.labels[:, small[0]])
    if not len(holders):
        raise ValueError(f"{rows.source}: the class {name!r} has no example. Add some, or take it out of class_names.")
    times = "once" if len(holders) == 1 else f"{len(holders)} times"
    more = f", and {len(small) - 1} more are too rare" if len(small) > 1 else ""
    hint = "; for numbers to predict, pass task='regression'" if all(map(_is_number, encoding.class_names)) else ""
    raise ValueError(
        f"{rows.place(int(holders[0]))}: the label {name!r} is seen only {times}{more}: expected at least "
        f"{num_parts if is_single else 2}, to be in each part of the split. Correct it, add examples of it, or pass "
        f"validation=0 or test=0{hint}."
    )


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _brought(part: float | Rows | Split, rows: Rows, encoding: LabelEncoding) -> Split | None:
    """The part that the caller brought, or None if it was to be drawn."""
    if isinstance(part, int | float) or (isinstance(part, Split) and not len(part)):
        return None
    if isinstance(part, Rows):
        kind, split = part.kind, Split(examples=part.examples, labels=encoding.encode(part))
    else:
        kind, split = _checked(part, encoding)
    expected = (rows.kind, rows.examples.dtype, rows.examples.shape[1:])
    if (kind, split.examples.dtype, split.examples.shape[1:]) != expected:
        raise ValueError(
            f"A part that was passed holds {kind} examples of type {split.examples.dtype}, shape "
            f"{split.examples.shape}; the training part {rows.kind}, {rows.examples.dtype}, {rows.examples.shape}. "
            "Pass all parts in one form."
        )
    return split


def _checked(split: Split, encoding: LabelEncoding) -> tuple[str, Split]:
    kind, examples = as_examples(split.examples, lambda i: f"examples[{i}] of the Split")
    size = len(encoding.class_names)
    labels = split.labels.astype(np.int32 if encoding.task == "classification" else np.float32)
    is_right = labels.shape[1:] == ((size,) if encoding.task == "multi_label" else ())
    if encoding.task == "classification":
        is_right = is_right and bool(np.all((split.labels >= 0) & (split.labels < size)))
    if not is_right:
        raise ValueError(
            f"The labels of a given Split do not fit the task {encoding.task} with {size} classes: expected indices of "
            "classes, multi-hot rows or targets. Pass (examples, labels) to have raw labels encoded."
        )
    labels.flags.writeable = False
    return kind, Split(examples=examples, labels=labels)
