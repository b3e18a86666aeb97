"""What the labels of a data set mean: its task, its classes, and the numbers that a model is trained on."""

import difflib
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tfembed.data.class_names import look_alikes, normalize_name
from tfembed.data.examples import Rows
from tfembed.data.raw_labels import LISTS, Key, as_keys, as_number, check_present, hot_columns

TASKS = ("classification", "multi_label", "regression")

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEncoding:
    """How raw labels become numbers; learnt from the training data, used for all.

    Attributes:
        task: One of `TASKS`.
        class_names: In the order of their indices; empty for regression.
        indices: The index of each raw label.
        multi_hot: Whether raw labels are rows of 0 and 1 rather than lists of labels.
    """

    task: str
    class_names: tuple[str, ...] = ()
    indices: Mapping[Key, int]
    multi_hot: bool = False

    def encode(self, rows: Rows) -> np.ndarray:
        """Turn raw labels into a read-only array.

        Returns:
            `int32 (n,)` for classification, multi-hot `float32 (n, num_classes)` for multi-label,
            `float32 (n,)` for regression.

        Raises:
            ValueError: If a label is missing, unknown, or not a finite number where one is expected.
        """
        if self.task == "regression":
            encoded = np.array(_each(rows, as_number), np.float32)
        elif self.task == "classification":
            encoded = np.array(_each(rows, self._only_index), np.int32)
        else:
            encoded = np.zeros((len(rows.labels), len(self.class_names)), np.float32)
            for row, indices in enumerate(_each(rows, self._all_indices)):
                encoded[row, indices] = 1
        encoded.flags.writeable = False
        return encoded

    def _all_indices(self, label: Any) -> list[int]:
        keys = hot_columns(label, len(self.class_names)) if self.multi_hot else as_keys(label)
        return [self._index(key) for key in keys]

    def _only_index(self, label: Any) -> int:
        indices = self._all_indices(label)
        if len(indices) == 1:
            return indices[0]
        raise ValueError(f"{len(indices)} labels where a classification has one. For several, pass task='multi_label'.")

    def _index(self, key: Key) -> int:
        if key in self.indices:
            return self.indices[key]
        similar = difflib.get_close_matches(str(key), self.class_names, n=1)
        hint = f" Did you mean {similar[0]!r}?" if similar else ""
        if isinstance(key, int) and str(key) in self.class_names:
            hint = " Whole numbers are positions in class_names, from 0: pass the labels as texts instead."
        raise ValueError(
            f"the label {key!r} is none of the {len(self.class_names)} classes ({_listing(self.class_names)}).{hint} "
            "Correct it, or add training examples of it."
        )


def learn_encoding(rows: Rows, task: str | None, class_names: Sequence[str] | None) -> LabelEncoding:
    """Find out the task and the classes from the labels of the training data.

    Without a task: texts and whole numbers are classes; numbers with a fraction are targets of a regression; lists of
    labels, and rows of 0 and 1, are multi-label. Whole numbers held as floats, and rows with a single 1 each, could be
    two things, and need the task said. Class names default to the labels in sorted order, numbers by value. With
    class names, whole numbers (in tables: texts of digits that are no class names themselves) are positions in them.

    Args:
        rows: The training data, and what is drawn from it.
        task: One of `TASKS`, or None to infer it.
        class_names: In the order of their indices, or None.

    Raises:
        ValueError: If the task is ambiguous, a label is missing, or there are fewer than two classes.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"The task {task!r} is unknown: expected one of {', '.join(TASKS)}, or None to infer it.")
    _each(rows, check_present)
    multi_hot = _are_multi_hot(rows.labels)
    task = task or _infer_task(rows, multi_hot)
    if task == "regression":
        if class_names is not None:
            raise ValueError("A regression has no classes: leave out class_names, or pass task='classification'.")
        return LabelEncoding(task=task, indices={})
    found: list[Key] = list(range(len(rows.labels[0]))) if multi_hot else _distinct(rows)
    names = _names_of(found) if class_names is None else _checked_names(class_names)
    if multi_hot and len(names) != len(found):
        raise ValueError(f"{len(names)} class names for rows of {len(found)} values: expected one for each column.")
    if len(names) < (2 if task == "classification" else 1):
        raise ValueError(
            f"{rows.source} has only one class ({_listing(names)}): expected at least two. Add examples of another."
        )
    indices = _positions(found, names, is_given=class_names is not None)
    encoding = LabelEncoding(task=task, class_names=names, indices=indices, multi_hot=multi_hot)
    _warn_of_look_alikes(rows, encoding)
    return encoding


def _each(rows: Rows, read: Callable[[Any], T]) -> list[T]:
    """Read every label; an error says where its label stands."""
    values = []
    for row, label in enumerate(rows.labels):
        try:
            values.append(read(label))
        except ValueError as error:
            raise ValueError(f"{rows.place(row)}: {error}") from None
    return values


def _are_multi_hot(labels: Sequence[Any]) -> bool:
    """Rows of 0 and 1 of one length. As lists of labels they would name a label twice, or all have the same two."""
    if not all(isinstance(row, list | tuple | np.ndarray) for row in labels):
        return False
    width = len(labels[0])
    return width > 1 and all(len(row) == width and all(value in (0, 1) for value in row) for row in labels)


def _infer_task(rows: Rows, multi_hot: bool) -> str:
    labels = rows.labels
    if multi_hot and all(sum(row) == 1 for row in labels):
        raise ValueError(
            f"{rows.source}: each row of labels has a single 1, which may be one class of several or one label of "
            "many. Pass task='classification' or task='multi_label'."
        )
    if any(isinstance(label, LISTS) for label in labels):
        return "multi_label"
    if not any(isinstance(label, float) for label in labels):
        return "classification"
    if all(isinstance(label, float | int) and float(label).is_integer() for label in labels):
        raise ValueError(
            f"{rows.source}: the labels are whole numbers held as floats, which may be classes or targets. "
            "Pass task='classification' or task='regression'."
        )
    return "regression"


def _distinct(rows: Rows) -> list[Key]:
    first_rows: dict[Key, int] = {}
    for row, keys in enumerate(_each(rows, as_keys)):
        for key in keys:
            first_rows.setdefault(key, row)
    texts = [key for key in first_rows if isinstance(key, str)]
    if 0 < len(texts) < len(first_rows):
        number = next(key for key in first_rows if not isinstance(key, str))
        raise ValueError(
            f"{rows.place(first_rows[number])}: the label {number!r} is a number, but that of "
            f"{rows.place(first_rows[texts[0]])} is the text {texts[0]!r}. Write all labels in one way."
        )
    return list(first_rows)


def _name_of(key: Key) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _names_of(found: list[Key]) -> tuple[str, ...]:
    names = [_name_of(key) for key in found]
    return tuple(sorted(names, key=lambda name: (int(name), name) if _is_integer(name) else (math.inf, name)))


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str | Set | Mapping) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"class_names is {names!r}: expected a sequence of non-empty strings, such as a list.")
    names = [_normalized(str(name)) for name in names]
    if len(set(names)) < len(names):
        repeated = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"class_names holds {repeated!r} twice. Name each class once.")
    return tuple(names)


def _normalized(name: str) -> str:
    try:
        return normalize_name(name)
    except ValueError as error:
        raise ValueError(f"class_names holds {name!r}: {error}") from None


def _warn_of_look_alikes(rows: Rows, encoding: LabelEncoding) -> None:
    """Name the classes that a reader would take for one, with their numbers of examples."""
    if groups := look_alikes(encoding.class_names):
        encoded = encoding.encode(rows)
        counts = encoded.sum(axis=0) if encoded.ndim == 2 else np.bincount(encoded, minlength=len(encoding.class_names))
        shown = [
            " and ".join(f"{name!r} ({counts[encoding.class_names.index(name)]:.0f})" for name in group)
            for group in groups[:4]
        ]
        logger.warning(
            "%s: these labels look alike but are classes of their own, here with numbers of examples: %s. Write those "
            "that mean the same in one way.",
            rows.source,
            "; ".join(shown) + f"; and {len(groups) - 4} more" * (len(groups) > 4),
        )


def _positions(found: list[Key], names: tuple[str, ...], *, is_given: bool) -> dict[Key, int]:
    """The index of each raw label that may occur, in the training data or later."""
    by_name: dict[Key, int] = {name: i for i, name in enumerate(names)}
    if not is_given:
        return {key: by_name[_name_of(key)] for key in found}
    if not all(isinstance(key, str) for key in found):
        return {i: i for i in range(len(names))}
    is_position = all(_is_integer(str(key)) and key not in by_name for key in found)
    return {str(i): i for i in range(len(names))} if is_position else by_name


def _is_integer(name: str) -> bool:
    return re.fullmatch(r"-?\d{1,18}", name) is not None


def _listing(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... {len(names) - limit} more"
