"""Word vectors on disk: the text format of GloVe, Word2Vec and fastText, and the binary one of Word2Vec.

A row is a word and the numbers behind it. Whatever is wrong with a file is one line that names the file and the row.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfembed.encoders.words.reader import VectorReader, opened
from tfembed.encoders.words.subwords import Subwords
from tfembed.progress import progress, waiting

logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 1000
_GAPS = re.compile(rb"[ \t]+")
_MARKS = (b"<unk>", b"[UNK]", b"<UNK>")  # what files call the vector of unknown words


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordTable:
    """Words and their vectors.

    Attributes:
        words: In the order of the file, which is that of their frequency as a rule; each once, in UTF-8.
        vectors: float32 `(1 + n + num_buckets, dim)`: of unknown words, of each word, of each bucket of n-grams.
        counts: How often each word was seen in the text that the vectors were made from, int64 `(n,)`; None where the
            file does not say.
        subwords: The n-grams that the vectors of unknown words are made of; None where there are none.
    """

    words: tuple[bytes, ...]
    vectors: np.ndarray
    counts: np.ndarray | None = None
    subwords: Subwords | None = None


def read_text(path: Path) -> WordTable:
    """Read vectors from a text file, `.txt` or `.vec`, gzipped or not: a word and its numbers in each line.

    A first line of two whole numbers, as Word2Vec and fastText write it, is taken for the counts of rows and numbers.
    A word may have spaces in it: the last numbers of a line are its vector. Tabs and several spaces count as one space;
    a byte order mark is passed over.

    Raises:
        ValueError: If a row is not like the first one, if there are more or fewer than the header says, or if words are
            not in UTF-8.
    """
    with opened(path) as reader:
        first = next(iter(reader.lines(1)), None)
        if first is None:
            raise ValueError(f"{path} is empty: expected a word and its numbers in each line. Fetch the file again.")
        header = _header(first)
        if header is None:
            with waiting(f"Counting the rows of {path.name}"), opened(path) as counting:
                header = counting.count_lines(), len(first.split()) - 1
            lines = [first]
        else:
            lines = []
        count, dim = header
        reader.check_size(count, dim, 2 * dim + 1)
        rows = _Rows(path, count, dim)
        with progress(f"Reading {path.name}", count) as advance:
            while lines := lines + reader.lines(_ROWS_AT_A_TIME - len(lines)):
                if reader.row + len(lines) > count:
                    reader.row = count + 1
                    raise reader.error(f"the header says that there are {count:,} words, and there are more")
                rows.extend(*_parsed(reader, lines, dim))
                advance(len(lines))
                lines = []
        if reader.row < count:
            reader.row += 1
            raise reader.error(f"the file ends; its header says that there are {count:,} words")
        reader.check_words()
    return rows.table()


def read_word2vec(path: Path) -> WordTable:
    """Read vectors from a binary file of Word2Vec, gzipped or not.

    Its first line has the counts of words and of numbers; then come a word, a space and float32 numbers, again and
    again, with or without a line feed between them.

    Raises:
        ValueError: If the file ends early or late, or is no such file.
    """
    with opened(path) as reader:
        first = reader.until(b"\n", 64) or b""
        header = _header(first)
        if header is None:
            raise ValueError(
                f"{path} begins with {first[:20]!r}: expected two whole numbers, the counts of words and of numbers of "
                "each. If fastText wrote it, pass fasttext:PATH; if it is text, name it .txt or .vec."
            )
        count, dim = header
        reader.check_size(count, dim, 4 * dim + 1)
        rows = _Rows(path, count, dim)
        with progress(f"Reading {path.name}", count) as advance:
            for reader.row in range(1, count + 1):
                word = reader.until(b" ", 4096)
                if word is None:
                    raise reader.error(f"the file ends; its header says that there are {count:,} words")
                vector = np.frombuffer(reader.exactly(4 * dim), "<f4")
                if not np.isfinite(vector).all():
                    raise reader.error(f"the vector of {_shown(word)} holds what is no finite number")
                word = word.lstrip(b"\n")
                reader.note_word(word)
                rows.extend([word], vector[np.newaxis])
                if reader.row % _ROWS_AT_A_TIME == 0:
                    advance(_ROWS_AT_A_TIME)
        reader.row += 1
        if reader.rest(2).strip(b"\n"):
            raise reader.error(f"the header says that there are {count:,} words, and there is more")
        reader.check_words()
    return rows.table()


def _header(line: bytes) -> tuple[int, int] | None:
    fields = line.split()
    return (int(fields[0]), int(fields[1])) if len(fields) == 2 and all(map(bytes.isdigit, fields)) else None


def _parsed(reader: VectorReader, lines: list[bytes], dim: int) -> tuple[list[bytes], np.ndarray]:
    """Words and vectors of some lines."""
    words, numbers = [], []
    for raw in lines:
        reader.row += 1
        line = raw.rstrip(b" \t\r\n")
        if b"\t" in line or b"  " in line:
            line = _GAPS.sub(b" ", line)
        *parts, behind = line.split(b" ", 1)
        if behind.count(b" ") != dim - 1 or not parts:  # the word has spaces, or the line is another one
            first, *rest = line.rsplit(b" ", dim)
            found = len(line.split()) - 1
            if len(rest) != dim or _numbers([first.rpartition(b" ")[2]]) is not None:
                raise reader.error(f"expected a word and {dim} numbers, found {found} behind {_shown(line.split()[0])}")
            parts, behind = [first.strip()], b" ".join(rest)
        reader.note_word(parts[0])
        words.append(parts[0])
        numbers.append(behind)
    vectors = _numbers(numbers)
    if vectors is None or vectors.shape[1] != dim or not np.isfinite(vectors).all():
        for i, each in enumerate(numbers):
            one = _numbers([each])
            if one is None or one.shape[1] != dim or not np.isfinite(one).all():
                reader.row += i + 1 - len(lines)
                raise reader.error(f"expected {dim} finite numbers behind {_shown(words[i])}, found {_shown(each)}")
    return words, vectors  # type: ignore[return-value]  # if it were None, an error was raised


def _numbers(lines: list[bytes]) -> np.ndarray | None:
    """Rows of numbers, float32; None if they are something else."""
    if not all(lines):
        return None
    try:
        return np.loadtxt(lines, np.float32, comments=None, delimiter=" ", ndmin=2, encoding="latin-1")
    except ValueError:
        return None


def _shown(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


class _Rows:
    """One array that is filled row by row; of a word that comes twice the first row counts."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        self._path, self._twice = path, 0
        self._places: dict[bytes, None] = {}
        self._vectors = np.zeros((1 + count, dim), np.float32)  # pages that nothing is written to take no memory

    def extend(self, words: list[bytes], vectors: np.ndarray) -> None:
        """Add some rows."""
        start, fresh = len(self._places) + 1, []
        for i, word in enumerate(words):
            if word not in self._places:
                self._places[word] = None
                fresh.append(i)
        self._twice += len(words) - len(fresh)
        chosen: Any = slice(None) if len(fresh) == len(words) else fresh
        self._vectors[start : start + len(fresh)] = vectors[chosen]

    def table(self) -> WordTable:
        """What was read."""
        if self._twice:
            logger.warning(
                "%s: %d rows are of words that were there before; the first of each counts.", self._path, self._twice
            )
        words = tuple(self._places)
        vectors = self._vectors[: 1 + len(words)]
        for mark in _MARKS:
            if mark in self._places:
                vectors[0] = vectors[1 + words.index(mark)]
                break
        return WordTable(words=words, vectors=vectors)
