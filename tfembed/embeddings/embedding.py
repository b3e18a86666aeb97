"""Embedding what is in memory, and what is not: a part at a time, going on where an interruption was."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfembed.data.examples import as_examples, as_paths
from tfembed.embeddings.chunks import Chunk, Failure
from tfembed.embeddings.embedder import Embedder, check_kind, open_embedder
from tfembed.embeddings.job import Job, clear, held, make_job
from tfembed.embeddings.options import EmbedOptions, check_output
from tfembed.embeddings.parts import count_zeros, failures_of, join_npy, join_parquet, write_part, written_aside
from tfembed.features.unknown_words import NO_WORD, unknown_rows, warn_unknown
from tfembed.progress import progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What embedding a file came to.

    Attributes:
        output: The file of embeddings.
        num_rows: Rows in it.
        dim: The length of a vector.
        num_failed: Rows that are in the file of failures.
        num_unknown: Rows of texts of which the encoder knows no word, whose vectors are zeros.
        fingerprint: Of the encoder.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "pictures").mkdir()
        >>> Image.new("RGB", (8, 8)).save(folder / "pictures" / "black.png")
        >>> found = embed_file("glyphs", folder / "pictures", folder / "pictures.npy")
        >>> found.num_rows, found.dim, np.load(found.output).shape
        (1, 192, (1, 192))
    """

    output: Path
    num_rows: int
    dim: int
    num_failed: int
    fingerprint: str
    num_unknown: int = 0


def embed(encoder: Any, data: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Embed examples that are in memory. Texts of which the encoder knows no word are counted in a warning.

    Args:
        encoder: An encoder; a trained model; the folder of a run, a study or an export; or a handle, of an encoder that
            embeds both texts and images too.
        data: Texts; or images as paths, encoded bytes, or uint8 pixels.

    Returns:
        Embeddings, `float32 (n, dim)`, in the order of the examples.

    Raises:
        ValueError: If the examples are not what the encoder takes, or the encoder is none.

    Example:
        >>> embed("glyphs", np.zeros([3, 8, 8], "uint8")).shape
        (3, 192)
    """
    kind, examples = as_examples(data, lambda i: f"data[{i}]")
    embedder = open_embedder(encoder, kind)
    if kind == "text" and embedder.kind == "image":
        kind, examples = as_examples(as_paths(data), lambda i: f"data[{i}]")
    check_kind(embedder, kind)
    vectors = embedder.embed(examples)
    warn_unknown(len(unknown_rows(vectors, kind)), len(vectors), embedder.name)
    return vectors


def embed_file(
    encoder: Any,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: EmbedOptions | None = None,
) -> Embedded:
    """Embed the rows of a table, or the images of a folder, into a file. Interrupted, the same call goes on.

    The table is looked through first: what is wrong with a row is found before the work. Then `options.rows_per_part`
    rows are in memory at a time. The file is there when it is whole: Parquet with the columns `id`, `vector` (lists of
    one length, of float32) and those that are kept, and the encoder's fingerprint under `tfembed` in its metadata; or
    `.npy` with the vectors alone. Texts of which the encoder knows no word are rows that cannot be embedded where
    `options.failures` is set; else their vectors are zeros, and a warning has their number.

    Args:
        encoder: As in `embed`.
        source: A CSV, TSV, JSONL or Parquet file, or a folder of images.
        output: Ends in `.parquet` or `.npy`; the file must not exist yet.
        options: Which columns, and what becomes of rows that cannot be embedded.

    Raises:
        FileNotFoundError: If there is no such source.
        ValueError: If a row cannot be embedded, the file cannot be written, or was begun with another encoder or other
            rows.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.csv").write_text("text,price\\na red shoe,3\\na hat,4\\n")
        >>> embed_file("minilm", folder / "a.csv", folder / "a.parquet", EmbedOptions(keep=("price",))).num_rows
        2
    """
    options = options or EmbedOptions()
    path = check_output(output, options)
    embedder = open_embedder(encoder)
    done = write_embeddings(embedder, Path(source), path, options)
    warn_unknown(done.num_unknown, done.num_rows, embedder.name)
    return done


def write_embeddings(embedder: Embedder, source: Path, output: Path, options: EmbedOptions) -> Embedded:
    """Do what `embed_file` does, without its warning."""
    with begun(embedder, source, output, options) as job:
        with progress("Embedding", job.num_rows) as advance:
            advance(job.num_done)
            for chunk in job.chunks():
                chunk, vectors = vectors_of(embedder, chunk, job)
                write_part(job.folder, chunk, vectors, job.schema)
                advance(chunk.num_rows)
        return finished(job)


@contextmanager
def begun(embedder: Embedder, source: Path, output: Path, options: EmbedOptions) -> Iterator[Job]:
    """A job that this process alone does; see `make_job` and `held`."""
    with held(make_job(source, output, options, embedder.about())) as job:
        yield job


def vectors_of(embedder: Embedder, chunk: Chunk, job: Job) -> tuple[Chunk, np.ndarray]:
    """Embed a chunk. Where that fails, its rows are tried one by one, and those that fail become failures.

    Where failures are wanted, texts of which the encoder knows no word are some.

    Returns:
        The chunk without them, and the vectors of the others, `float32 (n, dim)`.

    Raises:
        ValueError: If a row fails, and failures are not wanted.
    """
    try:
        return _without_unknown(embedder, chunk, _embedded(embedder, chunk.examples), job)
    except Exception as error:
        if len(chunk.examples) == 1 and job.options.failures is None:
            raise ValueError(f"{chunk.places[0]}: {_reason(error)}") from error
    good, failures, vectors = [], list(chunk.failures), []
    for i, example in enumerate(chunk.examples):
        try:
            vectors.append(_embedded(embedder, [example]))
            good.append(i)
        except Exception as error:
            if job.options.failures is None:
                raise ValueError(f"{chunk.places[i]}: {_reason(error)}") from error
            failures.append(Failure(row=chunk.rows[i], place=chunk.places[i], reason=_reason(error)))
    joined = np.concatenate(vectors) if vectors else np.empty([0, embedder.dim], np.float32)
    return _without_unknown(embedder, chunk.without(good, failures), joined, job)


def _without_unknown(embedder: Embedder, chunk: Chunk, vectors: np.ndarray, job: Job) -> tuple[Chunk, np.ndarray]:
    """Make failures of the texts of which the encoder knows no word, where failures are wanted."""
    unknown = set(unknown_rows(vectors, embedder.kind).tolist())
    if job.options.failures is None or not unknown:
        return chunk, vectors
    failures = [Failure(row=chunk.rows[i], place=chunk.places[i], reason=NO_WORD) for i in unknown]
    good = [i for i in range(len(vectors)) if i not in unknown]
    return chunk.without(good, [*chunk.failures, *failures]), vectors[good]


def _embedded(embedder: Embedder, examples: list[Any]) -> np.ndarray:
    given = np.empty(len(examples), object)
    given[:] = examples
    vectors = embedder.embed(given) if len(examples) else np.empty([0, embedder.dim], np.float32)
    if not np.isfinite(vectors).all():
        raise ValueError("the embedding is not finite. Look at the text or image, and at the encoder's compute type.")
    return vectors


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def finished(job: Job) -> Embedded:
    """Put the parts together, and remove them."""
    num_failed = _write_failures(job)
    num_unknown = count_zeros(job.folder, job.num_parts) if job.about["kind"] == "text" else 0
    if job.output.suffix.lower() == ".npy":
        num_rows = join_npy(job.folder, job.num_parts, job.output)
    else:
        num_rows = join_parquet(job.folder, job.num_parts, job.output, job.about)
    clear(job)
    about = job.about
    return Embedded(
        output=job.output,
        num_rows=num_rows,
        dim=about["dim"],
        num_failed=num_failed,
        fingerprint=about["fingerprint"],
        num_unknown=num_unknown,
    )


def _write_failures(job: Job) -> int:
    """Write the file of failures, where one is wanted and there are any; returns how many there are."""
    path = job.options.failures
    num_failed = sum(1 for _ in failures_of(job.folder, job.num_parts))
    if path is not None and num_failed:
        with written_aside(path) as aside, open(aside, "x", encoding="utf-8") as file:
            for failure in failures_of(job.folder, job.num_parts):
                file.write(json.dumps(asdict(failure), ensure_ascii=False) + "\n")
    return num_failed
