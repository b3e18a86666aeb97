"""Quantization: what it costs is measured as it is."""

import numpy as np
import pytest

from tfembed.export.quantization import score


@pytest.mark.parametrize("unit", [1e-25, 1.0, 1e25])
def test_the_score_of_values_is_that_of_any_unit(unit: float) -> None:
    """R2 does not depend on the unit, even where float32 cannot hold the squares."""
    wanted = np.array([1.0, 2.0, 3.0], np.float32) * np.float32(unit)
    assert score("regression", wanted[:, np.newaxis], wanted) == 1
    assert score("regression", np.full([3, 1], wanted[1]), wanted) == pytest.approx(0)
