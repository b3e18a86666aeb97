"""REST, as TensorFlow Serving's own tests of it have it."""

import json
from typing import Any

import pytest
import requests

from tfembed.serving.server import Running

PREDICT = "half_plus_two:predict"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (PREDICT, {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
        (PREDICT, {"instances": [[1.0, 2.0], [3.0, 4.0]]}, {"predictions": [[2.5, 3.0], [3.5, 4.0]]}),
        (PREDICT, {"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
        (PREDICT, {"inputs": {"x": [2]}}, {"outputs": [3.0]}),
        (PREDICT, {"signature_name": "serving_default", "inputs": [3.0]}, {"outputs": [3.5]}),
        ("half_plus_two/versions/123:predict", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}),
        ("half_plus_two/labels/stable:predict", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}),
        ("half_plus_three:predict", {"instances": [1.0]}, {"predictions": [3.5]}),
        (
            "half_plus_two:classify",
            {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]},
            {"results": [[["", 12.0]]]},
        ),
        (
            "half_plus_two/labels/stable:regress",
            {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]},
            {"results": [42.0]},
        ),
        (
            "half_plus_two:regress",
            {"signature_name": "regress_x_to_y", "context": {"x": 6.0}, "examples": [{}, {"x": 8.0}]},
            {"results": [5.0, 6.0]},
        ),
        (
            "half_plus_two:classify",
            {"signature_name": "classify_by_predict", "examples": [{"x": 2.0}]},
            {"results": [[["", 3.0]]]},
        ),
    ],
)
def test_answers(ask: Any, path: str, body: Any, expected: Any) -> None:
    """Each API answers with the values that the model gives, in the layout of the request."""
    assert ask(path, body) == (200, expected)


def test_decimals_and_layout(running: Running, http: requests.Session) -> None:
    """Whole floats keep their point; the text is laid out as TensorFlow Serving's."""
    answer = http.post(f"{running.rest_url}/v1/models/{PREDICT}", data='{"instances": [2, 4]}', timeout=10)
    assert answer.text == '{\n    "predictions": [3.0, 4.0\n    ]\n}'
    assert answer.headers["Content-Type"] == "application/json"


def test_path_is_case_insensitive(running: Running, http: requests.Session) -> None:
    """Only the name of the model minds case."""
    url = running.rest_url + "/V1/MODELS/half_plus_two/Versions/123:Predict"
    assert http.post(url, data='{"instances": [2]}', timeout=10).json() == {"predictions": [3.0]}
    assert http.get(running.rest_url + "/v1/models/HALF_PLUS_TWO", timeout=10).status_code == 404


def test_non_finite_numbers(ask: Any) -> None:
    """NaN and infinities go in and come out."""
    status, found = ask(PREDICT, '{"instances": [NaN, Infinity, -Infinity]} and more text')
    assert status == 200
    assert json.dumps(found) == '{"predictions": [NaN, Infinity, -Infinity]}'


ERRORS = {
    "empty": (PREDICT, "", 400, "JSON Parse error: The document is empty"),
    "no JSON": (PREDICT, "instances = [1, 2]", 400, "JSON Parse error: Invalid value. at offset: 0"),
    "truncated": (PREDICT, '{"instances": [1, 2', 400, "Missing a comma or ] after an array element. at offset: 19"),
    "no object": (PREDICT, "[1, 2]", 400, "Is not object"),
    "wrong type": (PREDICT, {"instances": ["x", "y"]}, 400, "not of expected type: float"),
    "no signature name": (PREDICT, {"signature_name": 100}, 400, "'signature_name' key must be a string value."),
    "unknown signature": (
        PREDICT,
        {"signature_name": "z", "instances": [1]},
        400,
        'Serving signature name: "z" not found in signature def',
    ),
    "both formats": (PREDICT, {"instances": [1], "inputs": [1]}, 400, "Not formatted correctly"),
    "neither format": (PREDICT, {"instance": [1]}, 400, "Missing 'inputs' or 'instances' key"),
    "no rows": (PREDICT, {"instances": []}, 400, "No values in 'instances' array"),
    "rows in no list": (PREDICT, {"instances": 1}, 400, "Excepting 'instances' to be an list/array"),
    "ragged": (PREDICT, {"instances": [[1, 2], [3]]}, 400, "Expecting tensor size: 2 but got: 1"),
    "shapes": (PREDICT, {"instances": [1, [1]]}, 400, "Expecting shape [] but got: [1]"),
    "unknown input": (PREDICT, {"instances": [{"z": 1}]}, 400, "does not have named input: z"),
    "missing input": (PREDICT, {"inputs": {"z": 1}}, 400, "Missing named input: x in 'inputs' object."),
    "deep": (PREDICT, '{"instances": ' + "[" * 100_000, 400, "Nested too deeply"),
    **{f"{n} brackets": (PREDICT, '{"inputs": ' + "[" * n + "1" + "]" * n + "}", 400, "deep") for n in (33, 65, 254)},
    "rank": (
        "everything:predict",
        {"signature_name": "images", "instances": [[[1.0]]]},
        400,
        "input images has shape [1, 1, 1], and is declared with shape [-1, 8, 8, 3]",
    ),
    "operation of initialization": (
        "everything:predict",
        {"signature_name": "__saved_model_init_op", "inputs": {}},
        400,
        "",
    ),
    "bytes that the model quotes": (
        "everything:predict",
        {"signature_name": "classified", "instances": [{"b64": "Cv//"}]},
        400,
        "Could not parse example input",
    ),
    "deep but closed": (PREDICT, '{"instances": ' + "[" * 900 + "1" + "]" * 900 + "}", 400, "deep"),
    "too large a number": (PREDICT, '{"instances": [1e999]}', 400, "Number too big to be stored in double."),
    "thousands of digits": (PREDICT, '{"instances": [' + "1" * 5000 + "]}", 400, "Number too big"),
    "hundreds of digits": (
        "half_plus_two:classify",
        '{"examples": [{"x": ' + "1" * 400 + "}]}",
        400,
        "Number too big to be stored in double.",
    ),
    "half a pair in what is shown": (
        PREDICT,
        r'{"instances": 1, "x": "\ud83d"}',
        400,
        "surrogate pair in string is invalid",
    ),
    "half a pair in a name": (PREDICT, r'{"instances": [{"\uDE00": 1}]}', 400, "surrogate pair in string is invalid"),
    "half a pair in a feature": (
        "half_plus_two:regress",
        r'{"examples": [{"\ud83d": 1.0}]}',
        400,
        "The surrogate pair in string is invalid. at offset: 16",
    ),
    "no UTF-8 in a signature name": (
        "half_plus_two:classify",
        b'{"signature_name": "\xff", "examples": [{"x": 1.0}]}',
        400,
        "Invalid encoding in string.",
    ),
    "no UTF-8 in a feature": (
        "half_plus_two:regress",
        b'{"examples": [{"\xff": 1.0}]}',
        400,
        "Invalid encoding in string.",
    ),
    "unknown model": ("foo:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(foo)"),
    "unknown version": (
        "half_plus_two/versions/99:predict",
        {"instances": [1]},
        404,
        "Servable not found for request: Specific(half_plus_two, 99)",
    ),
    "unknown label": (
        "half_plus_two/labels/none:predict",
        {"instances": [1]},
        400,
        "Unrecognized servable version label: none",
    ),
    "version and label": ("foo/versions/50/labels/x:regress", "", 400, "Malformed request"),
    "version is no number": ("foo/versions/HELLO:regress", "", 400, "Malformed request"),
    "version too large": (f"foo/versions/{2**64 - 1}:regress", "", 400, "Failed to convert version"),
    "post to metadata": ("foo/metadata", "", 400, "Malformed request: POST /v1/models/foo/metadata"),
    "get of predict": ("foo:predict", None, 400, "Malformed request: GET /v1/models/foo:predict"),
    "subfolder": ("debug/model_name", None, 400, "Malformed request"),
    "out of the base folder": ("..%2F..%2Fetc", None, 404, "Could not find any versions of model ../../etc"),
    "status of an unknown model": ("foo", None, 404, "Could not find any versions of model foo"),
    "status of an unknown version": ("half_plus_two/versions/5", None, 404, "Could not find version 5 of model half"),
    "metadata of an unknown model": ("foo/metadata", None, 404, "Servable not found for request: Latest(foo)"),
    "classify without examples": (
        "half_plus_two:classify",
        {"signature_name": "classify_x_to_y"},
        400,
        "key 'examples' is expected and was not found",
    ),
    "classify nothing": (
        "half_plus_two:classify",
        {"signature_name": "classify_x_to_y", "examples": []},
        400,
        "'examples' value is an empty array",
    ),
    "mixed feature": (
        "half_plus_two:classify",
        {"signature_name": "classify_x_to_y", "examples": [{"x": [1.0, 2]}]},
        400,
        "Unexpected element type in feature: x expecting type: float",
    ),
    "example of null": (
        "half_plus_two:regress",
        {"signature_name": "regress_x_to_y", "examples": [{"x": None}]},
        400,
        "Feature: x has element with unexpected JSON type: Null",
    ),
    "classify with an unknown signature": (
        "half_plus_two:classify",
        {"signature_name": "z", "examples": [{"x": 1.0}]},
        400,
        "No signature was found with the name: z",
    ),
    "regress with a signature that classifies": (
        "half_plus_two:regress",
        {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]},
        400,
        "No regression outputs found in SignatureDef",
    ),
}


@pytest.mark.parametrize(("path", "body", "status", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(ask: Any, path: str, body: Any, status: int, message: str) -> None:
    """What is wrong is answered with TensorFlow Serving's status and message, under `error` and nothing else."""
    found, answer = ask(path, body)
    assert found == status
    assert list(answer) == ["error"]
    assert message in answer["error"]


def test_status(ask: Any) -> None:
    """All versions, one version, and a label's version."""
    expected = {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    for path in ("half_plus_two", "half_plus_two/versions/123", "half_plus_two/labels/stable"):
        assert ask(path) == (200, expected)
    assert ask("")[0] == 400


def test_missing_name(running: Running, http: requests.Session) -> None:
    """The status of all models at once is not to be had."""
    answer = http.get(f"{running.rest_url}/v1/models", timeout=10)
    assert (answer.status_code, answer.json()) == (400, {"error": "Missing model name in request."})


def test_metadata(ask: Any) -> None:
    """Signatures with their inputs, outputs and methods."""
    status, found = ask("half_plus_two/metadata")
    assert status == 200
    assert found["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "123"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert default["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    assert signatures["classify_x_to_y"]["method_name"] == "tensorflow/serving/classify"


def test_other_paths(running: Running, http: requests.Session) -> None:
    """What is no path of the API is not found; what nearly is one is malformed."""
    assert http.get(f"{running.rest_url}/statuspage", timeout=10).status_code == 404
    answer = http.put(f"{running.rest_url}/v1/foo", data="x", timeout=10)
    assert (answer.status_code, answer.json()) == (400, {"error": "Malformed request: PUT /v1/foo"})
