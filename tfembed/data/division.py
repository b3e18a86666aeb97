"""From rows with raw labels to the three encoded parts of a data set."""

import logging
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfembed.data.draws import strata_of, stratified_split
from tfembed.data.duplicates import describe_shared
from tfembed.data.examples import Rows, as_examples
from tfembed.data.groups import are_trivial, content_groups, merge_groups, number
from tfembed.data.labels import LabelEncoding
from tfembed.data.split import Split, class_counts

logger = logging.getLogger(__name__)


def divide(
    rows: Rows, encoding: LabelEncoding, *, validation: float | Rows | Split, test: float | Rows | Split, seed: int
) -> tuple[Split, Split, Split]:
    """Encode the labels, and draw the splits that the caller did not pass; groups stay together in them.

    Equal examples are one group, and so are those whose groups have one name. A split that was passed stays as it is;
    what it shares with the training rows is logged as a warning.

    Args:
        rows: What to train on, and to draw the other parts from.
        encoding: Learnt from the labels of `rows`.
        validation: Share of the rows, or the part itself.
        test: Likewise.
        seed: Of the draw.

    Returns:
        Train, validation and test.

    Raises:
        ValueError: If a class is too small, or in too few groups, to be in each split, or a part that was passed does
            not fit.
    """
    shares = {"validation": _share("validation", validation), "test": _share("test", test)}
    if sum(shares.values()) >= 1:
        raise ValueError(f"validation={validation}, test={test}: nothing is left to train on. Leave their sum below 1.")
    splits = {"train": Split(examples=rows.examples, labels=encoding.encode(rows))}
    num_parts = 1 + sum(share > 0 for share in shares.values())
    _check_sizes(splits["train"], encoding, rows, num_parts)
    passed = {"validation": validation, "test": test}
    splits |= {name: split for name in passed if (split := _brought(passed[name], rows, encoding)) is not None}
    origins = {"train": rows} | passed
    content, names = _numberings(splits, origins)
    splits = _grouped(splits, content, names)
    everything = splits["train"]
    _check_groups(everything, encoding, rows, num_parts)
    strata = strata_of(everything.labels, encoding.task)
    drawn = stratified_split(strata, seed=seed, groups=everything.groups, **shares)
    parts = dict(zip(("train", "validation", "test"), map(everything.subset, drawn), strict=True))
    for name, share in shares.items():
        if share and not len(parts[name]):
            raise ValueError(f"{rows.source}: {_amount(everything)} are too few for {name}={share}. Add some.")
    _check_drawn([parts["train"], *(parts[name] for name, share in shares.items() if share)], encoding, rows)
    _warn_of_leaks(content, names, dict(zip(parts, drawn, strict=True)))
    return parts["train"], splits.get("validation", parts["validation"]), splits.get("test", parts["test"])


_Numbering = dict[str, np.ndarray]


def _numberings(splits: Mapping[str, Split], origins: Mapping[str, Any]) -> tuple[_Numbering, _Numbering]:
    """Numbers of the rows of each split, equal where examples are, and where groups have one name."""
    keys: list[Hashable] = []
    for name, split in splits.items():
        origin = origins[name]
        named = origin.groups if isinstance(origin, Rows) else split.groups
        kind = "rows" if isinstance(origin, Rows) else name  # numbers of a Split that was passed name nothing elsewhere
        keys += [(name, i) for i in range(len(split))] if named is None else [("group", kind, each) for each in named]
    content = content_groups(np.concatenate([split.examples for split in splits.values()]))
    ends = np.cumsum([len(split) for split in splits.values()])[:-1]
    pieces = (np.split(numbering, ends) for numbering in (content, number(keys)))
    by_content, by_name = (dict(zip(splits, piece, strict=True)) for piece in pieces)
    return by_content, by_name


def _grouped(splits: Mapping[str, Split], content: _Numbering, names: _Numbering) -> dict[str, Split]:
    """The splits with their groups; without any where every row is a group of its own."""
    merged = merge_groups(*(np.concatenate(list(each.values())) for each in (content, names)))
    if are_trivial(merged):
        return {name: replace(split, groups=None) for name, split in splits.items()}
    merged.flags.writeable = False
    pieces = np.split(merged, np.cumsum([len(split) for split in splits.values()])[:-1])
    return {name: replace(split, groups=piece) for (name, split), piece in zip(splits.items(), pieces, strict=True)}


def _warn_of_leaks(content: _Numbering, names: _Numbering, drawn: Mapping[str, np.ndarray]) -> None:
    contents = {name: content.get(name, content["train"][rows]) for name, rows in drawn.items()}
    contents["train"] = content["train"][drawn["train"]]
    for sentence in describe_shared(contents):
        logger.warning("%s.", sentence)
    for name in ("validation", "test"):
        if name not in content:
            continue
        if shared := len(np.intersect1d(names[name], names["train"][drawn["train"]])):
            logger.warning("%d groups are in the training split and in the %s split that was passed.", shared, name)


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
    num_others = len(small) - 1
    more = f", and {num_others} more {'is' if num_others == 1 else 'are'} too rare" if num_others else ""
    hint = "; for numbers to predict, pass task='regression'" if all(map(_is_number, encoding.class_names)) else ""
    raise ValueError(
        f"{rows.place(int(holders[0]))}: the label {name!r} is seen only {times}{more}: expected at least "
        f"{num_parts if is_single else 2}, to be in each part of the split. Correct it, add examples of it, or pass "
        f"validation=0 or test=0{hint}."
    )


def _check_groups(everything: Split, encoding: LabelEncoding, rows: Rows, num_parts: int) -> None:
    """Check that every class has a group for each split; of several labels an example, for two splits."""
    if encoding.task == "regression" or everything.groups is None or num_parts == 1:
        return
    fewest = num_parts if encoding.task == "classification" else 2
    for name, holders in _holders(everything, encoding):
        groups, firsts = np.unique(everything.groups[holders], return_index=True)
        if len(groups) < fewest:
            amount = "1 group" if len(groups) == 1 else f"{len(groups)} groups"
            raise ValueError(
                f"{rows.place(int(holders[0]))}: all {len(holders)} examples of the label {name!r} are in {amount} "
                f"({_names_of_groups(holders[firsts], rows)}): expected at least {fewest}, to be in each split, as "
                "equal examples and those of a group stay together. Add others, or pass validation=0 or test=0."
            )


def _check_drawn(parts: list[Split], encoding: LabelEncoding, rows: Rows) -> None:
    """Check that groups of several classes have not left a class out: of any split, or of training with many labels."""
    if encoding.task == "regression" or parts[0].groups is None:
        return
    for part in parts if encoding.task == "classification" else parts[:1]:
        if missing := [name for name, holders in _holders(part, encoding) if not len(holders)]:
            raise ValueError(
                f"{rows.source}: no split into whole groups was found that has the label {missing[0]!r} in each split, "
                "as its groups hold other labels too. Use smaller groups, or pass validation=0 or test=0."
            )


def _holders(split: Split, encoding: LabelEncoding) -> Iterator[tuple[str, np.ndarray]]:
    """Each class, and the positions of its examples."""
    for i, name in enumerate(encoding.class_names):
        yield name, np.flatnonzero(split.labels == i if split.labels.ndim == 1 else split.labels[:, i])


def _names_of_groups(firsts: np.ndarray, rows: Rows) -> str:
    """Groups by the names that the caller gave, or else by the places of their first rows."""
    if rows.groups is None:
        return ", ".join(f"equal to {rows.place(int(row))}" for row in firsts)
    return ", ".join(repr(rows.groups[row]) for row in firsts)


def _amount(split: Split) -> str:
    groups = "" if split.groups is None else f" in {len(np.unique(split.groups))} groups"
    return f"{len(split)} examples{groups}"


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
    with np.errstate(over="ignore", invalid="ignore"):
        labels = split.labels.astype(np.int32 if encoding.task == "classification" else np.float32)
    is_right = labels.shape[1:] == ((size,) if encoding.task == "multi_label" else ())
    if encoding.task == "classification":
        is_right = is_right and bool(np.all((split.labels >= 0) & (split.labels < size)))
    if not is_right:
        raise ValueError(
            f"The labels of a given Split do not fit the task {encoding.task} with {size} classes: expected indices of "
            "classes, multi-hot rows or targets. Pass (examples, labels) to have raw labels encoded."
        )
    if not np.isfinite(labels).all():
        raise ValueError(
            "The labels of a given Split hold values beyond float32, or that are no numbers. Correct them."
        )
    labels.flags.writeable = False
    return kind, replace(split, examples=examples, labels=labels)
