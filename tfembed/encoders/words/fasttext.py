"""The binary file that fastText writes: words with their counts, and the vectors of words and of n-grams."""

import struct
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfembed.encoders.words.files import WordTable
from tfembed.encoders.words.reader import VectorReader, opened
from tfembed.encoders.words.subwords import Subwords, ngram_buckets
from tfembed.progress import progress
from tfembed.saved_model.graph import trace

_MAGIC = 793712314
_VERSIONS = (11, 12)
_SUPERVISED = 3
_WORD = 0
_END = b"</s>"  # of a line; it alone has no n-grams
_ROWS_AT_A_TIME = 1000


def read_fasttext(path: Path) -> WordTable:
    """Read a model of fastText, `.bin`, gzipped or not.

    The vector of a known word is the mean of its own and of those of its n-grams, as fastText prints it.

    Raises:
        ValueError: If it is no such file, ends early, was quantised, or has words that are not in UTF-8.
    """
    with opened(path) as reader:
        dim, bucket, shortest, longest = _header(reader, path)
        words, counts = _words(reader, path)
        (quantised,) = _unpack(reader, "<?")
        num_rows, found_dim = (0, 0) if quantised else _unpack(reader, "<2q")
        if quantised or (num_rows, found_dim) != (len(words) + bucket, dim):
            raise ValueError(
                f"{path} is quantised or not whole: expected {len(words) + bucket:,} vectors of {dim} numbers behind "
                "its words. Pass the .bin file that was not quantised, or the .vec file beside it."
            )
        reader.check_size(num_rows, dim, 4 * dim)
        subwords = None
        if bucket and longest:
            subwords = Subwords(shortest=shortest, longest=longest, num_buckets=bucket)
        kept = num_rows if subwords else len(words)
        vectors = np.zeros((1 + kept, dim), np.float32)
        with progress(f"Reading {path.name}", kept) as advance:
            for start in range(1, 1 + kept, _ROWS_AT_A_TIME):
                part = vectors[start : start + _ROWS_AT_A_TIME]
                reader.row = start
                reader.into(part)
                if not np.isfinite(part).all():
                    raise reader.error(f"a vector in the {len(part)} rows from here on holds what is no finite number")
                advance(len(part))
    if subwords:
        _add_subwords(vectors, words, subwords)
    return WordTable(words=words, vectors=vectors, counts=counts, subwords=subwords)


def _header(reader: VectorReader, path: Path) -> tuple[int, int, int, int]:
    """The numbers of a vector, the buckets of n-grams, and the letters of the shortest and of the longest ones."""
    magic, version = _unpack(reader, "<2i")
    if magic != _MAGIC or version not in _VERSIONS:
        raise ValueError(
            f"{path} is no model of fastText in a version from {_VERSIONS[0]} to {_VERSIONS[1]}. Pass the .vec file "
            "beside it; a binary file of Word2Vec is word2vec:PATH."
        )
    dim, _, _, _, _, _, _, model, bucket, shortest, longest, _ = _unpack(reader, "<12i")
    _unpack(reader, "<d")
    if version == _VERSIONS[0] and model == _SUPERVISED:
        longest = 0  # it had none, whatever it says
    return dim, bucket, shortest, longest


def _words(reader: VectorReader, path: Path) -> tuple[tuple[bytes, ...], np.ndarray]:
    """The words and how often each was seen; labels, which come behind them, are left out."""
    size, num_words, _ = _unpack(reader, "<3i")
    _, num_pruned = _unpack(reader, "<2q")
    if num_pruned > 0:
        raise ValueError(f"{path} was pruned as it was quantised. Pass the .bin file that it was made from.")
    reader.check_size(size, 1, 10)
    words, counts = [], []
    for reader.row in range(1, size + 1):
        word = reader.until(b"\0", 4096)
        if word is None:
            raise reader.error(f"the file ends; its header says that there are {size:,} words")
        count, kind = _unpack(reader, "<qb")
        if kind == _WORD:
            reader.note_word(word)
            words.append(word)
            counts.append(count)
    if len(words) != num_words or len(set(words)) != num_words:
        raise ValueError(f"{path} has {len(set(words)):,} words, and its header says {num_words:,}: it is damaged.")
    reader.check_words()
    return tuple(words), np.array(counts, np.int64)


def _add_subwords(vectors: np.ndarray, words: tuple[bytes, ...], subwords: Subwords) -> None:
    """Make the vector of each word the mean of it and of those of its n-grams, in place."""
    first = 1 + len(words)
    find = trace(lambda some: ngram_buckets(some, subwords), tf.TensorSpec([None], tf.string))
    with progress("Adding n-grams to words", len(words)) as advance:
        for start in range(0, len(words), _ROWS_AT_A_TIME):
            some = words[start : start + _ROWS_AT_A_TIME]
            found = find(tf.constant(some, tf.string))
            splits, rows = found.row_splits.numpy(), found.flat_values.numpy() + first
            for i, word in enumerate(some):
                own = rows[splits[i] : splits[i + 1]] if word != _END else rows[:0]
                vector = vectors[1 + start + i]
                vector += vectors[own].sum(axis=0)
                vector /= 1 + len(own)
            advance(len(some))


def _unpack(reader: VectorReader, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, reader.exactly(struct.calcsize(layout)))
