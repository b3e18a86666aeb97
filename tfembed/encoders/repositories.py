"""Repositories of the Hugging Face Hub, downloaded once: whole and checked, or not at all."""

import functools
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

CONFIG, WEIGHTS, PICKLES = "config.json", "model.safetensors", "pytorch_model*.bin"
# What a model may consist of; weights in other formats lie beside it and are left there.
_WANTED = ["README.md", "*.json", "*.txt", "*.model", "*.safetensors", "model*.weights.h5", "assets/*"]
_UNWANTED = ["onnx/*", "openvino/*", "coreml/*", "*/onnx/*", "*/openvino/*", "checkpoint-*", "runs/*"]
_WEIGHTS = ("*.safetensors", "*.weights.h5")
_SHA256 = re.compile("[0-9a-f]{64}")


def fetch(name: str, *, trust: bool = False) -> Path:
    """The folder of a model, downloaded if it is not in the cache of huggingface_hub.

    What is in the cache is taken as it is, without a look at the network: pass a revision for another state.

    Args:
        name: `owner/name`, or `owner/name@revision` with a branch, a tag or a commit.
        trust: Whether weights may be pickles, where there are no others.

    Returns:
        The folder; its files may be links into the cache.

    Raises:
        ValueError: If there is no such model, or it is not open to everyone.
        ConnectionError: If it must be downloaded and cannot be, or arrives damaged.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    download = functools.partial(
        snapshot_download,
        repository,
        revision=revision or None,
        ignore_patterns=_UNWANTED,
        endpoint=os.environ.get("HF_ENDPOINT"),
    )
    folder = _fetched(name, functools.partial(download, allow_patterns=_WANTED))
    if trust and not _has_weights(folder):
        folder = _downloaded(name, functools.partial(download, allow_patterns=[*_WANTED, PICKLES, f"*/{PICKLES}"]))
    return folder


def _fetched(name: str, download: Callable[..., str]) -> Path:
    """The folder as it is in the cache, if it has weights there; else as it is downloaded."""
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(download(local_files_only=True))
    except HFValidationError as error:
        raise ValueError(f"'hf://{name}' is no handle: expected hf://owner/name. Look for it on {_site()}.") from error
    except LocalEntryNotFoundError:
        return _downloaded(name, download)
    return folder if _has_weights(folder) else _downloaded(name, download)  # or what another program needed of it


def _has_weights(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in (*_WEIGHTS, PICKLES))


def _downloaded(name: str, download: Callable[[], str]) -> Path:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        folder = Path(download())
    except GatedRepoError as error:
        page = f"{_site()}/{name.partition('@')[0]}"
        raise ValueError(
            f"'hf://{name}' is open only to those who agreed to its terms: do so on {page}, then run `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ValueError(f"There is no 'hf://{name}' on {_site()}: look for its name there.") from error
    except Exception as error:  # the HTTP client's errors have no class in common with huggingface_hub's own
        if isinstance(error, ValueError | TypeError):
            raise
        raise ConnectionError(_offline(name, error)) from error
    _check(folder, name)
    return folder


def _offline(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200].removesuffix(".")
    repository, _, revision = name.partition("@")
    return (
        f"'hf://{name}' could not be downloaded: {reason}. Without internet, fetch {CONFIG} and {WEIGHTS}, and with "
        "them tokenizer_config.json, the vocabulary (vocab.txt; or vocab.json and merges.txt; or the .model file), "
        "modules.json with the folders that it names, or preprocessor_config.json, as far as there are any, from "
        f"{_site()}/{repository}/tree/{revision or 'main'} elsewhere; put them into a folder, and pass the folder."
    )


def _site() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _check(folder: Path, name: str) -> None:
    """Check the files against the checksums by which the Hub names them."""
    for path in (*folder.rglob("*.safetensors"), *folder.rglob(PICKLES)):
        stored = path.resolve()
        if _SHA256.fullmatch(stored.name) is None:
            continue
        with stored.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != stored.name:
            path.unlink()
            stored.unlink(missing_ok=True)
            raise ConnectionError(
                f"'hf://{name}' arrived damaged: {path.name} has SHA-256 {digest}, expected {stored.name}. It was "
                "removed; load it again."
            )
