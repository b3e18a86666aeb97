"""Handles: from what a user writes to the local folder of a SavedModel.

The only importer of tensorflow_hub, which knows how tfhub.dev and Kaggle serve modules and keeps its own cache. It is
imported for web addresses alone: a folder needs none of it, and its import costs the better part of a second.
"""

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tarfile
import tempfile
import uuid
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import tensorflow as tf

from tfembed.saved_model import kaggle

GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1024  # at most, as Git LFS defines it
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
_EXPECTED = (
    "a folder with saved_model.pb, a .tar.gz of one, or an address such as https://tfhub.dev/google/nnlm-en-dim128/2 "
    "or https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim128/1"
)


def resolve(handle: str | os.PathLike[str]) -> str:
    """Find the local folder that a handle stands for; download or unpack it where needed.

    Downloads and unpacked archives are kept in the folder named by the environment variable TFHUB_CACHE_DIR, or else in
    `tfhub_modules` among the system's temporary files, as tensorflow_hub does; `kaggle://` in kagglehub's own cache.
    What is there is not downloaded again, whatever TFHUB_MODEL_LOAD_FORMAT says.

    Args:
        handle: A folder, a `.tar.gz` / `.tgz` / `.tar` file, the web address of a module, a folder of an object store
            such as `gs://`, or `kaggle://OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`.

    Returns:
        The folder, which holds saved_model.pb or saved_model.pbtxt.

    Raises:
        ValueError: If the handle is none of these, or what it names holds no SavedModel.
        ConnectionError: If a web address cannot be fetched.

    Example:
        >>> resolve("no/such/module")
        Traceback (most recent call last):
        ValueError: Handle 'no/such/module' does not exist. Expected ...
    """
    if not isinstance(handle, str | os.PathLike):
        raise ValueError(f"Expected a string, got {handle!r} as handle. Pass {_EXPECTED}, or a callable.")
    text = os.fspath(handle)
    if "://" in text:
        return local_folder(text) or _checked(_local(_fetch(text)), text)
    if os.path.isfile(text) and text.endswith(ARCHIVE_SUFFIXES):
        return unpack(Path(text))
    if not os.path.exists(text):
        raise ValueError(f"Handle {text!r} does not exist. Expected {_EXPECTED}.")
    return _checked(text, text)


def local_folder(handle: str) -> str | None:
    """The folder of a handle that is on this machine already; None if it would have to be fetched or is not there.

    Reading a model file must not reach out to the network, so that is what it asks first.
    """
    if "://" in handle:
        known = (_place_of(handle), kaggle.cached_folder(handle))
        return next((folder for folder in known if folder and graph_file(folder)), None)
    try:
        return resolve(handle)
    except ValueError:
        return None


def cache_folder() -> str:
    """Where downloaded and unpacked modules are kept."""
    return os.environ.get("TFHUB_CACHE_DIR") or os.path.join(tempfile.gettempdir(), "tfhub_modules")


def graph_file(folder: str) -> str | None:
    """The file of a SavedModel folder that holds its graph, or None where there is none."""
    paths = (os.path.join(folder, name) for name in GRAPH_FILES)
    return next((path for path in paths if tf.io.gfile.exists(path)), None)


def check_fetched(file: str) -> None:
    """Check that a file is itself, and not the pointer that Git puts in its place until Git LFS fetches it.

    Raises:
        ValueError: If it is such a pointer.
    """
    with tf.io.gfile.GFile(file, "rb") as opened:
        content = opened.read(_LFS_POINTER_BYTES)
    if content.startswith(_LFS_POINTER):
        size = re.search(rb"^size (\d+)$", content, re.MULTILINE)
        of_size = f" of {int(size.group(1)):,} bytes" if size else ""
        raise ValueError(
            f"{file!r} is a Git LFS pointer, in place of the file{of_size} that it stands for. Run `git lfs pull` "
            "where it was cloned, or download the file itself."
        )


def unpack(archive: Path) -> str:
    """Unpack a module's tar file into the cache, once per content, and return the SavedModel folder in it.

    Members that would land outside of the folder, links out of it and device files are refused.

    Raises:
        ValueError: If the file is no readable tar archive, is not safe to unpack, or holds no SavedModel.
    """
    check_fetched(str(archive))
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = Path(cache_folder(), digest)
    if not target.is_dir():
        scratch = target.with_name(f"{digest}.{uuid.uuid4().hex}.tmp")
        scratch.mkdir(parents=True)
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            with contextlib.suppress(OSError):  # another process may have put the same content there meanwhile
                scratch.rename(target)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(
                f"Cannot unpack {str(archive)!r}: {error}. Expected a complete tar archive of a SavedModel folder, "
                "without links or paths that lead out of it. Fetch it again."
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    inside = [target, *sorted(path for path in target.iterdir() if path.is_dir())]
    found = next((path for path in inside if graph_file(str(path))), target)
    return _checked(str(found), str(archive))


def _checked(folder: str, handle: str) -> str:
    if graph_file(folder):
        return folder
    if numbers := sorted(int(name) for name in _entries(folder) if name.isdecimal() and _has_graph(folder, name)):
        raise ValueError(
            f"{handle!r} is the base path of versions {', '.join(map(str, numbers))} of a model. Pass one of its "
            f"folders, such as {os.path.join(handle, str(numbers[-1]))!r}."
        )
    raise ValueError(
        f"Trying to load a model of incompatible/unknown type: {handle!r} holds neither {' nor '.join(GRAPH_FILES)}. "
        f"Expected {_EXPECTED}."
    )


def _entries(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _has_graph(folder: str, version: str) -> bool:
    return graph_file(os.path.join(folder, version)) is not None


def _place_of(address: str) -> str:
    """Where a module from the web is kept: tensorflow_hub's own name for it."""
    return os.path.join(cache_folder(), hashlib.sha1(address.encode()).hexdigest())


def _fetch(address: str) -> str:
    """Download a module, and return its folder; of an object store, the folder there."""
    try:
        with _progress_on_stderr():
            if address.startswith("kaggle:"):
                return kaggle.download(address)
            return _tensorflow_hub().resolve(address)
    except (URLError, TimeoutError) as error:
        raise ConnectionError(
            f"Cannot fetch handle {address!r}: {_one_line(error)}. Expected an address that this machine can reach. "
            f"{_by_hand(address)}"
        ) from error
    except ConnectionError:
        raise
    except (OSError, tf.errors.OpError) as error:
        raise ValueError(f"Cannot read handle {address!r}: {_one_line(error)}. Expected {_EXPECTED}.") from error


def _by_hand(address: str) -> str:
    """How to get a module onto a machine without a network."""
    packed = address if address.endswith(ARCHIVE_SUFFIXES) else f"{address}?tf-hub-format=compressed"
    return (
        f"Fetch {packed} on one that can, save it as module.tar.gz and pass that, or unpack it into "
        f"{_place_of(address)} (TFHUB_CACHE_DIR names the folder above)."
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".")


@contextlib.contextmanager
def _progress_on_stderr() -> Iterator[None]:
    """Let tensorflow_hub tell how far a download is, to people only, and not among what a command prints."""
    before = os.environ.get("TFHUB_DOWNLOAD_PROGRESS")
    if sys.stderr.isatty():
        os.environ["TFHUB_DOWNLOAD_PROGRESS"] = "1"
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if before is None:
            os.environ.pop("TFHUB_DOWNLOAD_PROGRESS", None)


def _tensorflow_hub() -> Any:
    with warnings.catch_warnings():
        # setuptools says so of pkg_resources, which tensorflow_hub 0.16.1 imports for a version check.
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        import tensorflow_hub
    return tensorflow_hub


def _local(folder: str) -> str:
    """A folder of an object store as one of this machine, copied once; others as they are."""
    if "://" not in folder:
        return folder
    target = Path(_place_of(folder))
    if not target.is_dir():
        scratch = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            for place, _, files in tf.io.gfile.walk(folder):
                inside = scratch / place.removeprefix(folder).strip("/")
                inside.mkdir(parents=True, exist_ok=True)
                for file in files:
                    tf.io.gfile.copy(f"{place.rstrip('/')}/{file}", str(inside / file))
            with contextlib.suppress(OSError):  # another process may have put it there meanwhile
                scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return str(target)
