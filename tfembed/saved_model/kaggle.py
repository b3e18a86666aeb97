"""Modules of Kaggle in kagglehub's cache, and how they get there. The only importer of kagglehub here."""

import re

_ADDRESS = re.compile(r"(?:https?://(?:www\.)?kaggle\.com/models/|kaggle://)([^?]+?)/*")


def cached_folder(address: str) -> str | None:
    """The folder of a module that kagglehub has downloaded whole; None if it has not, or the address is another's.

    Args:
        address: `kaggle://OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`, or its page on kaggle.com.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    from kagglehub.cache import Cache
    from kagglehub.handle import parse_model_handle

    try:
        return Cache().load_from_cache(parse_model_handle(found.group(1)))
    except ValueError:  # not of this form
        return None


def download(address: str) -> str:
    """Download a module into kagglehub's cache, unless it is there; kagglehub shows progress.

    Args:
        address: `kaggle://OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`; without a version, the newest one.

    Returns:
        The folder.

    Raises:
        ValueError: If there is no such module.
        ConnectionError: If it cannot be reached.
    """
    import kagglehub
    from kagglehub import exceptions

    name = address.removeprefix("kaggle://").rstrip("/")
    try:
        return kagglehub.model_download(name)
    except (exceptions.KaggleApiHTTPError, exceptions.NotFoundError, exceptions.UnauthenticatedError) as error:
        raise ValueError(
            f"{address!r} cannot be had: {_one_line(error)}. Look for it on https://www.kaggle.com/models; some need "
            "an account, see kagglehub."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{address!r} is no module of Kaggle: {_one_line(error)}. Expected kaggle://OWNER/MODEL/FRAMEWORK/VARIATION"
            "/VERSION, such as kaggle://google/nnlm/tensorFlow2/en-dim128/1."
        ) from error
    except (OSError, exceptions.BackendError, exceptions.DataCorruptionError) as error:
        raise ConnectionError(f"Cannot download {address!r}: {_one_line(error)}. {by_hand(address)}") from error


def by_hand(address: str) -> str:
    """How to get what `kaggle://...` names onto a machine without a network."""
    return (
        f"Without internet, run kagglehub.model_download({address.removeprefix('kaggle://').rstrip('/')!r}) on a "
        "machine that can, and copy its cache (KAGGLEHUB_CACHE, or ~/.cache/kagglehub), or pass the folder itself."
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].removesuffix(".")
