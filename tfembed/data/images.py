"""Images from a folder per class, or from a table of paths."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

from tfembed.data.dataset import Dataset
from tfembed.data.examples import Rows, as_images
from tfembed.data.image_files import is_system_file
from tfembed.data.recipe import recipe_of
from tfembed.data.table_rows import Column, is_table
from tfembed.data.tables import Table, read_grouped_table

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def load_images(  # noqa: PLR0913 - what the columns are and how to split them, all with defaults
    source: str | PathLike[str],
    *,
    path: Column = "path",
    label: Column = "label",
    validation: float | str | PathLike[str] = 0.1,
    test: float | str | PathLike[str] = 0.2,
    seed: int = 0,
    task: str | None = None,
    class_names: Sequence[str] | None = None,
    label_separator: str | None = None,
    groups: Column | None = None,
    drop_duplicates: bool = False,
) -> Dataset:
    """Load labelled images, and split them. Images stay on disk: examples are paths.

    Equal files, and rows of one group, go to one split as a whole.

    The source is a folder that holds one folder of images for each class, named after it; or a table (as `load_text`
    reads them) with a column of paths, relative to the table, and one of labels or of targets. Every image is decoded
    once, to check it, and none is skipped. Images are JPEG, PNG, GIF or BMP by content, whatever their suffix: what
    TensorFlow decodes. Photos that say so in their EXIF data are turned upright when they are used. Hidden files
    (a name with a leading dot, `Thumbs.db`, `desktop.ini`, `__MACOSX`) are no images.

    Args:
        source: The folder or the table.
        path: In a table, the column of paths.
        label: In a table, the column of labels.
        validation: Share of the images, or a second folder or table; 0 for none.
        test: Likewise.
        seed: The same seed draws the same parts.
        task: In a table as in `load_text`; None or `"classification"` for a folder.
        class_names: In the order of their indices; by default the labels, sorted.
        label_separator: In a table, what stands between the labels of a cell that holds several.
        groups: In a table, the column of groups, such as patients. A second table need not have it.
        drop_duplicates: Whether one of equal images is kept, and none that is in a second source too.

    Raises:
        FileNotFoundError: If there is no such folder or table.
        ValueError: If an image or a row cannot be used, naming the file and the line.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for i, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]):
        ...     (folder / name).parent.mkdir(exist_ok=True)
        ...     Image.new("RGB", (8, 8 + i)).save(folder / name)
        >>> load_images(folder, validation=0, test=0.5).class_names
        ('cat', 'dog')
    """
    given = recipe_of(load_images, source, locals())
    columns = (path, label, groups)
    if label_separator is not None:
        task = task or "multi_label"
    second = partial(_rows, columns=columns, label_separator=label_separator, is_second=True)
    data = Dataset.from_rows(
        _rows(source, columns, label_separator),
        class_names=class_names,
        validation=validation if isinstance(validation, int | float) else second(validation),
        test=test if isinstance(test, int | float) else second(test),
        seed=seed,
        task=task,
        drop_duplicates=drop_duplicates,
    )
    return replace(data, recipe=given)


def _rows(
    source: str | PathLike[str],
    columns: tuple[Column, Column, Column | None],
    label_separator: str | None,
    *,
    is_second: bool = False,
) -> Rows:
    where, (path, label, groups) = Path(source), columns
    if not where.is_dir():
        table = read_grouped_table(where, (path, label), groups, is_second=is_second)
        return _table_rows(table, columns, label_separator)
    if groups is not None and not is_second:
        raise ValueError(f"{where} is a folder, which has no column {groups!r}: name groups in a table of paths.")
    return _folder_rows(where)


def _folder_rows(folder: Path) -> Rows:
    class_folders = _visible(folder)
    _check_no_splits(folder, class_folders)
    for entry in class_folders:
        if not entry.is_dir():
            raise ValueError(
                f"{entry} is a file: expected {folder} to hold one folder for each class, and nothing else. "
                "Move the file into the folder of its class, or elsewhere; or load a table of paths and labels."
            )
    if not class_folders:
        raise ValueError(f"The folder {folder} is empty: expected one folder of images for each class.")
    files, labels = [], []
    for class_folder in class_folders:
        images = _visible(class_folder)
        if not images:
            raise ValueError(f"The class folder {class_folder} is empty: expected images. Add some, or remove it.")
        for image in images:
            if image.is_dir():
                raise ValueError(
                    f"{image} is a folder: expected an image of the class {class_folder.name!r}. If {folder} holds "
                    f"a split in each folder, pass {str(class_folder)!r} with test=... and the folder of another."
                )
        files += images
        labels += [class_folder.name] * len(images)

    def place(position: int) -> str:
        return str(files[position])

    return Rows(kind="image", examples=as_images(files, place), labels=labels, place=place, source=str(folder))


def _check_no_splits(folder: Path, entries: list[Path]) -> None:
    """Refuse a folder of splits, folders or tables, whose names would be those of classes."""
    splits: dict[str, Path] = {}
    for entry in entries:
        stem = entry.name if entry.is_dir() else entry.stem
        if stem.lower() in _SPLITS and (entry.is_dir() or is_table(entry)):
            splits.setdefault(_SPLITS[stem.lower()], entry)
    others = [entry for entry in entries if entry.is_dir() and entry not in splits.values()]
    if "train" in splits and len(splits) > 1 and not others:
        passed = " and ".join(f"{name}={str(path)!r}" for name, path in splits.items() if name != "train")
        raise ValueError(
            f"{folder} holds splits, not a folder for each class: pass {str(splits['train'])!r} with {passed}."
        )


def _table_rows(table: Table, columns: tuple[Column, Column, Column | None], label_separator: str | None) -> Rows:
    path, label, groups = columns
    files = []
    for row, cell in enumerate(table.columns[path]):
        if not isinstance(cell, str) or not cell.strip():
            raise ValueError(f"{table.place(row)}: {cell!r} is no path to an image. Fill it in, or remove the row.")
        files.append(table.path.parent / cell.strip())
    return Rows(
        kind="image",
        examples=as_images(files, table.place),
        labels=table.labels(label, label_separator),
        place=table.place,
        source=str(table.path),
        groups=table.groups(groups),
    )


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, by name, without what operating systems leave there."""
    return sorted(entry for entry in folder.iterdir() if not is_system_file(entry.name))
