"""What there is to say about embedding a table or a folder."""

import os
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".parquet", ".npy")
_RESERVED = ("id", "vector")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """How the rows of a table, or the images of a folder, are embedded.

    Attributes:
        column: Of texts, or of paths of images (relative to the table); None for `text` or `path`, as the encoder is.
        id: Column with a name for each row, each a different one; None for the row's number from 0. The images of a
            folder are named by their paths in it.
        keep: Columns to write beside the vectors. Of CSV and TSV, a column is of numbers where every cell is one or is
            empty, and of texts otherwise.
        failures: File for the rows that cannot be embedded, with their reasons, as JSON lines; None to stop at the
            first one.
        rows_per_part: So many rows are in memory, and lost by an interruption, at most.

    Raises:
        ValueError: If a column is kept that is written anyway, or a part has no rows.

    Example:
        >>> EmbedOptions(keep=("vector",))
        Traceback (most recent call last):
        ...
        ValueError: keep=('vector',): the columns id, vector are written anyway. Rename yours, or leave it out.
    """

    column: str | None = None
    id: str | None = None
    keep: tuple[str, ...] = ()
    failures: Path | None = None
    rows_per_part: int = 4096

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", tuple(dict.fromkeys(self.keep)))
        if set(self.keep) & set(_RESERVED):
            raise ValueError(
                f"keep={self.keep}: the columns {', '.join(_RESERVED)} are written anyway. Rename yours, or leave it "
                "out."
            )
        if self.rows_per_part < 1:
            raise ValueError(f"rows_per_part={self.rows_per_part}: expected at least 1, such as 4096.")
        if self.failures is not None:
            object.__setattr__(self, "failures", Path(self.failures))


def parts_folder(output: Path) -> Path:
    """Where the parts of a file lie until all are there."""
    return output.with_name(f".{output.name}.parts")


def check_output(output: str | os.PathLike[str], options: EmbedOptions) -> Path:
    """Check that embeddings can be written there, before the work and not after it.

    Raises:
        ValueError: If the file exists, cannot be made, or cannot hold what is asked for.
    """
    path = Path(output)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}.")
    if path.suffix.lower() == ".npy" and (options.id or options.keep or options.failures):
        raise ValueError(
            f"{path} holds vectors and nothing else, in the order of the rows: it has no place for ids or columns, "
            "and no row may fail. Write .parquet."
        )
    for file in (path, options.failures):
        if file is None:
            continue
        if file.exists() and not (file == options.failures and parts_folder(path).exists()):  # being written
            raise ValueError(f"{file} exists already: pass another name, or remove it first.")
        folder = file.absolute().parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ValueError(f"{file} cannot be written: {folder} is no folder that can be written to. Make it first.")
    return path
