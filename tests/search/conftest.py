"""Fixtures of the tests of searches."""

import pytest

from tfembed.search import runner


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the costly baselines, in tests of something else."""
    monkeypatch.setattr(runner, "thorough", lambda *_: {})
