"""Which versions are installed of what tfembed stands on. Imports none of it."""

import platform
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


def installed() -> dict[str, str | None]:
    """The version of Python and of each distribution; None for one that is not installed.

    Example:
        >>> installed()["python"].count(".")
        2
    """
    return {"python": platform.python_version()} | {name: version_of(name) for name in DISTRIBUTIONS}


def version_of(distribution: str) -> str | None:
    """The version of a distribution; None where it is not installed.

    Example:
        >>> version_of("no-such-thing") is None
        True
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
