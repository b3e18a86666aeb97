"""A job of embedding: what is to be done, looked through before it begins, and what of it is done already."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
import xxhash

from tfembed.data.examples import as_texts
from tfembed.embeddings.chunks import Chunk, RawRow, chunks, raw_rows
from tfembed.embeddings.columns import widened
from tfembed.embeddings.options import EmbedOptions, check_output, parts_folder
from tfembed.embeddings.parts import content_of, done_parts, result_schema, written_aside

_FORMAT = 2
_LOOKED_AT = 4096
_JOB, _LOCK = "job.json", "lock"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What is to be done.

    Attributes:
        source: The table or folder.
        output: What will be written.
        options: How.
        about: Of the embedder, as `Embedder.about` gives it.
        num_rows: How many rows there are, the bad ones among them.
        schema: Of the result.
    """

    source: Path
    output: Path
    options: EmbedOptions
    about: Mapping[str, Any]
    num_rows: int
    schema: pa.Schema

    @property
    def folder(self) -> Path:
        """Where its parts lie until all are there."""
        return parts_folder(self.output)

    @property
    def num_parts(self) -> int:
        """How many parts it has."""
        return -(-self.num_rows // self.options.rows_per_part)

    @property
    def num_done(self) -> int:
        """How many rows the parts were made of that are there already."""
        size = self.options.rows_per_part
        return sum(min(size, self.num_rows - number * size) for number in done_parts(self.folder))

    def chunks(self, share: int = 0, shares: int = 1) -> Iterator[Chunk]:
        """The rows of the parts that are not done yet, in order; those of done parts are compared.

        Args:
            share: From 0, where the work is divided.
            shares: Into how many; every one reads over the rows of the others.

        Raises:
            ValueError: If a part was made of other rows, or a row cannot be used and failures are not wanted.
        """
        for chunk in chunks(self.source, self.about["kind"], self.options, lambda number: number % shares == share):
            done = content_of(self.folder, chunk.number)
            if done not in (None, chunk.content):
                first = chunk.number * self.options.rows_per_part
                raise ValueError(
                    f"{self.source} has changed since part of it was embedded: rows {first} to "
                    f"{first + chunk.num_rows - 1} differ. {_begin_anew(self)}"
                )
            if self.options.failures is None and chunk.failures:
                raise ValueError(f"{chunk.failures[0].place}: {chunk.failures[0].reason}")
            if done is None:
                yield chunk

    def record(self) -> dict[str, Any]:
        """What another run must have in common with this one, to go on with it."""
        return {
            "format": _FORMAT,
            "fingerprint": self.about["fingerprint"],
            "encoder": self.about["encoder"],
            "num_rows": self.num_rows,
            "columns": [self.options.column, self.options.id, *self.options.keep],
            "rows_per_part": self.options.rows_per_part,
            "schema": self.schema.to_string(),
        }


def make_job(source: Path, output: Path, options: EmbedOptions, about: Mapping[str, Any]) -> Job:
    """Look through what is to be embedded: count rows, and find what is wrong before hours of work, not after them.

    Images are not decoded yet. What stays in memory is 8 bytes for each id.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the output cannot be written, or a row cannot be used and failures are not wanted.
    """
    check_output(output, options)
    rows, num_rows, hashes = raw_rows(source, about["kind"], options), 0, []
    id_type: pa.DataType | None = None
    kept = pa.schema([pa.field(name, pa.null()) for name in options.keep])
    while some := list(islice(rows, _LOOKED_AT)):
        good = [row for row in some if not row.problem]
        if options.failures is None:
            _check(some, about["kind"])
        num_rows += len(some)
        if options.id:
            hashes.append(np.array([_hash(row.id) for row in good], np.uint64))
        id_type = _id_type(good, id_type, options)
        kept = widened(kept, good, source)
    if options.id:
        _check_distinct(np.concatenate(hashes), source, about["kind"], options)
    schema = result_schema(about["dim"], id_type or pa.int64(), kept)
    return Job(source=source, output=output, options=options, about=about, num_rows=num_rows, schema=schema)


@contextmanager
def held(job: Job) -> Iterator[Job]:
    """Be the only process that does a job; go on with what was done of it.

    Raises:
        ValueError: If another process does it, or what was done is of another job.
    """
    job.folder.mkdir(exist_ok=True)
    lock = filelock.FileLock(job.folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise ValueError(f"Another process is writing {job.output}: wait for it, or pass another name.") from None
    try:
        _compare(job)
        for left in job.folder.glob(".aside-*"):
            left.unlink()
        yield job
    finally:
        lock.release()


def clear(job: Job) -> None:
    """Remove the parts."""
    shutil.rmtree(job.folder, ignore_errors=True)


def _compare(job: Job) -> None:
    path, wanted = job.folder / _JOB, job.record()
    if not done_parts(job.folder):  # nothing would go on: what was wrong in the rows may be corrected now
        path.unlink(missing_ok=True)
        with written_aside(path) as aside:
            aside.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        return
    done = json.loads(path.read_text(encoding="utf-8"))
    if differing := [name for name in wanted if wanted[name] != done.get(name)]:
        name = differing[0]
        raise ValueError(
            f"{job.output} was begun with another {name.replace('_', ' ')}: {done.get(name)!r}, now {wanted[name]!r}. "
            f"{_begin_anew(job)}"
        )


def _begin_anew(job: Job) -> str:
    return f"Go on with what it was, or remove {job.folder} to begin anew."


def _check(rows: list[RawRow], kind: str) -> None:
    for row in rows:
        if row.problem:
            raise ValueError(f"{row.place}: {row.problem}")
    if kind == "text":
        as_texts([row.example for row in rows], lambda i: rows[i].place)


def _id_type(rows: list[RawRow], before: pa.DataType | None, options: EmbedOptions) -> pa.DataType | None:
    for row in rows:
        found = pa.string() if isinstance(row.id, str) else pa.int64()
        if before is not None and found != before:
            raise ValueError(
                f"{row.place}: id {row.id!r} is a {'text' if found == pa.string() else 'number'}, unlike those before "
                f"it. Make column {options.id!r} all texts, or all whole numbers."
            )
        before = found
    return before


def _hash(value: Any) -> int:
    return xxhash.xxh3_64_intdigest(repr(value).encode("utf-8", "surrogatepass"))


def _check_distinct(hashes: np.ndarray, source: Path, kind: str, options: EmbedOptions) -> None:
    values, counts = np.unique(hashes, return_counts=True)
    if (counts == 1).all():
        return
    twice = set(values[counts > 1].tolist())
    seen: dict[Any, str] = {}
    for row in raw_rows(source, kind, options):
        if row.problem or _hash(row.id) not in twice:
            continue
        if row.id in seen:
            raise ValueError(
                f"{row.place}: id {row.id!r} is also that of {seen[row.id]}. Give each row an id of its own in column "
                f"{options.id!r}, or leave the column out to number them."
            )
        seen[row.id] = row.place
