"""Encoders made of word vectors: Word2Vec, GloVe and fastText as a lookup and a pooling in the graph."""

from dataclasses import asdict
from pathlib import Path

import keras

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec
from tfembed.encoders.words.fasttext import read_fasttext
from tfembed.encoders.words.files import WordTable, read_text, read_word2vec
from tfembed.encoders.words.layer import UNKNOWN, Words
from tfembed.encoders.words.pooling import WORD_POOLINGS, WordPooling

_TEXT, _BINARY = (".txt", ".vec"), ".bin"
_MAX_LENGTH = 1024  # words cost little


def load(wanted: Request) -> Encoder:
    """Load word vectors as an encoder of one block, `embeddings`: a row for unknown words, and one for each word.

    The vector of unknown words is the file's own (`<unk>`); those of a fastText model (`.bin`) are made of n-grams.
    Without either, unknown words are left out. A text is the mean, the maximum, or the mean weighted by how rare words
    are (`"sif"`) of its words; zeros if none is left.

    Args:
        wanted: Its handle is `glove:`, `word2vec:` or `fasttext:` and the path of a file: `.txt` and `.vec` are text,
            `.bin` is binary; each may be gzipped.

    Raises:
        ValueError: If there is no such file, or it is damaged.
    """
    scheme, path = wanted.handle.partition(":")[0], Path(wanted.rest).expanduser()
    pooling = wanted.pooling or "mean"
    if pooling not in WORD_POOLINGS:
        raise ValueError(f"Unknown pooling {pooling!r} of word vectors: pass one of {', '.join(WORD_POOLINGS)}.")
    for name, value, usual in (
        ("preprocessing", wanted.preprocessing, None),
        ("output", wanted.output, None),
        ("weights", wanted.weights, PRETRAINED),
    ):
        if value != usual:
            raise ValueError(f"{name}={value!r}: word vectors have no other than their own. Leave it out.")
    table = _read(scheme, path)
    if table.subwords and pooling == "max":
        raise ValueError(
            f"pooling='max' needs one vector for each word, and {path} makes those of unknown words of n-grams. Pass "
            "pooling='mean' or 'sif', or the .vec file beside it."
        )
    name = path.name.removesuffix(".gz")
    spec = wanted.spec or EncoderSpec(
        name=name.removesuffix(Path(name).suffix), handle=wanted.handle, kind="text", source=str(path)
    )
    words = Words(
        max_length=max(_MAX_LENGTH, wanted.max_length or 0),
        weighted=pooling == "sif",
        subwords=asdict(table.subwords) if table.subwords else None,
        skip_unknown=not table.vectors[UNKNOWN].any(),
        name="words",
    )
    words.set_vocabulary(table.words, table.counts)
    return Encoder(spec, _body(words, table, pooling), words)


def _read(scheme: str, path: Path) -> WordTable:
    kind = Path(path.name.removesuffix(".gz")).suffix
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r}: expected {scheme}: and the path of a file of word vectors.")
    if kind in _TEXT:
        return read_text(path)
    if kind == _BINARY and scheme != "glove":
        return read_fasttext(path) if scheme == "fasttext" else read_word2vec(path)
    binary = f", or {_BINARY} for the binary format" if scheme != "glove" else ""
    raise ValueError(f"{path}: expected a name that ends in {' or '.join(_TEXT)} for text{binary}, and .gz behind it.")


def _body(words: Words, table: WordTable, pooling: str) -> keras.Model:
    """From the places of words to the embedding of a text."""
    specs = words.compute_output_spec(keras.KerasTensor((None,), "string"))
    inputs = {name: keras.Input((None,), dtype=spec.dtype, name=name) for name, spec in specs.items()}
    rows, dim = table.vectors.shape
    lookup = keras.layers.Embedding(rows, dim, embeddings_initializer="zeros", name="embeddings")
    given = {name: tensor for name, tensor in inputs.items() if name != "token_ids"}
    pooled = WordPooling(pooling, name="pooling")({"vectors": lookup(inputs["token_ids"]), **given})
    lookup.embeddings.assign(table.vectors)
    return keras.Model(inputs, pooled, name="word_vectors")
