"""REST: paths, bodies and answers as TensorFlow Serving has them."""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, regression_pb2

from tfembed.serving.inference import Inference
from tfembed.serving.json_requests import Signature, read_examples, read_predict
from tfembed.serving.json_responses import write_classifications, write_predictions, write_regressions
from tfembed.serving.json_text import encode, error_body
from tfembed.serving.servable import DEFAULT_SIGNATURE, Servable
from tfembed.serving.service import Service, model_spec
from tfembed.serving.status import ServingError, invalid

_CALL = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)", re.I | re.A
)
_LOOK = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?", re.I | re.A
)
_API = re.compile(r"/v1/.*", re.I | re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP status and a JSON body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A REST request, as it came in.

    Attributes:
        method: Of HTTP.
        path: With its percent signs.
        body: Uncompressed.
        deadline: By when it must be answered, on the clock of time.monotonic.
    """

    method: str
    path: str
    body: bytes = b""
    deadline: float | None = None


def is_api_path(path: str) -> bool:
    """Whether a path is one of the API, if perhaps a malformed one.

    Example:
        >>> is_api_path("/V1/foo"), is_api_path("/index")
        (True, False)
    """
    return _API.fullmatch(path) is not None


def answer(service: Service, call: Call) -> Answer:
    """Answer a request to the API; whatever goes wrong becomes an answer, too."""
    try:
        name, version, label, what = _parse(call)
        with service.counted((what, "REST")) as counted:
            counted(name)
            if not name:
                raise invalid("Missing model name in request.")
            body = _ANSWERS[what](service, call, model_spec(name, version, label))
        return Answer(status=200, body=body)
    except ServingError as error:
        return Answer(status=error.code.http, body=error_body(error))


def _parse(call: Call) -> tuple[str, int | None, str | None, str]:
    pattern = {"POST": _CALL, "GET": _LOOK}.get(call.method)
    found = pattern.fullmatch(call.path) if pattern else None
    if found is None:
        raise invalid(f"Malformed request: {call.method} {call.path}")
    name, number, label, what = found.groups()
    if number and int(number) >= 2**63:
        raise invalid(f"Failed to convert version: {number} to numeric.")
    return (
        unquote(name or ""),
        int(number) if number else None,
        unquote(label) if label else None,
        what.lower() if what else "status",
    )


def _predict(service: Service, call: Call, spec: Any) -> bytes:
    with ExitStack() as stack:
        opened: list[Inference] = []

        def find(signature_name: str) -> Signature:
            # Only now: TensorFlow Serving says what is wrong with the body before it looks for the model.
            opened.append(stack.enter_context(service.inference(spec, "Predict", call.deadline)))
            return _signature(opened[0].servable, signature_name)

        body = read_predict(call.body, find)
        outputs = opened[0].predict(body.arrays, body.signature_name)
        return write_predictions(outputs, row_format=body.row_format)


def _signature(servable: Servable, name: str) -> Signature:
    shown = name or DEFAULT_SIGNATURE
    signature = servable.signature(name, invalid(f'Serving signature name: "{shown}" not found in signature def'))
    inputs = {key: info.dtype for key, info in sorted(signature.inputs.items())}
    return Signature(inputs=inputs, defaults=frozenset(signature.defaults))


def _classify(service: Service, call: Call, spec: Any) -> bytes:
    request = classification_pb2.ClassificationRequest()
    read_examples(call.body, request)
    with service.inference(spec, "Classify", call.deadline) as inference:
        return write_classifications(inference.classify(request.input, request.model_spec.signature_name))


def _regress(service: Service, call: Call, spec: Any) -> bytes:
    request = regression_pb2.RegressionRequest()
    read_examples(call.body, request)
    with service.inference(spec, "Regress", call.deadline) as inference:
        return write_regressions(inference.regress(request.input, request.model_spec.signature_name))


def _status(service: Service, call: Call, spec: Any) -> bytes:
    return encode(_json(service.status(spec)))


def _metadata(service: Service, call: Call, spec: Any) -> bytes:
    response = service.metadata(spec, ["signature_def"])
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return encode(
        f'{{\n"model_spec":{_json(response.model_spec)},\n"metadata": {{"signature_def": {_json(signatures)}}}\n}}\n'
    )


def _json(message: Any) -> str:
    return json_format.MessageToJson(
        message, indent=1, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


_ANSWERS = {
    "predict": _predict,
    "classify": _classify,
    "regress": _regress,
    "status": _status,
    "metadata": _metadata,
}
