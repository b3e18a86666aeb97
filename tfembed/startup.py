"""The start of a command or a notebook: TensorFlow takes seconds to import, and logs before it begins to obey."""

import os
import sys

from tfembed.allocator import keep_freed_memory
from tfembed.backend import check_backend


def in_notebook() -> bool:
    """True in the kernel of a notebook."""
    return "ipykernel" in sys.modules


def import_tensorflow() -> None:
    """Import TensorFlow without what it logs before it begins to obey TF_CPP_MIN_LOG_LEVEL.

    Raises:
        ValueError: If Keras is set to another backend.
    """
    check_backend()
    if "tensorflow" in sys.modules or os.environ.get("TFEMBED_DEBUG"):
        return
    from tfembed.progress import waiting

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_freed_memory()
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere, open(kept, "w", closefd=False) as people:
            os.dup2(nowhere.fileno(), 2)
            with waiting("Loading TensorFlow", people):
                import tensorflow  # noqa: F401
                import tensorflow_text  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
