"""Reading a large file, gzipped or not, piece by piece, with a message for whatever is wrong with it."""

import codecs
import gzip
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_PIECE = 2**20
_MOST_SHRUNK = 1032  # what deflate can make of a file at the most: 1 byte of so many
# Beginnings of files that are no word vectors as they stand, with what to do.
_OTHER_FILES = (
    (b"PK\x03\x04", "is a zip archive. Unpack it, and pass the file that is in it"),
    (b"\x1f\x8b", "is gzipped. Let its name end in .gz, or unpack it"),
    (codecs.BOM_UTF16_LE, "is in UTF-16. Convert it to UTF-8: iconv -f UTF-16 -t UTF-8"),
    (codecs.BOM_UTF16_BE, "is in UTF-16. Convert it to UTF-8: iconv -f UTF-16 -t UTF-8"),
    (b"<!DOCTYPE", "is a web page. Fetch the file itself"),
    (b"<html", "is a web page. Fetch the file itself"),
)


class VectorReader:
    """A file of word vectors.

    Args:
        path: Of the file; its size bounds what is in it.
        file: The file, opened.

    Attributes:
        row: The row that is being read, from 1 on; 0 in front of them.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file, self.row = path, file, 0
        self._data, self._at = b"", 0
        self._num_utf8, self._num_other = 0, 0  # of words beyond ASCII
        self._first_other = b""
        self._row_of_other = 0

    def error(self, what: str) -> ValueError:
        """An error that names file and row."""
        return ValueError(f"{self._path}, row {self.row:,}: {what}. Fetch the file again, or repair it.")

    def check_beginning(self) -> None:
        """Check that the file is none of another kind, and pass over a byte order mark of UTF-8.

        Raises:
            ValueError: If it is an archive, a web page, or in UTF-16; says what to do.
        """
        start = self._guarded(partial(self._file.peek, _PIECE))
        for beginning, what in _OTHER_FILES:
            if start.startswith(beginning):
                raise ValueError(f"{self._path} {what}.")
        if start.startswith(codecs.BOM_UTF8):
            self._file.read(len(codecs.BOM_UTF8))

    def note_word(self, word: bytes) -> None:
        """Note whether the word of the current row is in UTF-8; `check_words` says what came of it."""
        if word.isascii():
            return
        try:
            word.decode()
        except UnicodeDecodeError:
            if not self._num_other:
                self._first_other, self._row_of_other = word, self.row
            self._num_other += 1
        else:
            self._num_utf8 += 1

    def check_words(self) -> None:
        """Check that words are in UTF-8; a few others, such as words that were cut off, are a warning.

        Raises:
            ValueError: If most words with other characters than ASCII are in another encoding; no text has them.
        """
        if not self._num_other:
            return
        if self._num_other > self._num_utf8:
            raise ValueError(
                f"{self._path}, row {self._row_of_other:,}: the word {self._first_other[:40]!r} is not in UTF-8, so no "
                "text has it. If the file is in Latin-1, convert it: iconv -f ISO-8859-1 -t UTF-8."
            )
        logger.warning(
            "%s: %d words are not in UTF-8, so no text has them; the first is %r in row %d.",
            self._path,
            self._num_other,
            self._first_other[:40],
            self._row_of_other,
        )

    def check_size(self, count: int, dim: int, least: int) -> None:
        """Check that as many rows as a header says fit into the file, before there is memory taken for them.

        Args:
            count: Of rows.
            dim: Numbers of each.
            least: Bytes of a row at the least.

        Raises:
            ValueError: If they do not.
        """
        size = self._path.stat().st_size
        most = size * (_MOST_SHRUNK if self._path.suffix == ".gz" else 1)
        if count < 1 or dim < 1 or count * least > most:
            raise ValueError(
                f"{self._path}: {count:,} words of {dim:,} numbers are expected in it, and it has {size:,} bytes. "
                "The file is damaged or none of word vectors; fetch it again."
            )

    def until(self, mark: bytes, most: int) -> bytes | None:
        """What comes before the next mark, which is passed over; None at the end of the file.

        Raises:
            ValueError: If the file ends before the mark, or it does not come within `most` bytes.
        """
        while (found := self._data.find(mark, self._at)) < 0:
            if len(self._data) - self._at > most:
                raise self.error(f"expected {mark!r} within {most} bytes, found {self._data[self._at :][:40]!r}")
            if not self._more():
                if self._at == len(self._data) or not self._data[self._at :].strip():
                    return None
                raise self.error("the file ends in the middle of it")
        value = self._data[self._at : found]
        self._at = found + len(mark)
        return value

    def exactly(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            ValueError: If the file ends before.
        """
        while len(self._data) - self._at < count:
            if not self._more():
                raise self.error("the file ends in the middle of it")
        value = self._data[self._at : self._at + count]
        self._at += count
        return value

    def into(self, array: Any) -> None:
        """Fill an array with what comes next, without another copy.

        Raises:
            ValueError: If the file ends before.
        """
        view = memoryview(array).cast("B")
        ready = min(len(view), len(self._data) - self._at)
        view[:ready] = self._data[self._at : self._at + ready]
        self._at += ready
        while ready < len(view):
            read = self._guarded(partial(self._file.readinto, view[ready:]))
            if not read:
                raise self.error("the file ends in the middle of it")
            ready += read

    def rest(self, most: int) -> bytes:
        """The next bytes, as many as there are."""
        while len(self._data) - self._at < most and self._more():
            pass
        return self._data[self._at : self._at + most]

    def line(self) -> bytes | None:
        """The next line; None at the end of the file."""
        return self._guarded(self._file.readline) or None

    def lines(self, count: int) -> list[bytes]:
        """The next lines, empty ones aside; fewer at the end of the file."""
        found: list[bytes] = []
        while len(found) < count and (line := self.line()) is not None:
            found.extend([line] if line.strip() else [])
        return found

    def count_lines(self) -> int:
        """How many lines there are, empty ones aside."""
        count = 0
        while (line := self.line()) is not None:
            count += bool(line.strip())
        return count

    def _more(self) -> bool:
        piece = self._guarded(lambda: self._file.read(_PIECE))
        self._data, self._at = self._data[self._at :] + piece, 0
        return bool(piece)

    def _guarded(self, read: Any) -> Any:
        try:
            return read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self.error(f"the file is damaged: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[VectorReader]:
    """Open a file of word vectors; one whose name ends in `.gz` is unpacked as it is read."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        reader = VectorReader(path, file)
        reader.check_beginning()
        yield reader
