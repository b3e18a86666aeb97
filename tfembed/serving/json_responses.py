"""From arrays and results to the JSON bodies of REST answers, laid out as TensorFlow Serving lays them out."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfembed.serving.json_text import decimals, encode, quote
from tfembed.serving.status import invalid
from tfembed.serving.tensors import enum_of, type_name

_INDENT = "    "


def write_predictions(arrays: dict[str, np.ndarray], *, row_format: bool) -> bytes:
    """The body of a predict answer: `predictions` of rows, or `outputs` by name; one output drops its name.

    Raises:
        ServingError: If there is no output, a type has no JSON, or rows do not match.

    Example:
        >>> print(write_predictions({"y": np.array([2.5, 3.0])}, row_format=True).decode())
        {
            "predictions": [2.5, 3.0
            ]
        }
    """
    if not arrays:
        raise invalid("Cannot convert empty tensor map to JSON")
    if row_format:
        return encode(_rows(arrays))
    texts = {name: _Values(name, array) for name, array in arrays.items()}
    if len(texts) == 1:
        return encode(f'{{\n{_INDENT}"outputs": {next(iter(texts.values())).column(1)}\n}}')
    members = ",\n".join(f"{_INDENT * 2}{quote(name)}: {values.column(2)}" for name, values in texts.items())
    return encode(f'{{\n{_INDENT}"outputs": {{\n{members}\n{_INDENT}}}\n}}')


def write_classifications(result: Any) -> bytes:
    """The body of a classify answer from a ClassificationResult.

    Raises:
        ServingError: If it is empty.
    """
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for row in result.classifications:
        scores = decimals(np.array([each.score for each in row.classes], np.float32))
        pairs = zip(row.classes, scores, strict=True)
        rows.append("[" + ", ".join(f"[{quote(each.label)}, {score}]" for each, score in pairs) + "]")
    return encode(f'{{\n{_INDENT}"results": [{", ".join(rows)}\n{_INDENT}]\n}}')


def write_regressions(result: Any) -> bytes:
    """The body of a regress answer from a RegressionResult.

    Raises:
        ServingError: If it is empty.
    """
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    values = decimals(np.array([each.value for each in result.regressions], np.float32))
    return encode(f'{{\n{_INDENT}"results": [{", ".join(values)}]\n}}')


def _rows(arrays: dict[str, np.ndarray]) -> str:
    size = None
    for name, array in arrays.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and len(array) != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}")
        size = len(array)
    columns = {name: _Values(name, array) for name, array in arrays.items()}
    if len(columns) == 1:
        inner = ", ".join(next(iter(columns.values())).rows())
        return f'{{\n{_INDENT}"predictions": [{inner}\n{_INDENT}]\n}}'
    lines = []
    names = [quote(name) for name in columns]
    for values in zip(*(values.rows() for values in columns.values()), strict=True):
        members = ",\n".join(f"{_INDENT * 3}{name}: {value}" for name, value in zip(names, values, strict=True))
        lines.append(f"{_INDENT * 2}{{\n{members}\n{_INDENT * 2}}}")
    body = ",\n".join(lines)
    return f'{{\n{_INDENT}"predictions": [\n{body}\n{_INDENT}]\n}}'


class _Values:
    """The values of one tensor as JSON, to be put together row by row or as a whole."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.shape = array.shape
        self.texts = _texts(array.ravel(), as_base64=name.endswith("_bytes"))

    def rows(self) -> Iterator[str]:
        """Each entry of the first dimension, on one line."""
        width = int(np.prod(self.shape[1:]))
        for i in range(self.shape[0]):
            yield _nest(self.texts[i * width : (i + 1) * width], self.shape[1:])

    def column(self, level: int) -> str:
        """The whole tensor, a value or list to a line."""
        return _nest_lines(self.texts, self.shape, level)


def _texts(flat: np.ndarray, *, as_base64: bool) -> list[str]:
    kind = flat.dtype.kind
    if kind == "O" or kind in "SU":
        values = [value.encode() if isinstance(value, str) else value for value in flat.tolist()]
        if as_base64:
            return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in values]
        return [quote(value) for value in values]
    if kind == "b":
        return ["true" if value else "false" for value in flat.tolist()]
    if kind in "iu":
        return [str(value) for value in flat.tolist()]
    if kind == "f" or flat.dtype.name == "bfloat16":
        return decimals(flat)
    raise invalid(f"Failed to write JSON value for tensor type: {type_name(enum_of(flat))}")


def _nest(texts: list[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return texts[0]
    if len(shape) == 1:
        return "[" + ", ".join(texts) + "]"
    width = int(np.prod(shape[1:]))
    inner = (_nest(texts[i * width : (i + 1) * width], shape[1:]) for i in range(shape[0]))
    return "[" + ", ".join(inner) + "]"


def _nest_lines(texts: list[str], shape: tuple[int, ...], level: int) -> str:
    if not shape:
        return texts[0]
    if not shape[0]:
        return "[]"
    width = int(np.prod(shape[1:]))
    inner = (_nest_lines(texts[i * width : (i + 1) * width], shape[1:], level + 1) for i in range(shape[0]))
    before = "\n" + _INDENT * (level + 1)
    return "[" + before + ("," + before).join(inner) + "\n" + _INDENT * level + "]"
