"""Collection: embeddings in Milvus that are found by what is near."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfembed.data.examples import as_examples
from tfembed.embeddings.embedder import Embedder, EncoderSource, check_kind, open_embedder
from tfembed.embeddings.stored import about_of
from tfembed.features.unknown_words import NO_WORD, unknown_rows, warn_unknown
from tfembed.index.client import load_pymilvus
from tfembed.index.columns import check_same, field_of, rows_of
from tfembed.progress import progress

# By name: exact; a graph of neighbours; the nearest of some regions. With what they are searched by default.
INDEX_TYPES: dict[str, dict[str, Any]] = {
    "flat": {},
    "hnsw": {"M": 16, "efConstruction": 200},
    "ivf_flat": {"nlist": 128},
}
_ABOUT, _ROWS_AT_A_TIME = "tfembed", 512
_A = {"text": "a text", "image": "an image"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What was found near a query.

    Attributes:
        id: Of the row.
        similarity: The cosine of the two vectors, from -1 to 1.
        columns: What was kept of the row.

    Example:
        >>> Hit(id=3, similarity=0.8, columns={"text": "a red shoe"}).columns["text"]
        'a red shoe'
    """

    id: Any
    similarity: float
    columns: Mapping[str, Any]


class Index:
    """A collection of embeddings that says which encoder wrote it, and takes no queries from another.

    `open_index` makes one. It is a context manager, and closes itself.

    Args:
        client: Of Milvus.
        name: Of the collection.
        local: Its file; None on a cluster.

    Raises:
        ValueError: By its methods, if the collection is not tfembed's, not whole, or of another encoder.

    Example:
        >>> import tempfile, tfembed as te
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.csv").write_text("text\\na red shoe\\na straw hat\\n")
        >>> options = te.EmbedOptions(keep=("text",))
        >>> encoder = te.load_encoder("minilm")
        >>> vectors = te.embed_file(encoder, folder / "a.csv", folder / "a.parquet", options).output
        >>> with te.open_index(folder / "a.db") as index:
        ...     _ = index.upsert(vectors)
        ...     hits = index.query(["crimson boots"], encoder=encoder, limit=1)
        >>> [[hit.columns["text"] for hit in each] for each in hits]
        [['a red shoe']]
    """

    def __init__(self, client: Any, name: str, local: Path | None) -> None:
        self._client, self.name, self._local = client, name, local
        self._embedders: dict[str, Embedder] = {}
        self._is_loaded = False

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, and of the file, which one process has at a time."""
        self._client.close()
        if self._local is not None:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(str(self._local))

    @property
    def about(self) -> dict[str, Any]:
        """Which encoder wrote it, with which columns; empty before anything was written.

        Raises:
            ValueError: If tfembed did not write the collection.
        """
        if not self._client.has_collection(self.name):
            return {}
        found = self._client.describe_collection(self.name)
        if _ABOUT not in found.get("properties", {}):
            raise ValueError(f"Collection {self.name!r} was not written by tfembed: pass another name.")
        return json.loads(found["properties"][_ABOUT])

    @property
    def takes_images(self) -> bool:
        """Whether images find something in it: it holds some, or its encoder embeds both texts and images."""
        about = self.about
        return about.get("kind") == "image" or about.get("space") is not None

    def __len__(self) -> int:
        if not self.about:
            return 0
        self._load()
        return int(self._client.query(self.name, output_fields=["count(*)"])[0]["count(*)"])

    def upsert(self, embeddings: str | os.PathLike[str], index_type: str = "flat") -> int:
        """Write embeddings into the collection, over rows that have the same id; make it where there is none.

        Texts of which the encoder knew no word are counted in a warning: nothing is near them.

        Args:
            embeddings: A Parquet file that `embed_file` wrote; its kept columns come along, to show and to filter by.
            index_type: Of a new collection: `"flat"` is exact; `"hnsw"` and `"ivf_flat"` are faster where there are
                many rows, and may miss some.

        Returns:
            How many rows were written.

        Raises:
            ValueError: If the file is none of embeddings, or was written by another encoder or with other columns.
        """
        path = Path(embeddings)
        about = about_of(path)
        with pq.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
            about |= {"columns": {name: str(schema.field(name).type) for name in schema.names if name != "vector"}}
            known = self.about
            if known:
                check_same(self.name, known, about)
            else:
                known = self._create(schema, about, index_type)
            num_unknown = 0
            with progress("Indexing", num_rows) as advance:
                for batch in file.iter_batches(_ROWS_AT_A_TIME):
                    rows = list(rows_of(batch))
                    num_unknown += len(unknown_rows(np.stack([row["vector"] for row in rows]), about["kind"]))
                    self._client.upsert(self.name, rows)
                    advance(batch.num_rows)
        warn_unknown(num_unknown, num_rows, about["encoder"], "rows")
        if not known["whole"]:
            self._client.alter_collection_properties(self.name, {_ABOUT: json.dumps(known | {"whole": True})})
        return num_rows

    def search(self, vectors: np.ndarray, limit: int = 10, where: str = "") -> list[list[Hit]]:
        """The nearest rows to each of some vectors, the nearest first.

        Args:
            vectors: `float32 (n, dim)`.
            limit: How many, at most.
            where: Which rows count, as an expression of Milvus, such as `price < 10 and colour == "red"`.

        Raises:
            ValueError: If there is nothing to search in, or the expression is none.
        """
        about = self._whole()
        columns = [name for name in about["columns"] if name != "id"]
        params = {"metric_type": "COSINE", "params": _search_params(about["index_type"], limit)}
        try:
            found = self._client.search(
                self.name,
                data=np.asarray(vectors, np.float32).tolist(),
                limit=limit,
                filter=where,
                output_fields=columns or ["id"],  # of no names Milvus Lite makes all of them, the vector too
                search_params=params,
            )
        except load_pymilvus().MilvusException as error:
            raise ValueError(
                f"Milvus cannot search collection {self.name!r}{f' where {where}' if where else ''}: "
                f"{' '.join(error.message.split())}. Columns: {', '.join(about['columns'])}."
            ) from None
        return [
            [
                Hit(
                    id=hit["id"],
                    similarity=float(hit["distance"]),
                    columns={name: hit["entity"][name] for name in columns},
                )
                for hit in hits
            ]
            for hits in found
        ]

    def query(
        self, examples: Sequence[Any], *, encoder: Any = None, limit: int = 10, where: str = ""
    ) -> list[list[Hit]]:
        """The nearest rows to each of some examples, the nearest first.

        Args:
            examples: Texts, or images as `embed` takes them: what the collection holds, or either where its encoder
                embeds both.
            encoder: The one that wrote the collection, or the other tower of it; None to load it from where it was.
            limit: How many, at most.
            where: See `search`.

        Raises:
            ValueError: If another encoder wrote the collection, the examples are not of its kind, or the encoder knows
                no word of a text.
        """
        about = self._whole()
        kind, checked = as_examples(examples, lambda i: f"examples[{i}]")
        held = about["kind"]
        if kind != held and about.get("space") is None:
            raise ValueError(
                f"Collection {self.name!r} holds {held}s, and encoder {about['encoder']!r} embeds {held}s alone: "
                f"{_A[kind]} finds them only where one encoder embeds both. Pass {_A[held]}."
            )
        vectors = self._embedder_for(about, encoder, kind).embed(checked)
        for row in unknown_rows(vectors, kind):
            raise ValueError(f"{checked[row]!r} has no embedding: {NO_WORD}, so nothing is near it. Pass another one.")
        return self.search(vectors, limit, where)

    def _embedder_for(self, about: Mapping[str, Any], encoder: Any, kind: str) -> Embedder:
        if encoder is None and kind in self._embedders:
            return self._embedders[kind]
        if encoder is None and about["source"] is None:
            raise ValueError(f"Collection {self.name!r} was written by an encoder in memory: pass the encoder.")
        if encoder is None:
            source = EncoderSource(**about["source"])
            encoder = source if kind == about["kind"] else replace(source, kind=kind)
        found = open_embedder(encoder, kind)
        check_kind(found, kind)
        name = "fingerprint" if kind == about["kind"] else "space"
        if getattr(found, name) != about[name]:
            raise ValueError(
                f"Collection {self.name!r} was written by encoder {about['encoder']!r} ({about['fingerprint'][:12]}), "
                f"not by this {found.name!r} ({found.fingerprint[:12]}): their vectors do not go together. Query with "
                "the encoder that wrote it, or embed and index again."
            )
        self._embedders[kind] = found
        return found

    def _whole(self) -> dict[str, Any]:
        about = self.about
        if not about:
            raise ValueError(f"There is no collection {self.name!r} yet: write one with `tfembed index`.")
        if not about["whole"]:
            raise ValueError(
                f"Collection {self.name!r} is not whole: run the `tfembed index` again that was interrupted."
            )
        self._load()
        return about

    def _load(self) -> None:
        """Have the collection in memory, where Milvus searches it."""
        if not self._is_loaded:
            self._client.load_collection(self.name)
            self._is_loaded = True

    def _create(self, schema: pa.Schema, about: Mapping[str, Any], index_type: str) -> dict[str, Any]:
        """Make the collection; returns what it says of itself until it is whole."""
        if index_type not in INDEX_TYPES:
            raise ValueError(f"Unknown index type {index_type!r}: pass one of {', '.join(INDEX_TYPES)}.")
        made = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        for field in schema:
            made.add_field(**field_of(field, about["dim"]))
        params = self._client.prepare_index_params()
        params.add_index(
            field_name="vector", index_type=index_type.upper(), metric_type="COSINE", params=INDEX_TYPES[index_type]
        )
        noted = {**about, "whole": False, "index_type": index_type}
        properties = {_ABOUT: json.dumps(noted)}
        self._client.create_collection(self.name, schema=made, index_params=params, properties=properties)
        return noted


def _search_params(index_type: str, limit: int) -> dict[str, Any]:
    return {"flat": {}, "hnsw": {"ef": max(64, 2 * limit)}, "ivf_flat": {"nprobe": 16}}[index_type]
