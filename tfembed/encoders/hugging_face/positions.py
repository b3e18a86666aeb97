"""Positions of a vision transformer fitted to images of another size, as PyTorch does it."""

import numpy as np
import tensorflow as tf

_A = -0.75  # PyTorch's cubic kernel; that of TensorFlow, and of PyTorch where it smooths, has -0.5


def fit_positions(positions: np.ndarray, grid: int, *, smooth: bool) -> np.ndarray:
    """Fit the positions of a square of patches to a square of another size.

    Args:
        positions: `(1, 1 + number, dim)`; the first is that of the class token, and stays.
        grid: Patches along the side that is wanted.
        smooth: Whether PyTorch was asked to smooth (`antialias=True`).

    Returns:
        `(1, 1 + grid * grid, dim)`.

    Example:
        >>> fit_positions(np.ones([1, 10, 2], "float32"), 2, smooth=False).shape
        (1, 5, 2)
    """
    given = round((positions.shape[1] - 1) ** 0.5)
    if given == grid:
        return positions
    square = positions[:, 1:].reshape(1, given, given, -1)
    if smooth:
        fitted = tf.image.resize(square, (grid, grid), "bicubic", antialias=True).numpy()
    else:
        matrix = _cubic(given, grid)
        fitted = np.einsum("ai,bj,nijd->nabd", matrix, matrix, square).astype(positions.dtype)
    return np.concatenate([positions[:, :1], fitted.reshape(1, grid * grid, -1)], axis=1)


def _cubic(given: int, wanted: int) -> np.ndarray:
    """The weights of cubic interpolation between pixels' middles, `(wanted, given)`; the edge is repeated."""
    middle = (np.arange(wanted) + 0.5) * given / wanted - 0.5
    first = np.floor(middle).astype(int)
    matrix = np.zeros((wanted, given))
    for offset in (-1, 0, 1, 2):
        distance = np.abs(middle - first - offset)
        near = (_A + 2) * distance**3 - (_A + 3) * distance**2 + 1
        far = _A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        np.add.at(matrix, (np.arange(wanted), np.clip(first + offset, 0, given - 1)), np.where(distance < 1, near, far))
    return matrix
