"""What features are: named columns with one row, or one sequence, per example."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tfembed.features.arrays import DiskArray


class Source(Protocol):
    """Where batches of features come from."""

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each example; 1 where there are no tokens."""

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The features of some examples, padded to the longest of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One tensor of all examples: rows of one shape, or sequences one behind the other.

    Attributes:
        values: `(n, ...)`, or `(total length, ...)` for sequences; in memory or on disk.
        offsets: Where each sequence begins, and where the last one ends, `int64 (n + 1,)`; None for rows.
    """

    values: np.ndarray | DiskArray
    offsets: np.ndarray | None = None

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """A copy of some rows; sequences are padded with zeros to the longest."""
        values = self.values.read() if isinstance(self.values, DiskArray) else self.values
        if self.offsets is None:
            return values[rows]
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        batch = np.zeros((len(rows), int((stops - starts).max(initial=0)), *values.shape[1:]), values.dtype)
        for i, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            batch[i, : stop - start] = values[start:stop]
        return batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Features:
    """Features of all examples.

    Attributes:
        columns: By the name they have at the cut.
        lengths: Number of tokens of each example; 1 where there are no tokens.
    """

    columns: dict[str, Column]
    lengths: np.ndarray

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """See Source."""
        return {name: column.batch(rows) for name, column in self.columns.items()}
