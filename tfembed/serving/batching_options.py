"""How requests are batched: the parameters of TensorFlow Serving's file."""

import os
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingOptions:
    """The parameters of TensorFlow Serving's batching_parameters_file, with its defaults.

    Attributes:
        max_batch_size: Rows in a batch, and of a request, at most.
        max_execution_batch_size: Rows in a batch at most, where larger requests are split; None where they are not.
        batch_timeout_micros: How long a batch may wait to become full.
        max_enqueued_batches: Batches that may wait; a request that finds as many is refused.
        num_batch_threads: Batches that are run at the same time.
        allowed_batch_sizes: Sizes that batches are padded to; none to leave them as they are.
        pad_variable_length_inputs: Whether inputs of different shapes are padded to one, to share a batch.
    """

    max_batch_size: int = 1000
    max_execution_batch_size: int | None = None
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive; was {getattr(self, name)}")
        if self.batch_timeout_micros < 0:
            raise ValueError(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if not 1 <= self.largest <= self.max_batch_size:
            raise ValueError(
                f"max_execution_batch_size must be positive and at most max_batch_size, {self.max_batch_size}; was "
                f"{self.largest}"
            )
        sizes = self.allowed_batch_sizes
        if sizes and any(a >= b for a, b in pairwise(sizes)):
            raise ValueError(f"allowed_batch_sizes entries must be monotonically increasing; was {list(sizes)}")
        if sizes and sizes[-1] not in (self.largest, self.max_batch_size):
            raise ValueError(
                f"final entry in allowed_batch_sizes must equal max_batch_size, {self.max_batch_size}, or, with "
                f"enable_large_batch_splitting, max_execution_batch_size; was {sizes[-1]}"
            )

    @property
    def largest(self) -> int:
        """Rows that are run together at most."""
        return self.max_batch_size if self.max_execution_batch_size is None else self.max_execution_batch_size


def read_options(message: Any) -> BatchingOptions:
    """The options in a BatchingParameters proto.

    Raises:
        ValueError: If a value is out of its range.
    """
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(message, name).value for name in names if message.HasField(name)}
    if message.enable_large_batch_splitting.value:
        name = "max_execution_batch_size"
        given[name] = getattr(message, name if message.HasField(name) else "max_batch_size").value
    return BatchingOptions(
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        **given,
    )
