"""One lock per key, which the system takes from a process that is killed."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from tfembed.features.arrays import writing

logger = logging.getLogger(__name__)


class Locks:
    """Locks between processes, in the files of a folder.

    Args:
        folder: Made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Be the only process that works on a key; waits for another one.

        Raises:
            FolderError: If there is no writing to the folder.
        """
        lock = self._of(key)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                logger.info("Another process computes the same features: waiting for it.")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def hold_if_free(self, key: str) -> Iterator[bool]:
        """Hold a key's lock where nobody else does, and remove its file afterwards; yields whether it is held."""
        lock = self._of(key)
        try:
            lock.acquire(blocking=False)
        except OSError:  # held, or not to be written
            yield False
            return
        try:
            yield True
            with suppress(OSError):
                self._path(key).unlink()  # who waited for it notices, and makes another
        finally:
            lock.release()

    def keys(self) -> set[str]:
        """The keys that have a file."""
        return {path.stem for path in self.folder.glob("*.lock")}

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.lock"

    def _of(self, key: str) -> filelock.BaseFileLock:
        return filelock.FileLock(self._path(key))
