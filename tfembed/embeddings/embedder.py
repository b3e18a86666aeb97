"""What turns examples into vectors: an encoder, a trained model, or an export with its `embed` signature."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.data import read_images
from tfembed.encoders.encoder import INPUTS, Encoder
from tfembed.encoders.loading import load_encoder
from tfembed.encoders.towers import space_of
from tfembed.export.versions import RECORD, versions
from tfembed.features import encode
from tfembed.features.key import encoder_key
from tfembed.predict import parts_of
from tfembed.runs import is_run, load_run

_EXPORT_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSource:
    """Where an encoder is loaded from, in words that another process understands.

    Attributes:
        handle: What `load_encoder` takes; the folder of a run or a study, or an export or its base path.
        preprocessing: See `load_encoder`.
        pooling: See `load_encoder`.
        compute: See `load_encoder`.
        kind: See `load_encoder`.
    """

    handle: str
    preprocessing: str | None = None
    pooling: str | None = None
    compute: str = "float32"
    kind: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What `load_encoder` takes beside the handle."""
        return {name: value for name, value in asdict(self).items() if name != "handle"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Embedder:
    """What turns examples into vectors.

    Attributes:
        name: Of the encoder.
        kind: Of the examples: `"text"` or `"image"`.
        dim: The length of a vector.
        fingerprint: Everything that the vectors depend on beside the examples: 40 hexadecimal digits, the same in every
            process. An export has that of the encoder it was made of.
        space: What the vectors of texts and those of images have in common where one encoder embeds both: 40 digits;
            None where it does not.
        source: Where it was loaded from; None for an object in memory.
        embed: From checked examples, `object (n,)` of texts, paths or encoded images, or pixels, to `float32 (n, dim)`.
    """

    name: str
    kind: str
    dim: int
    fingerprint: str
    source: EncoderSource | None
    embed: Callable[[np.ndarray], np.ndarray]
    space: str | None = None

    def about(self) -> dict[str, Any]:
        """What is written down beside vectors, as JSON values."""
        source = None if self.source is None else asdict(self.source)
        return {
            "encoder": self.name,
            "kind": self.kind,
            "dim": self.dim,
            "fingerprint": self.fingerprint,
            "space": self.space,
            "source": source,
        }


def open_embedder(encoder: Any, kind: str | None = None) -> Embedder:
    """Make an embedder of what there is.

    Args:
        encoder: An Encoder; a model that a builder made; the folder of a run, of a study, or of an export, or its base
            path; or whatever `load_encoder` takes, as a handle or as an `EncoderSource`.
        kind: What it is to embed, where an encoder is loaded that has a tower for texts and one for images.

    Raises:
        ValueError: If it is none of these, an export that was altered, or an encoder that is loaded and embeds nothing
            of this kind.

    Example:
        >>> open_embedder("glyphs").dim
        192
    """
    if isinstance(encoder, Embedder):
        return encoder
    if isinstance(encoder, Encoder):
        return _of_encoder(encoder, None)
    if isinstance(encoder, keras.Model):
        return _of_encoder(parts_of(encoder).encoder, None)
    source = encoder if isinstance(encoder, EncoderSource) else EncoderSource(handle=os.fspath(encoder))
    folder = Path(source.handle)
    if is_run(folder):
        _refuse_options(source, "a run")
        model, _ = load_run(folder)
        return _of_encoder(parts_of(model).encoder, _absolute(source))
    if (export := _export_under(folder)) is not None:
        _refuse_options(source, "an export")
        return _of_export(export, _absolute(source))
    source = replace(source, kind=source.kind or kind)
    loaded = load_encoder(source.handle, **source.options)
    source = replace(source, kind=loaded.spec.kind if loaded.spec.both else None)
    return _of_encoder(loaded, _absolute(source) if folder.exists() else source)


def _absolute(source: EncoderSource) -> EncoderSource:
    """The same folder, also for a process that works elsewhere."""
    return replace(source, handle=str(Path(source.handle).absolute()))


def _refuse_options(source: EncoderSource, what: str) -> None:
    if source.options != EncoderSource(handle=source.handle).options:
        raise ValueError(
            f"{source.handle} is {what}, which has its own preprocessing, pooling and kind: leave them out."
        )


def _of_encoder(encoder: Encoder, source: EncoderSource | None) -> Embedder:
    last = len(encoder.blocks)

    def embed(examples: np.ndarray) -> np.ndarray:
        vectors = encode(encoder, examples, last).batch(np.arange(len(examples)))[INPUTS]
        return np.asarray(vectors, np.float32)

    return Embedder(
        name=encoder.spec.name,
        kind=encoder.spec.kind,
        dim=encoder.dim,
        fingerprint=encoder_key(encoder),
        source=source,
        embed=embed,
        space=space_of(encoder),
    )


def check_kind(embedder: Embedder, kind: str) -> None:
    """Check that examples are what an embedder takes.

    Raises:
        ValueError: If they are not.
    """
    if kind != embedder.kind:
        other = f" Its other tower takes {kind}s: load_encoder(..., kind={kind!r})." if embedder.space else ""
        raise ValueError(
            f"The data are {kind}s: expected {embedder.kind}s, which encoder {embedder.name!r} takes.{other}"
        )


def _export_under(folder: Path) -> Path | None:
    """The folder of an export: this one, or the highest version under it."""
    if (folder / "assets.extra" / RECORD).is_file():
        return folder
    if not folder.is_dir() or not any(each.name.isdecimal() for each in folder.iterdir()):
        return None
    served = [each.folder for each in versions(folder) if each.record and not each.withdrawn]
    return served[0] if served else None


def _of_export(folder: Path, source: EncoderSource) -> Embedder:
    import tensorflow_text  # noqa: F401 - registers its ops

    record = json.loads((folder / "assets.extra" / RECORD).read_text(encoding="utf-8"))
    _check_files(folder, record["sha256"])
    loaded = tf.saved_model.load(os.fspath(folder))
    name = record["input"]
    dim = int(loaded.signatures["embed"].structured_outputs["embedding"].shape[1])

    def embed(examples: np.ndarray) -> np.ndarray:
        raw = [t.encode() for t in examples] if name == "text" else read_images(list(examples))
        order = np.argsort([len(each) for each in raw], kind="stable")
        vectors = np.empty([len(raw), dim], np.float32)
        for start in range(0, len(raw), _EXPORT_BATCH):
            rows = order[start : start + _EXPORT_BATCH]
            found = loaded.signatures["embed"](**{name: tf.constant([raw[i] for i in rows])})
            vectors[rows] = found["embedding"].numpy()
        return vectors

    own = json.dumps(record["sha256"], sort_keys=True).encode()
    return Embedder(
        name=record["encoder"],
        kind="text" if name == "text" else "image",
        dim=dim,
        fingerprint=record.get("encoder_key") or hashlib.blake2b(own, digest_size=20).hexdigest(),
        source=source,
        embed=embed,
    )


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    for name, expected in checksums.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{folder} lacks {name}, which was exported with it. Export it again.")
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise ValueError(f"{path} is not what was exported: its checksum differs. Export it again.")
