"""Batches out of the inputs of several requests, and their outputs back again."""

import numpy as np

from tfembed.serving.status import Code, ServingError


def join(feeds: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One batch of several; values of different shapes are padded to the largest one with zeros or empty strings.

    Example:
        >>> join([{"x": np.array([[1, 2]])}, {"x": np.array([[3]])}])["x"].tolist()
        [[1, 2], [3, 0]]
    """
    if len(feeds) == 1:
        return feeds[0]
    return {name: _concatenate([each[name] for each in feeds]) for name in feeds[0]}


def split_rows(feeds: dict[str, np.ndarray], size: int, largest: int) -> list[tuple[dict[str, np.ndarray], int]]:
    """The inputs of a request in parts of so many rows at most, each with its size.

    Example:
        >>> [(part["x"].tolist(), size) for part, size in split_rows({"x": np.array([7, 8, 9])}, 3, 2)]
        [([7, 8], 2), ([9], 1)]
    """
    if size <= largest:
        return [(feeds, size)]
    return [
        ({name: value[start : start + largest] for name, value in feeds.items()}, min(largest, size - start))
        for start in range(0, size, largest)
    ]


def pad_rows(feeds: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Bring a batch to a size by repeating its first row.

    Example:
        >>> pad_rows({"x": np.array([7, 8, 9])}, 4)["x"].tolist()
        [7, 8, 9, 7]
    """
    return {
        name: np.concatenate([value, np.repeat(value[:1], size - len(value), axis=0)])
        if 0 < len(value) < size
        else value
        for name, value in feeds.items()
    }


def split(outputs: list[np.ndarray], sizes: list[int], total: int) -> list[list[np.ndarray]]:
    """The outputs of each request in those of a batch.

    Args:
        outputs: Of the batch.
        sizes: How many rows belong to each request.
        total: Rows of the batch, with those that it was padded by.

    Raises:
        ServingError: If an output does not have a row for each row of the batch.

    Example:
        >>> split([np.array([1, 2, 3, 0])], [1, 2], 4)
        [[array([1])], [array([2, 3])]]
    """
    if len(sizes) == 1 and sizes[0] == total:
        return [outputs]
    for output in outputs:
        if output.ndim == 0:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(output) != total:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    ends = np.cumsum(sizes).tolist()
    bounds = list(zip([0, *ends], ends, strict=False))
    return [[output[start:end] for output in outputs] for start, end in bounds]


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    if len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    shape = np.max([array.shape[1:] for array in arrays], axis=0)
    empty = b"" if arrays[0].dtype == object else 0
    joined = np.full((sum(map(len, arrays)), *shape), empty, arrays[0].dtype)
    start = 0
    for array in arrays:
        joined[(slice(start, start + len(array)), *map(slice, array.shape[1:]))] = array
        start += len(array)
    return joined
