"""The allocator: memory that TensorFlow frees is kept, since it wants as much again in the next step.

glibc gives large blocks back to the system at once, which clears every page of the next ones anew: a third of the
processor's time when training MiniLM on two cores.
"""

import ctypes
import os
import sys

# Options of mallopt(3): a single arena, no blocks by mmap, freed memory stays.
_OPTIONS = {-8: 1, -4: 0, -1: 2**31 - 1}


def keep_freed_memory() -> bool:
    """Have the C library keep what this process frees; it costs no more than the most that was ever in use.

    It has to come before TensorFlow's threads start. Where there is no glibc, or the environment variable
    TFEMBED_ALLOCATOR is `system`, nothing happens.

    Returns:
        Whether it does so now.
    """
    if sys.platform != "linux" or os.environ.get("TFEMBED_ALLOCATOR") == "system":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and sum(mallopt(option, value) for option, value in _OPTIONS.items()) == len(_OPTIONS)
