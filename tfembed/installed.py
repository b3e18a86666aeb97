"""Which versions are installed of what tfembed stands on. Imports none of it."""

import platform
from contextlib import suppress
from importlib import metadata

DISTRIBUTIONS = (
    "tfembed",
    "tensorflow",
    "tensorflow-text",
    "keras",
    "keras-hub",
    "keras-nlp",
    "keras-tuner",
    "tensorflow-hub",
    "setuptools",
    "numpy",
)

# Distributions that bring the same package under another name.
_SAME = {"tensorflow": ("tensorflow-cpu",)}


def installed() -> dict[str, str | None]:
    """The version of Python and of each distribution; None for one that is not installed.

    Example:
        >>> installed()["python"].count(".")
        2
    """
    return {"python": platform.python_version()} | {name: version_of(name) for name in DISTRIBUTIONS}


def version_of(distribution: str) -> str | None:
    """The version of a distribution, or of one that brings the same package; None where there is none.

    Example:
        >>> version_of("no-such-thing") is None
        True
    """
    for name in (distribution, *_SAME.get(distribution, ())):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None
