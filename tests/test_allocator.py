"""The allocator keeps what TensorFlow frees."""

import subprocess
import sys

import pytest

from tfembed.allocator import keep_freed_memory

PROGRAM = """
import resource
from tfembed.allocator import keep_freed_memory

kept = keep_freed_memory()
for _ in range(100):
    b"x" * 40_000_000
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def _pages(allocator: str) -> tuple[str, int]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"TFEMBED_ALLOCATOR": allocator},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, pages = run.stdout.split()
    return kept, int(pages)


@pytest.mark.skipif(not keep_freed_memory(), reason="there is no glibc, or TFEMBED_ALLOCATOR is system")
def test_freed_memory_is_kept() -> None:
    """A hundred blocks of 40 MB, one after the other, take new pages once; TFEMBED_ALLOCATOR=system leaves it alone."""
    kept, few = _pages("")
    left, many = _pages("system")
    assert (kept, left) == ("True", "False")
    assert many > 10 * few
