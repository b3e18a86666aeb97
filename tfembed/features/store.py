"""The folder of stored features: shared between processes, limited in size, and never with half an entry in it."""

import logging
import os
import re
import shutil
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from tfembed.features.arrays import SPOOLED, DiskArray, Workplace, writing
from tfembed.features.columns import Features, Source
from tfembed.features.entry import META, DamagedError, check_entry, finish_entry, open_entry, read_meta
from tfembed.features.locks import Locks

logger = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{40}")
_ASIDE, _TRASH, _LOCKS = ".aside-", ".trash-", "locks"
_DEFAULT_GIGABYTES = 10.0


def default_folder() -> Path:
    """Where features are stored: `features` in `TFEMBED_CACHE`, or else in the user's cache folder."""
    root = os.environ.get("TFEMBED_CACHE")
    return (Path(root) if root else platformdirs.user_cache_path("tfembed")) / "features"


def default_max_bytes() -> int:
    """The size limit: `TFEMBED_CACHE_GB` gigabytes, or else 10.

    Raises:
        ValueError: If the environment variable is no positive number.
    """
    text = os.environ.get("TFEMBED_CACHE_GB", str(_DEFAULT_GIGABYTES))
    with suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return int(float(text) * 1e9)
    raise ValueError(f"TFEMBED_CACHE_GB={text!r}: expected a positive number of gigabytes, such as 10 or 0.5.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A stored entry.

    Attributes:
        key: What its features depend on, as `feature_key` gives it.
        num_bytes: What it takes on disk.
        last_used: Seconds since 1970.
        about: Encoder, cut and number of examples; empty where the description is damaged.
    """

    key: str
    num_bytes: int
    last_used: float
    about: dict[str, Any]


class FeatureStore:
    """Features on disk, one folder per key.

    An entry is written beside and renamed, so that readers find it whole or not at all. Who reads it has its files
    open: they stay readable while another process removes the entry. Nothing is forced to the disk: what a power
    failure tears is found by its checksum.

    Args:
        folder: Made when something is written.
        max_bytes: The entries used longest ago are removed when all of them take more.

    Example:
        >>> import tempfile
        >>> FeatureStore(Path(tempfile.mkdtemp())).entries()
        []
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = Path(folder)
        self.max_bytes = default_max_bytes() if max_bytes is None else max_bytes
        self._locks = Locks(self.folder / _LOCKS)
        self._checked: set[tuple[str, int]] = set()

    def find(self, key: str) -> Features | None:
        """Open an entry, checked byte by byte the first time that this object opens it.

        Raises:
            DamagedError: If it is torn or altered.
        """
        folder = self.folder / key
        try:
            features, identity = open_entry(folder)
            if (key, identity) not in self._checked:
                check_entry(folder)
                self._checked.add((key, identity))
        except FileNotFoundError:
            return None
        with suppress(OSError):  # somebody else's folder can be read too
            os.utime(folder / META)
        return features

    def find_or_add(self, key: str, compute: Callable[[Workplace], Source], about: dict[str, Any]) -> Source:
        """Features of a key, computed where no process has done so yet; a damaged entry is replaced with a warning.

        Args:
            key: What the features depend on, as `feature_key` gives it.
            compute: Writes features into a workplace.
            about: For people, as JSON values.

        Returns:
            The features, readable also where they are too large to be kept.

        Raises:
            FolderError: If the folder cannot be written; nothing of what was written remains.
        """
        with suppress(DamagedError):  # another process may be at it: looked at again under the lock
            if (found := self.find(key)) is not None:
                return found
        with self._locks.hold(key):
            try:
                found = self.find(key)
            except DamagedError as error:
                warnings.warn(f"Stored features are damaged ({error}) and are computed again.", stacklevel=4)
                with writing(self.folder):
                    self.remove(key)
                found = None
            return self._add(key, compute, about) if found is None else found

    def workplace(self) -> Workplace:
        """Where to write what is not kept.

        Raises:
            FolderError: If there is no writing to the folder.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return Workplace(self.folder)

    def _add(self, key: str, compute: Callable[[Workplace], Source], about: dict[str, Any]) -> Source:
        self.sweep(held=key)
        aside = self.folder / f"{_ASIDE}{key}-{uuid.uuid4().hex}"
        with writing(self.folder):
            aside.mkdir(parents=True)
        try:
            features = compute(Workplace(aside))
            if isinstance(features, Features) and _is_on_disk(features):
                finish_entry(aside, features, about | {"created": time.time()})
                self._publish(aside, key)
            return features
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _publish(self, aside: Path, key: str) -> None:
        num_bytes = _size(aside)
        if num_bytes > self.max_bytes:
            logger.warning("Features of %d bytes are not kept: the limit is %d bytes.", num_bytes, self.max_bytes)
            return
        with writing(self.folder):
            self._checked.add((key, (aside / META).stat().st_ino))
            os.rename(aside, self.folder / key)
        self.evict()

    def entries(self) -> list[Entry]:
        """What is stored, used longest ago first."""
        found = []
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if not _KEY.fullmatch(folder.name):
                continue
            about: dict[str, Any] = {}
            with suppress(FileNotFoundError):  # removed meanwhile
                with suppress(DamagedError):
                    about = read_meta(folder)["about"]
                used = (folder / META).stat().st_mtime if (folder / META).exists() else 0.0
                found.append(Entry(key=folder.name, num_bytes=_size(folder), last_used=used, about=about))
        return sorted(found, key=lambda entry: entry.last_used)

    def evict(self) -> None:
        """Remove the entries used longest ago until the others keep within the limit."""
        entries = self.entries()
        excess = sum(entry.num_bytes for entry in entries) - self.max_bytes
        for entry in entries:
            if excess <= 0:
                return
            self.remove(entry.key)
            excess -= entry.num_bytes

    def remove(self, key: str) -> None:
        """Remove an entry at once for all who look for it; who reads it goes on."""
        trash = self.folder / f"{_TRASH}{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):  # another process was faster
            os.rename(self.folder / key, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def clear(self) -> int:
        """Remove all entries and what killed processes left behind; returns how many entries there were."""
        entries = self.entries()
        for entry in entries:
            self.remove(entry.key)
        self.sweep()
        return len(entries)

    def verify(self) -> dict[str, str]:
        """Check every byte of every entry; returns what is wrong, by key."""
        problems = {}
        for entry in self.entries():
            try:
                check_entry(self.folder / entry.key)
            except DamagedError as error:
                problems[entry.key] = str(error)
            except FileNotFoundError:
                pass  # removed meanwhile
        return problems

    def sweep(self, held: str = "") -> None:
        """Remove what killed processes left behind: work beside entries, and locks that nobody holds.

        Args:
            held: The key whose lock the caller holds.
        """
        for trash in self.folder.glob(f"{_TRASH}*"):
            shutil.rmtree(trash, ignore_errors=True)
        for spool in self.folder.glob(f"{SPOOLED}*"):
            spool.unlink(missing_ok=True)
        aside = {path: path.name.removeprefix(_ASIDE).split("-")[0] for path in self.folder.glob(f"{_ASIDE}*")}
        for key in {*aside.values(), *self._locks.keys()}:
            with nullcontext(True) if key == held else self._locks.hold_if_free(key) as is_held:
                for path in [path for path, owner in aside.items() if owner == key and is_held]:
                    shutil.rmtree(path, ignore_errors=True)


def _is_on_disk(features: Features) -> bool:
    return bool(features.columns) and all(isinstance(each.values, DiskArray) for each in features.columns.values())


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    with suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0
