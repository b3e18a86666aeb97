"""Measuring a file of embeddings, and a page with what came out."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfembed.data.tables import read_table
from tfembed.embeddings.evaluation import measure_labels, measure_pairs, project
from tfembed.embeddings.parts import written_aside
from tfembed.embeddings.stored import about_of, read_column, read_vectors
from tfembed.report.embeddings_page import Picture, render


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """What a file of embeddings is measured by.

    Attributes:
        label: Column of the file that says what belongs together; None not to.
        pairs: Table of scored pairs of texts; None for none.
        pair_columns: Of the two texts, and of the score.
        projection: Of the picture: `"pca"` or `"tsne"`.
        seed: Of what is drawn.
    """

    label: str | None = None
    pairs: Path | None = None
    pair_columns: tuple[str, ...] = ("sentence1", "sentence2", "score")
    projection: str = "pca"
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.pair_columns) != 3:
            raise ValueError(
                f"Columns {','.join(self.pair_columns)}: expected three, of two texts and of their score, such as "
                "sentence1,sentence2,score."
            )


def measure_file(embeddings: str | os.PathLike[str], wanted: Measuring, page: Path | None = None) -> dict[str, float]:
    """Measure a file of embeddings; see `measure_labels` and `measure_pairs`. All of its vectors are in memory.

    Args:
        embeddings: A Parquet file that `embed_file` wrote.
        wanted: What it is measured by.
        page: HTML page to write, with a picture of the embeddings in two dimensions; None for none.

    Returns:
        What was measured, by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no embeddings, a column is missing, or the pairs have no scores.
    """
    about, vectors = about_of(embeddings), read_vectors(embeddings)
    found: dict[str, float] = {}
    labels = None if wanted.label is None else read_column(embeddings, wanted.label)
    if labels is not None:
        found |= measure_labels(vectors, labels, seed=wanted.seed)
    if wanted.pairs is not None:
        found |= _measure_pairs(about, wanted.pairs, wanted.pair_columns)
    if page is not None:
        rows, places = project(vectors, method=wanted.projection, seed=wanted.seed)
        names = ["" if labels is None else str(labels[row]) for row in rows]
        ids = read_column(embeddings, "id")
        picture = Picture(places=places, labels=names, titles=[str(ids[row]) for row in rows], method=wanted.projection)
        with written_aside(page) as aside:
            aside.write_text(render(Path(embeddings).name, about, found, picture), encoding="utf-8")
    return found


def _measure_pairs(about: dict, table: Path, columns: tuple[str, ...]) -> dict[str, float]:
    from tfembed.embeddings.embedder import EncoderSource, open_embedder
    from tfembed.embeddings.embedding import embed

    if about["source"] is None:
        raise ValueError("The embeddings were written by an encoder in memory: pairs need one that can be loaded.")
    embedder = open_embedder(EncoderSource(**about["source"]))
    if embedder.fingerprint != about["fingerprint"]:
        raise ValueError(
            f"{about['source']['handle']} is not the encoder any more that wrote the embeddings "
            f"({embedder.fingerprint[:12]}, not {about['fingerprint'][:12]}). Embed again."
        )
    rows = read_table(table, columns)
    try:
        scores = np.array([float(score) for score in rows.columns[columns[2]]])
    except (TypeError, ValueError):
        raise ValueError(f"{table}: column {columns[2]!r} holds something that is no number. Correct it.") from None
    first, second = (embed(embedder, rows.columns[name]) for name in columns[:2])
    return measure_pairs(first, second, scores.tolist())
