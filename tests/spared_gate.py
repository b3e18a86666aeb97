"""Exports without the fresh process that looks at them, which takes seconds, where a test is of something else."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest


@contextmanager
def spared_gate() -> Iterator[None]:
    """What is exported in here is published as it is, and no process is started."""
    exporting = importlib.import_module("tfembed.export.exporting")  # its name in tfembed.export is the function's
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "check", lambda *_: None)
        patch.setattr(exporting, "fresh_process", nullcontext)
        yield
