"""Files of word vectors, small and always the same, in each of the formats that there are."""

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

WORDS = ("the", "king", "queen", "man", "woman", "tree", "is", "do", "n't", ",", "e-mail", "café")
_CORE = {
    "king": [1, 0, 1, 0],
    "queen": [0, 1, 1, 0],
    "man": [1, 0, 0, 0],
    "woman": [0, 1, 0, 0],
}


def vectors(words: Sequence[str] = WORDS) -> np.ndarray:
    """A vector of four numbers for each word; king - man + woman is queen."""
    rng = np.random.default_rng(0)
    return np.array([_CORE.get(word) or rng.normal(0, 0.5, 4).round(3) for word in words], np.float32)


def write_text(file: Path, words: Sequence[str] = WORDS, *, header: bool = False) -> Path:
    """The text format of GloVe; with a header that of Word2Vec and fastText."""
    rows = [f"{word} {' '.join(map(str, row))}" for word, row in zip(words, vectors(words).tolist(), strict=True)]
    return write(file, ("\n".join([f"{len(words)} 4"] * header + rows) + "\n").encode())


def write_word2vec(file: Path, words: Sequence[str] = WORDS, *, line_feeds: bool = True) -> Path:
    """The binary format of Word2Vec; the original tool writes a line feed behind each vector, others do not."""
    end = b"\n" if line_feeds else b""
    rows = [word.encode() + b" " + row.tobytes() + end for word, row in zip(words, vectors(words), strict=True)]
    return write(file, f"{len(words)} 4\n".encode() + b"".join(rows))


def write_fasttext(
    file: Path, words: Sequence[str] = WORDS, *, num_buckets: int = 20, labels: Sequence[str] = ()
) -> Path:
    """A model of fastText: n-grams of two and three letters; the more labels, the more of a supervised model."""
    rng = np.random.default_rng(1)
    numbers = [4, 5, 5, 1, 5, 1, 2, 3 if labels else 2, num_buckets, 2, 3, 100]
    entries = [(word, 100 - i, 0) for i, word in enumerate(words)] + [(label, 1, 1) for label in labels]
    content = struct.pack("<14id", 793712314, 12, *numbers, 1e-4)
    content += struct.pack("<3i2q", len(entries), len(words), len(labels), 1000, -1)
    content += b"".join(word.encode() + b"\0" + struct.pack("<qb", count, kind) for word, count, kind in entries)
    rows = np.concatenate([vectors(words), rng.normal(size=(num_buckets, 4))]).astype("<f4")
    return write(file, content + struct.pack("<?2q", False, *rows.shape) + rows.tobytes() + b"output matrix")


def write(file: Path, content: bytes) -> Path:
    """Write a file, gzipped if its name says so."""
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file
