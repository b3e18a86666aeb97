"""Texts from a table."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tfembed.data.dataset import Dataset
from tfembed.data.examples import Rows, as_texts
from tfembed.data.recipe import recipe_of
from tfembed.data.table_rows import Column
from tfembed.data.tables import is_frame, read_frame, read_grouped_table


def load_text(  # noqa: PLR0913 - what the columns are and how to split them, all with defaults
    path: str | PathLike[str] | Any,
    *,
    text: Column = "text",
    label: Column = "label",
    validation: float | str | PathLike[str] | Any = 0.1,
    test: float | str | PathLike[str] | Any = 0.2,
    seed: int = 0,
    task: str | None = None,
    class_names: Sequence[str] | None = None,
    label_separator: str | None = None,
    groups: Column | None = None,
    drop_duplicates: bool = False,
) -> Dataset:
    """Load labelled texts from CSV, TSV, JSONL, Parquet or a DataFrame, and split them.

    Equal texts, and rows of one group, go to one split as a whole.

    Every row is used or named in an error: none is skipped. Texts are kept as they are; labels lose the spaces around
    them. How tables are read stands at `tfembed.data.tables.read_table`.

    Args:
        path: Ends in `.csv`, `.tsv`, `.txt` (tab-separated), `.jsonl`, `.ndjson` or `.parquet`; or a DataFrame of
            pandas or Polars.
        text: The column of texts: its name; or its position from 0, which says that a CSV or TSV has no header.
        label: The column of labels, likewise.
        validation: Share of the rows, or a second file or DataFrame with the same columns; 0 for none.
        test: Likewise.
        seed: The same seed draws the same parts.
        task: `"classification"`, `"multi_label"` or `"regression"`. If None: lists of labels are multi-label, and
            so is a column with a `label_separator`; numbers with a fraction (JSONL, Parquet) are a regression; all
            else is a classification, and numbers in CSV or TSV always are.
        class_names: In the order of their indices; by default the labels, sorted. Labels that are whole numbers and no
            class names themselves are positions in it: `class_names=["negative", "positive"]` for 0 and 1.
        label_separator: What stands between the labels of a cell that holds several, such as `"|"`. A cell that holds
            only the separator has none.
        groups: The column of groups, such as authors or sessions. A second file need not have it.
        drop_duplicates: Whether one of equal texts is kept, and none that is in a second source too.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a row cannot be used, naming the file and the line.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp(), "intents.csv")
        >>> _ = file.write_text("text,label\\nhello,greeting\\nhi there,greeting\\nbye,farewell\\nsee you,farewell\\n")
        >>> load_text(file, validation=0, test=0).class_names
        ('farewell', 'greeting')
    """
    in_memory = any(map(is_frame, (path, validation, test)))  # which cannot be read again
    recipe = None if in_memory else recipe_of(load_text, path, locals())
    columns = (text, label, groups)
    if label_separator is not None:
        task = task or "multi_label"
    second = partial(_rows, columns=columns, label_separator=label_separator, is_second=True)
    data = Dataset.from_rows(
        _rows(path, columns, label_separator),
        class_names=class_names,
        validation=validation if isinstance(validation, int | float) else second(validation),
        test=test if isinstance(test, int | float) else second(test),
        seed=seed,
        task=task,
        drop_duplicates=drop_duplicates,
    )
    return replace(data, recipe=recipe)


def _rows(
    path: Any,
    columns: tuple[Column, Column, Column | None],
    label_separator: str | None,
    *,
    is_second: bool = False,
) -> Rows:
    text, label, groups = columns
    if is_frame(path):
        is_grouped = groups is not None and not (is_second and groups not in list(path.columns))
        table = read_frame(path, (text, label, groups) if is_grouped else (text, label))  # type: ignore[arg-type]
    else:
        table = read_grouped_table(Path(path), (text, label), groups, is_second=is_second)
    return Rows(
        kind="text",
        examples=as_texts(table.columns[text], table.place),
        labels=table.labels(label, label_separator),
        place=table.place,
        source=str(table.path),
        groups=table.groups(groups),
    )
