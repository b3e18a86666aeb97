"""Signatures that classify and regress: their tensors, and results from the values of these."""

from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tfembed.serving.status import Code, ServingError, invalid
from tfembed.serving.tensors import enum_of


def classification_tensors(signature: Any) -> tuple[str, list[str]]:
    """The names of the tensors that a signature that classifies is fed with, and gives.

    Raises:
        ServingError: If it has not one input `inputs`, and `classes` or `scores` or both.
    """
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    fed = _input_named_inputs(signature, "classification")
    names = [signature.outputs[name].name for name in ("classes", "scores") if name in signature.outputs]
    if not names:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature '
            f"was: {text_format.MessageToString(signature)}",
        )
    return fed, names


def regression_tensors(signature: Any) -> tuple[str, list[str]]:
    """The names of the tensors that a signature that regresses is fed with, and gives.

    Raises:
        ServingError: If it has not one input `inputs` and one output `outputs`.
    """
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    fed = _input_named_inputs(signature, "regression")
    if "outputs" not in signature.outputs:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"No regression outputs found in SignatureDef: {text_format.MessageToString(signature)}",
        )
    return fed, [signature.outputs["outputs"].name]


def _input_named_inputs(signature: Any, kind: str) -> str:
    if "inputs" not in signature.inputs:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"No {kind} inputs found in SignatureDef: {text_format.MessageToString(signature)}",
        )
    return signature.inputs["inputs"].name


def read_classifications(signature: Any, outputs: dict[str, np.ndarray], num_examples: int) -> Any:
    """The ClassificationResult in the values of tensors.

    Raises:
        ServingError: If they are not one row of labels and scores for each example.
    """
    found = {name: outputs[signature.outputs[name].name] for name in ("classes", "scores") if name in signature.outputs}
    for name, dtype in (("classes", tf.string), ("scores", tf.float32)):
        if name in found:
            _check_rows(name, found[name], dtype, num_examples)
    widths = [array.shape[1] for array in found.values()]
    if len(set(widths)) > 1:
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
    labels = found.get("classes", np.full((num_examples, widths[0]), b"", object))
    scores = found.get("scores", np.zeros((num_examples, widths[0]), np.float32))
    result = classification_pb2.ClassificationResult()
    for row_of_labels, row_of_scores in zip(labels.tolist(), scores.tolist(), strict=True):
        row = result.classifications.add()
        for label, score in zip(row_of_labels, row_of_scores, strict=True):
            row.classes.add(label=label.decode("utf-8", "replace"), score=score)
    return result


def _check_rows(name: str, array: np.ndarray, dtype: Any, num_examples: int) -> None:
    if array.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_bracketed(array)}")
    if enum_of(array) != dtype.as_datatype_enum:
        raise invalid(f"Expected {name} Tensor of {_enum_name(dtype)}. Got: {_enum_name(_type_of(array))}")
    if len(array) != num_examples:
        raise invalid(f"Expected {name} output batch size of {num_examples}. Got: {len(array)}")


def read_regressions(signature: Any, outputs: dict[str, np.ndarray], num_examples: int) -> Any:
    """The RegressionResult in the values of tensors.

    Raises:
        ServingError: If they are not one float for each example.
    """
    array = outputs[signature.outputs["outputs"].name]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + _bracketed(array)
        )
    if len(array) != num_examples:
        raise invalid(f"Input batch size did not match output batch size: {num_examples} vs. {len(array)}")
    if enum_of(array) != tf.float32.as_datatype_enum:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_enum_name(_type_of(array))}")
    result = regression_pb2.RegressionResult()
    for value in array.ravel().tolist():
        result.regressions.add().value = value
    return result


def _bracketed(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _enum_name(dtype: Any) -> str:
    return {"float32": "DT_FLOAT", "float64": "DT_DOUBLE"}.get(dtype.name, f"DT_{dtype.name.upper()}")


def _type_of(array: np.ndarray) -> Any:
    return tf.dtypes.as_dtype(enum_of(array))
