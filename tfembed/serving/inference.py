"""What a loaded version answers: predict, classify, regress, several of these at once, and its metadata."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2, inference_pb2

from tfembed.serving.results import (
    classification_tensors,
    read_classifications,
    read_regressions,
    regression_tensors,
)
from tfembed.serving.servable import DEFAULT_SIGNATURE, Servable
from tfembed.serving.status import Code, ServingError, invalid
from tfembed.serving.tensors import MAX_RANK, read_tensor

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress"))

# Runs a servable: given feeds and fetches by names of tensors and the seconds left, it returns the fetches' values.
Runner = Callable[[Servable, dict[str, np.ndarray], list[str], float | None], list[np.ndarray]]


def run_directly(
    servable: Servable, feeds: dict[str, np.ndarray], fetches: list[str], timeout: float | None
) -> list[np.ndarray]:
    """Run a request by itself."""
    return servable.run(feeds, fetches, timeout)


class Inference:
    """One request to one servable.

    Args:
        servable: What answers it.
        runner: How the servable is run: directly, or in batches with others.
        deadline: By when it must be done, on the clock of time.monotonic.
    """

    def __init__(self, servable: Servable, runner: Runner = run_directly, deadline: float | None = None) -> None:
        self.servable, self.num_examples, self.seconds = servable, 0, 0.0
        self._runner, self._deadline = runner, deadline

    def predict(
        self, arrays: dict[str, np.ndarray], signature_name: str = "", output_filter: tuple[str, ...] = ()
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature by name.

        Raises:
            ServingError: If the inputs or the filter do not fit the signature, or the model fails.
        """
        missing = ServingError(
            Code.FAILED_PRECONDITION, f'Serving signature key "{signature_name or DEFAULT_SIGNATURE}" not found.'
        )
        signature = self.servable.signature(signature_name, missing)
        feeds = _feeds(signature, arrays)
        names = _filtered(signature, output_filter)
        fetches = sorted({signature.outputs[name].name for name in names})
        found = dict(zip(fetches, self._run(feeds, fetches), strict=True))
        return {name: found[signature.outputs[name].name] for name in names}

    def classify(self, request_input: Any, signature_name: str) -> Any:
        """A ClassificationResult for the examples of an Input.

        Raises:
            ServingError: If the signature is none that classifies, or the model fails.
        """
        signature = self._by_method(signature_name)
        fed, fetches = classification_tensors(signature)
        outputs = self._on_examples(request_input, [fed], fetches)
        return read_classifications(signature, outputs, self.num_examples)

    def regress(self, request_input: Any, signature_name: str) -> Any:
        """A RegressionResult for the examples of an Input.

        Raises:
            ServingError: If the signature is none that regresses, or the model fails.
        """
        signature = self._by_method(signature_name)
        fed, fetches = regression_tensors(signature)
        outputs = self._on_examples(request_input, [fed], fetches)
        return read_regressions(signature, outputs, self.num_examples)

    def multi(self, request: Any) -> Any:
        """A MultiInferenceResponse: several signatures of one model on the same examples, in one run.

        Raises:
            ServingError: If the tasks do not go together, or the model fails.
        """
        signatures = [self._task(task, request.tasks[:i]) for i, task in enumerate(request.tasks)]
        tensors = [
            classification_tensors(signature) if task.method_name == CLASSIFY else regression_tensors(signature)
            for task, signature in zip(request.tasks, signatures, strict=True)
        ]
        response = inference_pb2.MultiInferenceResponse()
        if not tensors:
            return response
        fed = sorted({name for name, _ in tensors})  # one in TensorFlow 1; in TensorFlow 2 each signature has its own
        outputs = self._on_examples(request.input, fed, sorted({name for _, names in tensors for name in names}))
        for task, signature in zip(request.tasks, signatures, strict=True):
            result = response.results.add()
            self.write_spec(result.model_spec, task.model_spec.signature_name or DEFAULT_SIGNATURE)
            if task.method_name == CLASSIFY:
                result.classification_result.CopyFrom(read_classifications(signature, outputs, self.num_examples))
            else:
                result.regression_result.CopyFrom(read_regressions(signature, outputs, self.num_examples))
        return response

    def write_spec(self, spec: Any, signature_name: str) -> None:
        """Write into a ModelSpec who answered."""
        spec.name, spec.signature_name = self.servable.name, signature_name
        spec.version.value = self.servable.version

    def _task(self, task: Any, earlier: Any) -> Any:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != self.servable.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if any(name == (other.model_spec.signature_name or DEFAULT_SIGNATURE) for other in earlier):
            raise invalid(f"Duplicate evaluation of signature: {name}")
        signature = self.servable.signature(name, invalid(f"Requested signature not found in model graph: {name}"))
        if task.method_name not in (CLASSIFY, REGRESS):
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        return signature

    def _by_method(self, signature_name: str) -> Any:
        missing = invalid(f"No signature was found with the name: {signature_name or DEFAULT_SIGNATURE}")
        return self.servable.signature(signature_name, missing)

    def _on_examples(self, request_input: Any, fed: list[str], fetches: list[str]) -> dict[str, np.ndarray]:
        examples = serialized_examples(request_input)
        self.num_examples = len(examples)
        return dict(zip(fetches, self._run(dict.fromkeys(fed, examples), fetches), strict=True))

    def _run(self, feeds: dict[str, np.ndarray], fetches: list[str]) -> list[np.ndarray]:
        started = time.monotonic()
        left = None if self._deadline is None else self._deadline - started
        if left is not None and left <= 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the model was run.")
        try:
            return self._runner(self.servable, feeds, fetches, left)
        finally:
            self.seconds = time.monotonic() - started


def serialized_examples(request_input: Any) -> np.ndarray:
    """The examples of an Input, serialized, each after its context if there is one: strings `(n,)`.

    Raises:
        ServingError: If there is none.
    """
    kind = request_input.WhichOneof("kind")
    context = b""
    examples: list[Any] = []
    if kind == "example_list":
        examples = list(request_input.example_list.examples)
    elif kind == "example_list_with_context":
        context = request_input.example_list_with_context.context.SerializeToString()
        examples = list(request_input.example_list_with_context.examples)
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def metadata(servable: Servable, fields: list[str]) -> Any:
    """A GetModelMetadataResponse.

    Raises:
        ServingError: If it is asked for anything but `signature_def`.
    """
    if not fields:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != "signature_def":
            raise invalid(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name, response.model_spec.version.value = servable.name, servable.version
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        found.signature_def[name].CopyFrom(signature)
    response.metadata["signature_def"].Pack(found)
    return response


def _feeds(signature: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given, wanted = set(arrays), set(signature.inputs)
    if len(given) > len(wanted) or (len(given) < len(wanted) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(given)}!={len(wanted)} len({_braced(given)}) != "
            f"len({_braced(wanted)}). Sent extra: {_braced(given - wanted)}. Missing but required: "
            f"{_braced(wanted - given)}."
        )
    for name in given - wanted:
        raise invalid(
            f"input tensor alias not found in signature: {name}. Inputs expected to be in the set {_braced(wanted)}."
        )
    feeds = {}
    for name, info in signature.inputs.items():
        if name in arrays:
            _check_rank(name, info, arrays[name])
            feeds[info.name] = arrays[name]
        elif name in signature.defaults:
            feeds[info.name] = read_tensor(name, signature.defaults[name])
        else:
            raise invalid(f"Signature default for input {name} is missing, and the request does not have it.")
    return feeds


def _check_rank(name: str, info: Any, array: np.ndarray) -> None:
    """Refuse ranks on which operations, such as convolutions, end the process in place of the request.

    Scalars, vectors and matrices are taken for each other: TensorFlow Serving's own tests feed a vector into `[-1, 1]`.

    Raises:
        ServingError: If the rank is another one than the declared one of 3 or more, or beyond what can be fed.
    """
    if array.ndim > MAX_RANK:
        raise invalid(f"input {name} has {array.ndim} dimensions, and may have {MAX_RANK}")
    declared = info.tensor_shape
    if not info.HasField("tensor_shape") or declared.unknown_rank or array.ndim == len(declared.dim):
        return
    sizes = [dimension.size for dimension in declared.dim]
    if max(len(sizes), array.ndim) > 2:
        raise invalid(f"input {name} has shape {list(array.shape)}, and is declared with shape {sizes}")


def _filtered(signature: Any, output_filter: tuple[str, ...]) -> list[str]:
    for i, name in enumerate(output_filter):
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{_braced(set(signature.outputs))}."
            )
        if name in output_filter[:i]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return list(output_filter) or sorted(signature.outputs)


def _braced(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
