"""The versions of one model: which are wanted, which are loaded, and how one takes over from another."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from tfembed.serving.model_config import ModelConfig
from tfembed.serving.servable import Servable
from tfembed.serving.status import Code, ServingError, failure, invalid

MAX_LOAD_RETRIES = 5
LOAD_RETRY_SECONDS = 60.0

Loader = Callable[[str, int, Path], Servable]


class State(IntEnum):
    """Where a version is in its life; the numbers are those of GetModelStatusResponse."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """What GetModelStatus says of a version: its state, and the error that it ended with."""

    version: int
    state: State
    error: ServingError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """A load that failed: of which files, how often, and when it may be tried again."""

    files: tuple[int, ...]
    tries: int
    again: float


class ModelVersions:
    """The versions of a model. `poll` is called by one thread; requests come from many.

    Args:
        config: What to serve.
        load: Loads a version.
    """

    def __init__(self, config: ModelConfig, load: Loader) -> None:
        self.config = config
        self._load = load
        self._lock = threading.Lock()
        self._statuses: dict[int, VersionStatus] = {}
        self._servables: dict[int, Servable] = {}
        self._labels: dict[str, int] = {}
        self._failures: dict[int, _Failure] = {}
        self._unloading: list[threading.Thread] = []

    def poll(self) -> None:
        """Look at the base path once: load what is new and wanted, and only then unload what is not wanted any more.

        Where the base path is missing, perhaps for a moment, what serves goes on.
        """
        wanted = self.load(self.config)
        if wanted is None:
            return
        if not wanted or any(version in self._servables for version in wanted):
            for version in sorted(set(self._servables) - set(wanted)):
                self._unload(version)
        for version in set(self._failures) - set(wanted):
            del self._failures[version]

    def load(self, config: ModelConfig) -> list[int] | None:
        """Load what a configuration wants of this base path, and unload nothing.

        Returns:
            The versions that it wants; None where the base path is missing.
        """
        try:
            wanted = config.policy.choose(list_versions(config.base_path))
        except OSError:
            return None
        for version in wanted:
            if version not in self._servables and self._may_try(version):
                self._try(version)
        return wanted

    def unload_all(self) -> None:
        """Unload every version; requests that are being answered are answered first."""
        for version in sorted(self._servables):
            self._unload(version)

    def wait_until_unloaded(self) -> None:
        """Wait for what is being unloaded."""
        for thread in self._unloading:
            thread.join()

    def acquire(self, version: int | None = None, label: str | None = None) -> Servable:
        """A loaded version, kept loaded until the caller leaves its `in_use`.

        Args:
            version: Its number; the highest one if it and the label are None.
            label: A label that it has.

        Raises:
            ServingError: If it is not available.
        """
        with self._lock:
            wanted = self._labelled(label) if label is not None else version
            if wanted is None:
                wanted = max(self._servables, default=None)
            servable = None if wanted is None else self._servables.get(wanted)
            if servable is None or not servable.acquire():
                raise not_found(self.config.name, wanted if wanted is not None else version)
            return servable

    def statuses(self, version: int | None = None, label: str | None = None) -> list[VersionStatus]:
        """What every version, or one, is doing; highest first.

        Raises:
            ServingError: If there is no such version.
        """
        with self._lock:
            wanted = self._labelled(label) if label is not None else version
            if wanted is None:
                if not self._statuses:
                    raise no_versions(self.config.name)
                return [self._statuses[each] for each in sorted(self._statuses, reverse=True)]
            if wanted not in self._statuses:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {wanted} of model {self.config.name}")
            return [self._statuses[wanted]]

    def set_labels(self, labels: dict[str, int]) -> None:
        """Give labels to versions, in place of all that there were."""
        with self._lock:
            self._labels = dict(labels)

    def check_labels(self, labels: dict[str, int], wanted: list[int] | None, *, allow_unavailable: bool) -> None:
        """Check labels without giving them.

        Args:
            labels: Version of each label.
            wanted: Versions that stay loaded; None for all that are.
            allow_unavailable: Whether a new label may be given to a version that is not available.

        Raises:
            ServingError: If a version is not available, or does not stay so.
        """
        with self._lock:
            for label, version in labels.items():
                known = self._labels.get(label)
                new = known is None or known == version
                stays = version in self._servables and (wanted is None or version in wanted)
                if not stays and not (allow_unavailable and new):
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {self.config.name}, which is not "
                        "currently available for inference",
                    )

    def _labelled(self, label: str) -> int:
        if label not in self._labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return self._labels[label]

    def _may_try(self, version: int) -> bool:
        failed = self._failures.get(version)
        if failed is None or failed.files != _files(find_version(self.config.base_path, version)):
            return True
        return failed.tries <= MAX_LOAD_RETRIES and time.monotonic() >= failed.again

    def _try(self, version: int) -> None:
        folder = find_version(self.config.base_path, version)
        files = _files(folder)
        self._set(VersionStatus(version=version, state=State.LOADING))
        try:
            servable = self._load(self.config.name, version, folder)
        except Exception as error:
            before = self._failures.get(version)
            tries = before.tries + 1 if before is not None and before.files == files else 1
            again = time.monotonic() + LOAD_RETRY_SECONDS
            self._failures[version] = _Failure(files=files, tries=tries, again=again)
            self._set(VersionStatus(version=version, state=State.END, error=failure(error)))
            return
        self._failures.pop(version, None)
        with self._lock:
            self._servables[version] = servable
            self._statuses[version] = VersionStatus(version=version, state=State.AVAILABLE)

    def _unload(self, version: int) -> None:
        with self._lock:
            servable = self._servables.pop(version)
            self._statuses[version] = VersionStatus(version=version, state=State.UNLOADING)
        thread = threading.Thread(target=self._finish, args=(servable,), name=f"unload-{version}", daemon=True)
        self._unloading = [*(each for each in self._unloading if each.is_alive()), thread]
        thread.start()

    def _finish(self, servable: Servable) -> None:
        servable.unload()
        with self._lock:
            # A version may have come back in the meantime.
            if self._statuses[servable.version].state == State.UNLOADING:
                self._statuses[servable.version] = VersionStatus(version=servable.version, state=State.END)

    def _set(self, status: VersionStatus) -> None:
        with self._lock:
            self._statuses[status.version] = status


def list_versions(base_path: Path) -> list[int]:
    """The numbers of the versions in a base path.

    Raises:
        OSError: If it is missing.
    """
    return [int(each.name) for each in base_path.iterdir() if _is_number(each.name) and each.is_dir()]


def find_version(base_path: Path, version: int) -> Path:
    """The folder of a version; its name may have leading zeros."""
    named = base_path / str(version)
    if named.is_dir():
        return named
    try:
        same = [each for each in base_path.iterdir() if _is_number(each.name) and int(each.name) == version]
    except OSError:  # it went away meanwhile
        return named
    return same[0] if same else named


def not_found(name: str, version: int | None) -> ServingError:
    """The error of a request for a model or version that is not loaded."""
    request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return ServingError(Code.NOT_FOUND, f"Servable not found for request: {request}")


def no_versions(name: str) -> ServingError:
    """The error of a request for the status of an unknown model."""
    return ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 32 and int(name) < 2**63


def _files(folder: Path) -> tuple[int, ...]:
    """What changes when a version that could not be loaded is repaired."""
    found = []
    for path in (folder, folder / "saved_model.pb", folder / "variables", *sorted(folder.glob("variables/*"))):
        try:
            stat = path.stat()
            found += [stat.st_mtime_ns, stat.st_size]
        except OSError:
            found += [0, 0]
    return tuple(found)
