"""Arrays that are written piece by piece: in memory, or in files of which only what is being read is in memory."""

import io
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

# The name of a file in the moment before it has none.
SPOOLED = ".spool-"


class FolderError(OSError):
    """The folder of features cannot be written: it is full, read-only, or gone."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with a folder into a FolderError, which no fault of the examples is taken for."""
    try:
        yield
    except OSError as error:
        raise FolderError(f"{folder}: {error.strerror or error}") from error


class MemoryArray:
    """An array in memory."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def put(self, starts: Sequence[int], lengths: Sequence[int], values: np.ndarray) -> None:
        """Write the first rows of each of several sequences `(n, longest, ...)`, each to a place of its own."""
        for start, length, value in zip(starts, lengths, values, strict=True):
            self._values[start : start + length] = value[:length]

    def read(self) -> np.ndarray:
        """The array."""
        return self._values


class DiskArray:
    """An array in a file that is mapped for one reading at a time.

    A map that stays open would keep every page that was ever read in the process's memory. The open file stays
    readable when another process removes its name. There is room for all of it from the start, so that a full disk
    shows before the work; and it is written with calls that can fail, where a map would end the process.

    Args:
        path: The file's name, or the folder of one without a name.
        descriptor: The open file; closed when the array is no longer used.
        shape: The array's shape.
        dtype: Its type.
        offset: Bytes in front of the first value.
    """

    def __init__(self, path: Path, descriptor: int, shape: tuple[int, ...], dtype: np.dtype, offset: int = 0) -> None:
        self.path, self.shape, self.dtype, self.offset = path, shape, dtype, offset
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> "DiskArray":
        """Make a `.npy` file.

        Raises:
            FolderError: If there is no room for it.
        """
        header = io.BytesIO()
        # NumPy's format has no name for types such as bfloat16: they are described as bytes of their size.
        described = {"descr": np.lib.format.dtype_to_descr(_plain(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        with writing(path.parent):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            made = cls(path, descriptor, shape, dtype, header.tell())
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, header.tell() + made.nbytes)
            _write(descriptor, header.getvalue(), 0)
        return made

    @classmethod
    def open(cls, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> "DiskArray":
        """Open a `.npy` file.

        Raises:
            OSError: If it is not there.
            ValueError: If it holds another array.
        """
        descriptor = os.open(path, os.O_RDONLY)
        made = cls(path, descriptor, shape, dtype)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            np.lib.format.read_magic(file)
            found = np.lib.format.read_array_header_1_0(file)
            made.offset = file.tell()
        if found != (shape, False, _plain(dtype)) or os.fstat(descriptor).st_size < made.offset + made.nbytes:
            raise ValueError(f"{path.name} holds an array {found[0]} of {found[2]}, expected {shape} of {dtype}")
        return made

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def put(self, starts: Sequence[int], lengths: Sequence[int], values: np.ndarray) -> None:
        """See MemoryArray.

        Raises:
            FolderError: If the disk is full.
        """
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        content = memoryview(np.ascontiguousarray(values).tobytes())
        with writing(self.path):
            for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
                first = i * values.shape[1] * row_bytes
                piece = content[first : first + length * row_bytes]
                _write(self._descriptor, piece, self.offset + start * row_bytes)

    def read(self) -> np.ndarray:
        """The array, mapped until what is returned is no longer used."""
        if not self.nbytes:
            return np.zeros(self.shape, self.dtype)
        mapped = mmap.mmap(self._descriptor, self.offset + self.nbytes, access=mmap.ACCESS_READ)
        flat = np.frombuffer(mapped, self.dtype, math.prod(self.shape), self.offset)
        return flat.reshape(self.shape)


Array = MemoryArray | DiskArray


class Workplace:
    """Where arrays are made: in a folder, or in memory.

    Args:
        folder: An existing folder; None for memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._count = 0

    def create(self, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        """An array to be written. Strings stay in memory: they have no fixed size.

        Raises:
            FolderError: If there is no room for it.
        """
        if self.folder is None or dtype.kind in "OSU":
            return MemoryArray(np.zeros(shape, dtype))
        self._count += 1
        return DiskArray.create(self.folder / f"{self._count}.npy", shape, dtype)

    def spool(self) -> "Spool":
        """An array whose length is not known yet."""
        return Spool(self.folder)


class Spool:
    """Rows that are written one behind the other; in a folder, to a file without a name, gone with its last reader."""

    def __init__(self, folder: Path | None) -> None:
        self._parts: list[np.ndarray] = []
        self._folder, self._length = folder, 0
        self._array: DiskArray | None = None

    def append(self, rows: np.ndarray) -> None:
        """Write rows of the shape and type of those before.

        Raises:
            FolderError: If the disk is full.
        """
        if self._folder is None:
            self._parts.append(rows)
            return
        if self._array is None:
            with writing(self._folder):
                descriptor, name = tempfile.mkstemp(prefix=SPOOLED, dir=self._folder)
                Path(name).unlink(missing_ok=True)
            self._array = DiskArray(self._folder, descriptor, (0, *rows.shape[1:]), rows.dtype)
        self._array.put([self._length], [len(rows)], rows[np.newaxis])
        self._length += len(rows)
        self._array.shape = (self._length, *rows.shape[1:])

    def done(self) -> Array:
        """The array; at least one part must have been written."""
        return MemoryArray(np.concatenate(self._parts)) if self._array is None else self._array


def _plain(dtype: np.dtype) -> np.dtype:
    """The type under which values are described in a file: their own, or unsigned numbers of the same size."""
    return dtype if dtype.kind in "biufc" else np.dtype(f"u{dtype.itemsize}")


def _write(descriptor: int, content: bytes | memoryview, position: int) -> None:
    while content:
        written = os.pwrite(descriptor, content, position)
        content, position = content[written:], position + written
