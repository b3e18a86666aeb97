"""Opening a collection, in a local file or on a cluster, and filling it from data."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfembed.embeddings.embedder import open_embedder
from tfembed.embeddings.embedding import write_embeddings
from tfembed.embeddings.options import EmbedOptions
from tfembed.index.client import load_pymilvus
from tfembed.index.collection import Index
from tfembed.index.columns import NAME

TOKEN = "MILVUS_TOKEN"  # environment variable with the token for a cluster

# While an encoder is loaded or embeds, pymilvus asks every ten seconds whether Milvus Lite is still there; Milvus Lite
# breaks off after a few times, and both print that it did.
_NO_PINGS = {"grpc.keepalive_permit_without_calls": False, "grpc.keepalive_time_ms": 2**31 - 1}


def open_index(base: str | os.PathLike[str], *, uri: str | None = None) -> Index:
    """Open a collection of Milvus, or a place for one.

    Args:
        base: A file that ends in `.db`, for Milvus Lite; with `uri`, the name of a collection there.
        uri: Of a Milvus cluster or of Zilliz Cloud, such as `http://localhost:19530`. The environment variable
            `MILVUS_TOKEN` holds the token, where one is needed.

    Raises:
        ValueError: If pymilvus is not installed, the name is none, or another process has the file open.
        ConnectionError: If the cluster cannot be reached.

    Example:
        >>> with open_index(Path(tempfile.mkdtemp(), "shoes.db")) as index:
        ...     index.name, len(index)
        ('shoes', 0)
    """
    milvus = load_pymilvus()
    if uri is not None:
        name = os.fspath(base)
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a collection: expected letters, digits and _, no digit first.")
        try:
            return Index(milvus.MilvusClient(uri, token=os.environ.get(TOKEN, "")), name, None)
        except milvus.MilvusException as error:
            raise ConnectionError(f"{uri}: {error.message}. Check the address, and {TOKEN}.") from None
    path = Path(base).absolute()
    if path.suffix != ".db":
        raise ValueError(f"{base}: expected a file that ends in .db, or --uri with the name of a collection there.")
    if not path.parent.is_dir():
        raise ValueError(f"{base} cannot be made: there is no folder {path.parent}. Make it first.")
    try:
        client = milvus.MilvusClient(str(path), grpc_options=_NO_PINGS)
    except milvus.MilvusException as error:
        raise ValueError(f"{base} cannot be opened ({error.message}): does another process have it open?") from None
    return Index(client, re.sub(r"\W", "_", path.stem), path)


@contextmanager
def readable(base: str | os.PathLike[str]) -> Iterator[Path]:
    """Path of a local collection that can be opened to be asked: a copy, where it lies on a disk that is read only.

    Milvus Lite writes beside a collection even when it is only asked.

    Args:
        base: A file that ends in `.db`.
    """
    path = Path(base)
    if not path.exists() or (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        if path.is_dir():
            shutil.copytree(path, copy, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(path, copy)
        yield copy


def index_data(index: Index, encoder: Any, source: Path, options: EmbedOptions, index_type: str = "flat") -> int:
    """Embed a table or a folder of images, and write it into a collection; returns how many rows were written.

    Raises:
        ValueError: See `embed_file` and `Index.upsert`.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "embeddings.parquet"
        embeddings = write_embeddings(open_embedder(encoder), source, output, options).output
        return index.upsert(embeddings, index_type)
