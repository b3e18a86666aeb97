"""The `output_shape` of a layer: reading what a user wrote, setting it on tensors, and its JSON form."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def parse_output_shape(value: Any) -> Any:
    """Turn a nest of shapes, as tuples, lists or tf.TensorShape, into a nest of tf.TensorShape.

    Lists of sizes and None are shapes; lists of shapes and dicts are the nest.

    Raises:
        ValueError: If a leaf is no shape.

    Example:
        >>> parse_output_shape({"words": (None, 4), "mean": [4]})
        {'words': TensorShape([None, 4]), 'mean': TensorShape([4])}
    """
    if value is None or isinstance(value, tf.TensorShape):
        return value
    if isinstance(value, dict):
        return {key: parse_output_shape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if all(size is None or isinstance(size, int) for size in value):
            return tf.TensorShape(value)
        return [parse_output_shape(item) for item in value]
    raise ValueError(
        f"Got {value!r} in output_shape. Expected a shape without batch size, such as [20], or a nest of shapes like "
        "the module's outputs."
    )


def output_shape_config(shapes: Any) -> Any:
    """The JSON form of what `parse_output_shape` returns: lists of sizes and None."""
    if shapes is None:
        return None
    if isinstance(shapes, dict):
        return {key: output_shape_config(item) for key, item in shapes.items()}
    if isinstance(shapes, list):
        return [output_shape_config(item) for item in shapes]
    return shapes.as_list()


def set_shapes(result: Any, shapes: Any, batch: tf.TensorShape, name: str = "output") -> None:
    """Set static shapes on tensors, walking both nests alike.

    Args:
        result: A tensor or a nest of tensors.
        shapes: What `parse_output_shape` returned.
        batch: The batch size in front of each, as a shape of rank 1.
        name: What the errors call the result.

    Raises:
        ValueError: If the nests are built differently, or a tensor has another shape.
    """
    if isinstance(shapes, tf.TensorShape):
        _set_shape(result, batch.concatenate(shapes), name)
    elif isinstance(shapes, dict) and isinstance(result, Mapping) and set(shapes) == set(result):
        for key, shape in shapes.items():
            set_shapes(result[key], shape, batch, f"{name}[{key!r}]")
    elif isinstance(shapes, list) and isinstance(result, list | tuple) and len(shapes) == len(result):
        for place, (item, shape) in enumerate(zip(result, shapes, strict=True)):
            set_shapes(item, shape, batch, f"{name}[{place}]")
    else:
        found = sorted(result) if isinstance(result, Mapping) else type(result).__name__
        raise ValueError(
            f"output_shape gives {shapes} for {name}, which is {found}. Expected a nest of shapes built like the "
            "module's outputs; change output_shape, or leave it out."
        )


def _set_shape(tensor: Any, shape: tf.TensorShape, name: str) -> None:
    if not hasattr(tensor, "shape") or not tensor.shape.is_compatible_with(shape):
        raise ValueError(
            f"output_shape gives {shape} (batch size first) for {name}, which has shape "
            f"{getattr(tensor, 'shape', None)}. Expected shapes that agree; change output_shape, or leave it out."
        )
    if isinstance(tensor, tf.Tensor):
        tensor.set_shape(shape)
