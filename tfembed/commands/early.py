"""Checks of what was typed that need no TensorFlow, whose import takes seconds: what is wrong is said at once."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfembed.commands.hints import command
from tfembed.runs import BEST, check_free, is_run, read_record
from tfembed.search.plan import STUDY, Plan, check_folder
from tfembed.strategies import parse_strategy

if TYPE_CHECKING:
    import tfembed as te

_MOST_SHOWN = 8  # class names


def read_training_data(data: str, out: Path | None, options: Mapping[str, Any]) -> "te.Dataset":
    """Read the data of `tfembed train`, once strategy, head, encoder and the folder of the run are known to be right.

    Args:
        data: File, folder, or name of a sample.
        out: Folder of the run, or None.
        options: Options of `tfembed train`, by name.

    Raises:
        ValueError: If anything of that is wrong, saying what.
    """
    from tfembed.commands.typed import parse_head

    if out is not None:
        check_free(out)
    parse_strategy(options["strategy"])
    parse_head(options["head"])
    return _read_data(data, options, [options["handle"]])


def read_search_data(data: str, out: Path, options: Mapping[str, Any]) -> "te.Dataset":
    """Read the data of `tfembed search`, once encoders and the folder of the study are known to be right.

    Args:
        data: File, folder, or name of a sample.
        out: Folder of the study.
        options: Options of `tfembed search`, by name.

    Raises:
        ValueError: If anything of that is wrong, saying what.
    """
    check_folder(out)
    dataset = _read_data(data, options, options["handles"])
    Plan(task=dataset.task, **{name: options[name] for name in ("oracle", "objective", "max_minutes", "folds")})
    return dataset


def _read_data(data: str, options: Mapping[str, Any], handles: Sequence[str | None]) -> "te.Dataset":
    from tfembed.commands.typed import dataset_of
    from tfembed.encoders.names import check_handle

    for handle in handles:
        if handle is not None:
            check_handle(handle)
    dataset = dataset_of(data, options)
    for handle in handles:
        if handle is not None:
            check_handle(handle, dataset.kind)
    if options["task"] is None and dataset.task == "classification" and all(map(_is_number, dataset.class_names)):
        shown = ", ".join(dataset.class_names[:_MOST_SHOWN]) + ", ..." * (len(dataset.class_names) > _MOST_SHOWN)
        click.echo(
            f"labels are numbers, taken as the names of {len(dataset.class_names)} classes ({shown}); to predict "
            "values, pass --task regression",
            err=True,
        )
    if options["balanced"] and dataset.task != "classification":
        raise ValueError(
            f"--balanced weighs classes that exclude each other, but the data are for {dataset.task}: leave it out."
        )
    return dataset


def _is_number(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def check_run(run: Path) -> dict[str, Any]:
    """Check that a folder holds a run, or a study that is done, and return its record.

    Raises:
        ValueError: If it holds neither; of a study that is not done, the message says how to go on.
    """
    if (run / STUDY).is_file() and not is_run(run / BEST):
        raise ValueError(
            f"{run} is a study whose search is not done: it has no winner yet. Run the same `tfembed search` again, "
            "which goes on where it was."
        )
    return read_record(run)


def check_examples(record: Mapping[str, Any], examples: Sequence[str], text: str) -> None:
    """Check that the files of images are there where a run takes images, and that tables have the column of texts.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a column is.
    """
    from tfembed.data.table_rows import is_table

    for table in (Path(example) for example in examples if record.get("kind") == "text" and is_table(Path(example))):
        if table.is_file():
            check_source(table, [text])
    missing = [example for example in examples if record.get("kind") == "image" and not Path(example).is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: there is no such file. Check the path; it is taken from {Path.cwd()}.")


def check_source(source: Path, columns: Sequence[str | None]) -> None:
    """Check that a table or a folder of images is there, and that a table has the columns that were named.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If a column is missing.
    """
    from tfembed.data.table_rows import rows_of

    names = [column for column in columns if column is not None]
    if not source.is_dir():
        row = next(iter(rows_of(source, names)), None) if names else None
        if not source.is_file():
            raise FileNotFoundError(f"{source}: there is no such file. Check the path; it is taken from {Path.cwd()}.")
        if row is not None and row.problem:
            raise ValueError(f"{source}: {row.problem}")


def shown_by_default(source: Path, column: str | None) -> tuple[str, ...]:
    """The column to keep beside vectors where none is named: that of the texts or paths, so that a hit can be read.

    Images of a folder are named by their paths anyway.
    """
    from tfembed.data.table_rows import rows_of

    if source.is_dir():
        return ()
    for name in (column,) if column is not None else ("text", "path"):
        with suppress(ValueError):
            row = next(iter(rows_of(source, [name])), None)
            if row is not None and not row.problem:
                return (name,)
    return ()


def check_source_encoder(handle: str | None) -> None:
    """Check the encoder of `tfembed embed`: a handle, or the folder of a run, study or export.

    Raises:
        ValueError: If it is none of these.
    """
    from tfembed.encoders.names import check_handle

    if handle is not None:
        check_handle(handle)


def check_measuring(embeddings: Path, options: Mapping[str, Any]) -> None:
    """Check that `tfembed evaluate-embeddings` has a file of embeddings with the column, and a table of pairs.

    Raises:
        FileNotFoundError: If one of them is not there.
        ValueError: If it is something else, or lacks a column.
    """
    from tfembed.embeddings.stored import about_of, read_column

    about_of(embeddings)
    if options["label"] is not None:
        read_column(embeddings, options["label"])
    if options["pairs"] is not None:
        check_source(options["pairs"], options["pair_columns"].split(","))


def check_base_path(base_path: Path) -> None:
    """Check that a folder is the base path of a model, and say what to type where it is something else.

    Args:
        base_path: Folder that should hold versions.

    Raises:
        ValueError: If it is no folder, a run, a study, a version itself, or has no versions.
    """
    if not base_path.is_dir():
        raise ValueError(f"{base_path} is no folder. Pass the base path of a model's versions.")
    served = Path("saved_models", base_path.resolve().name)
    if is_run(base_path) or (base_path / STUDY).is_file():
        check_run(base_path)
        raise ValueError(
            f"{base_path} is a run, which is exported before it is served: {command('export', base_path, served)} && "
            f"{command('serve', served)}"
        )
    if (base_path / "saved_model.pb").is_file():
        if base_path.name.isdecimal():
            raise ValueError(f"{base_path} is one version. Serve its base path: {command('serve', base_path.parent)}")
        raise ValueError(
            f"{base_path} is a SavedModel, and a base path has a numbered folder for each version. Move it into "
            f"{base_path}/1."
        )
    if not any(path.name.isdecimal() for path in base_path.iterdir()):
        raise ValueError(
            f"{base_path} has no versions: expected folders named 1, 2, ... as an export makes them: "
            f"{command('export', 'RUN', base_path)}"
        )
