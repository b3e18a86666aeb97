"""Files that are often passed as encoders and are none: Git LFS pointers, and HDF5 files of Keras."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tfembed.saved_model.handles import check_fetched

_HDF5 = b"\x89HDF\r\n\x1a\n"


def check_files(handle: object, weights: str | os.PathLike[str] | None = None) -> None:
    """Check that local files are not of a kind that cannot be an encoder.

    Args:
        handle: Handle of an encoder; one that names no file or folder here, with or without a scheme such as `glove:`,
            is not looked at.
        weights: File of weights, if there is one.

    Raises:
        ValueError: If a file is a Git LFS pointer, or the handle is an HDF5 file; says what to do.

    Example:
        >>> check_files("minilm")
    """
    texts = [str(value) for value in (handle, weights) if isinstance(value, str | os.PathLike)]
    paths = [Path(path) for text in texts for path in (text, text.partition(":")[2]) if path and Path(path).exists()]
    for file in chain.from_iterable(map(_files_in, paths)):
        check_fetched(str(file))
    if isinstance(handle, str) and handle.endswith((".h5", ".hdf5")) and Path(handle).is_file():
        raise ValueError(_explained(Path(handle)))


def _files_in(path: Path) -> Iterator[Path]:
    """The file, or the files of a folder and of its folders, where models have them."""
    if path.is_file():
        yield path
    else:
        yield from (file for pattern in ("*", "*/*") for file in sorted(path.glob(pattern)) if file.is_file())


def _explained(file: Path) -> str:
    """What to tell of an HDF5 file that was passed as an encoder."""
    content = file.read_bytes()
    if not content.startswith(_HDF5):
        return f"{str(file)!r} is named as an HDF5 file and is none: it is damaged. Fetch it again."
    if b"model_config" in content:  # an attribute that Keras writes with whole models alone
        return (
            f"{str(file)!r} holds a Keras model in the old HDF5 format: pass keras.models.load_model({str(file)!r}), "
            "or save that as a .keras file and pass it."
        )
    return (
        f"{str(file)!r} holds weights without their network. Pass the network, and the file as its weights (weights=, "
        "--weights), such as applications:ResNet50; or a Keras model that has loaded them."
    )
