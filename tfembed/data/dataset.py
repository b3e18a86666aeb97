"""A data set is a value: three parts of labelled examples, and what their labels mean."""

import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfembed.data.describe import describe
from tfembed.data.division import divide
from tfembed.data.draws import draw_per_class
from tfembed.data.duplicates import without_duplicates
from tfembed.data.examples import Rows, as_examples
from tfembed.data.groups import group_names
from tfembed.data.labels import TASKS, learn_encoding
from tfembed.data.recipe import Recipe
from tfembed.data.split import Split, class_counts, concatenate_splits, number_groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Labelled texts or images in three parts.

    Attributes:
        kind: `"text"` or `"image"`.
        task: `"classification"`, `"multi_label"` or `"regression"`.
        class_names: In the order of the labels' indices; empty for regression.
        train: What models learn from.
        validation: What choices are made on; may be empty.
        test: What is reported; may be empty.
        source: The file or folder, or `"arrays"`.
        seed: The seed the parts were drawn with.
        recipe: How to make it again of its files; None where it was made of something in memory.
        own_validation: True if the caller passed the validation split, which a search then keeps, however small.

    Raises:
        ValueError: If the kind or the task is unknown. `from_arrays` says what it wants of examples and labels.

    Example:
        >>> data = Dataset.from_arrays(["yes", "yeah", "yep", "no", "nope", "nah"], ["y"] * 3 + ["n"] * 3)
        >>> data.kind, data.task, len(data.train), data.test.labels.shape
        ('text', 'classification', 2, (2,))
    """

    kind: str
    task: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: str
    seed: int
    recipe: Recipe | None = None
    own_validation: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("text", "image") or self.task not in TASKS:
            raise ValueError(f"Kind {self.kind!r}, task {self.task!r}: expected text or image, and one of {TASKS}.")

    @classmethod
    def from_arrays(  # noqa: PLR0913 - the options of a split, all with defaults
        cls,
        examples: Sequence[Any] | np.ndarray,
        labels: Sequence[Any] | np.ndarray,
        class_names: Sequence[str] | None = None,
        *,
        validation: "float | tuple[Any, Any] | Split" = 0.1,
        test: "float | tuple[Any, Any] | Split" = 0.2,
        seed: int = 0,
        task: str | None = None,
        groups: Sequence[Any] | np.ndarray | None = None,
        drop_duplicates: bool = False,
    ) -> "Dataset":
        """Make a data set of what is in memory.

        Examples of one group (a patient, an author, a session) go to one split as a whole, and so do equal examples.

        Args:
            examples: Texts (`str`, or UTF-8 bytes); images as `pathlib.Path`, encoded bytes, or `uint8` pixels of
                shape `(n, height, width)`, `(n, height, width, 1)` or `(n, height, width, 3)`.
            labels: One for each example: texts or whole numbers (classes), numbers (targets), lists of labels or a
                2-D array of 0 and 1 (several labels); an `(n, 1)` array counts as `(n,)`.
            class_names: In the order of their indices; whole numbers in `labels` are then positions in it. By
                default the labels themselves, sorted.
            validation: Share of all examples, or the examples themselves as `(examples, labels)`, as `(examples,
                labels, groups)` or as a `Split`; 0 for none. The labels of a `Split` are indices of classes.
            test: Likewise.
            seed: The same seed draws the same parts.
            task: One of `TASKS`. Inferred if None: see `tfembed.data.labels.learn_encoding`.
            groups: Group of each example, a text or a whole number, or None.
            drop_duplicates: Whether one of equal examples is kept, and none that is in a split that was passed too.

        Raises:
            ValueError: If examples, labels or groups are not as described, or a class is too small, or in too few
                groups, to be in every part.

        Example:
            >>> data = Dataset.from_arrays(["yes", "yeah", "yep", "no", "nope", "nah"], ["y"] * 3 + ["n"] * 3)
            >>> data.class_names, len(data.train), len(data.validation), len(data.test)
            (('n', 'y'), 2, 2, 2)
        """
        return cls.from_rows(
            _rows(examples, labels, groups),
            class_names=class_names,
            validation=_rows(*validation, prefix="validation ") if isinstance(validation, tuple) else validation,
            test=_rows(*test, prefix="test ") if isinstance(test, tuple) else test,
            seed=seed,
            task=task,
            drop_duplicates=drop_duplicates,
        )

    @classmethod
    def from_rows(  # noqa: PLR0913 - what all ways to make a data set have in common
        cls,
        rows: Rows,
        *,
        class_names: Sequence[str] | None,
        validation: float | Rows | Split,
        test: float | Rows | Split,
        seed: int,
        task: str | None,
        drop_duplicates: bool = False,
    ) -> "Dataset":
        """Learn what the labels mean, and split: what all ways to make a data set end in."""
        if drop_duplicates:
            rows, validation = without_duplicates(rows, validation, test)
        encoding = learn_encoding(rows, task, class_names)
        train, chosen_by, held_back = divide(rows, encoding, validation=validation, test=test, seed=seed)
        return cls(
            kind=rows.kind,
            task=encoding.task,
            class_names=encoding.class_names,
            train=train,
            validation=chosen_by,
            test=held_back,
            source=rows.source,
            seed=seed,
            own_validation=not isinstance(validation, int | float) and len(chosen_by) > 0,
        )

    def few_shot(self, n: int, seed: int | None = None) -> "Dataset":
        """Keep n training examples of each class, drawn at random; validation and test stay as they are.

        With several labels an example, examples are drawn until each label is there at least n times. A draw of
        fewer with the same seed is part of a draw of more. Two examples of a group, or equal ones, are drawn only
        where there are not enough others.

        Args:
            n: Examples of each class, at least 1.
            seed: Of the draw; that of the data set if None.

        Raises:
            ValueError: If a class has fewer than n training examples, or the task is a regression.

        Example:
            >>> data = Dataset.from_arrays(["yes", "yeah", "no", "nope"], ["y", "y", "n", "n"], validation=0, test=0)
            >>> len(data.few_shot(1).train)
            2
        """
        if self.task == "regression":
            raise ValueError("A regression has no classes to draw few shots of: use dataset.train.subset instead.")
        if n < 1:
            raise ValueError(f"Cannot draw {n} examples of each class: expected at least 1.")
        counts = class_counts(self.train, len(self.class_names))
        if counts.min() < n:
            name = self.class_names[int(counts.argmin())]
            raise ValueError(
                f"The class {name!r} has {counts.min()} training examples: expected at least {n}. "
                f"Ask for {counts.min()} at most, or give it more."
            )
        drawn = draw_per_class(self.train, n, self.seed if seed is None else seed)
        recipe = self.recipe and self.recipe.then("few_shot", {"n": n, "seed": seed})
        return replace(self, train=self.train.subset(drawn), recipe=recipe)

    def with_descriptions(self, labels: Mapping[str, str]) -> "Dataset":
        """Let descriptions of classes in words join the training examples, as further shots.

        They are learned from in every fold, and never measured on.

        Args:
            labels: What a class means, by its name; those without a description stay as they are.

        Raises:
            ValueError: If the examples are no texts, a class is unknown, or a description is empty.

        Example:
            >>> data = Dataset.from_arrays(["yes", "no"] * 2, ["y", "n"] * 2, validation=0, test=0)
            >>> data.with_descriptions({"y": "the customer agrees"}).train.examples.tolist()[-1]
            'the customer agrees'
        """
        labels = {unicodedata.normalize("NFC", name): text for name, text in labels.items()}
        if self.kind != "text" or self.task == "regression":
            raise ValueError(f"Descriptions join texts with classes: these are {self.kind}s for a {self.task}.")
        if unknown := sorted(set(labels) - set(self.class_names)):
            raise ValueError(f"There are no classes {unknown} to describe: the classes are {list(self.class_names)}.")
        if not labels:
            raise ValueError(f"There are no descriptions: describe some of the classes {list(self.class_names)}.")
        if empty := [name for name, text in labels.items() if not isinstance(text, str) or not text.strip()]:
            raise ValueError(f"The descriptions of {empty} are no texts: write what the class means, or leave it out.")
        places = [self.class_names.index(name) for name in labels]
        rows = np.eye(len(self.class_names)) if self.task == "multi_label" else np.arange(len(self.class_names))
        _, texts = as_examples(list(labels.values()), lambda i: f"descriptions[{i}]")
        described = Split(
            examples=texts, labels=rows[places].astype(self.train.labels.dtype), is_derived=np.ones(len(texts), bool)
        )
        train, described, *_ = number_groups([self.train, described, self.validation, self.test])
        train = concatenate_splits([train, described])
        recipe = self.recipe and self.recipe.then("with_descriptions", {"labels": dict(labels)})
        return replace(self, train=train, recipe=recipe)

    def describe(self) -> str:
        """A summary in a few lines: sizes, classes and their balance, lengths of texts or sizes of images."""
        return describe(self)


def check_dataset(data: Any, function: str) -> None:
    """Check that a function was passed a data set.

    Args:
        data: The argument.
        function: Name of the function, for the error.

    Raises:
        ValueError: If it is something else, such as one of its splits.

    Example:
        >>> check_dataset(None, "train")
        Traceback (most recent call last):
        ...
        ValueError: train takes a Dataset, but was passed a NoneType. te.load_text, ... make one.
    """
    if not isinstance(data, Dataset):
        split = " Pass the whole data set that the split is from." * isinstance(data, Split)
        raise ValueError(
            f"{function} takes a Dataset, but was passed a {type(data).__name__}.{split} te.load_text, te.load_images "
            "and te.Dataset.from_arrays make one."
        )


def _rows(examples: Any, labels: Any, groups: Any = None, *, prefix: str = "") -> Rows:
    kind, checked = as_examples(examples, lambda i: f"{prefix}examples[{i}]")
    if isinstance(labels, Mapping | Set):
        raise ValueError(f"The {prefix}labels are a {type(labels).__name__}: expected a list, one for each example.")
    if hasattr(labels, "__array__"):  # also the columns of pandas and Polars
        array = np.asarray(labels)
        labels = (array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array).tolist()
    labels = [label.item() if isinstance(label, np.generic) else label for label in labels]
    if len(labels) != len(checked):
        raise ValueError(f"{len(checked)} {prefix}examples have {len(labels)} labels: expected one for each.")
    if groups is not None:
        groups = group_names(groups, lambda i: f"{prefix}groups[{i}]")
        if len(groups) != len(checked):
            raise ValueError(f"{len(checked)} {prefix}examples have {len(groups)} groups: expected one for each.")
    return Rows(
        kind=kind,
        examples=checked,
        labels=labels,
        place=lambda i: f"{prefix}labels[{i}]",
        source="arrays",
        groups=groups,
    )
