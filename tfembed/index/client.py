"""pymilvus, imported where it is needed, and without the tracebacks that it logs of errors that are raised."""

import logging
from typing import Any

_NOISY = ("pymilvus.decorators", "milvus_lite.server_manager", "grpc._server")  # they log tracebacks of errors


def load_pymilvus() -> Any:
    """The package, once it is known to be there.

    Raises:
        ValueError: If it is not installed, or cannot open local files.
    """
    try:
        import milvus_lite  # noqa: F401 - what pymilvus opens local files with
        import pymilvus
    except ImportError as error:
        raise ValueError(f"An index needs {error.name}. Install it with: pip install 'tfembed[index]'") from error
    for name in _NOISY:
        logging.getLogger(name).addFilter(_is_news)
    return pymilvus


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record says more than the error that is raised, or that Milvus Lite lacks what nobody asked for."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name == "grpc._server" and not isinstance(error, NotImplementedError)
