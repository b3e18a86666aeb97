"""JSON bodies to arrays and back, with the cases of TensorFlow Serving's json_tensor_test."""

import contextlib
import json
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tfembed.serving.json_requests import PredictBody, Signature, read_examples, read_predict
from tfembed.serving.json_responses import write_classifications, write_predictions, write_regressions
from tfembed.serving.json_text import parse_object
from tfembed.serving.limits import parsed_size
from tfembed.serving.status import Code, ServingError


def read(body: str, defaults: tuple[str, ...] = (), **inputs: str) -> PredictBody:
    signature = Signature(
        inputs={name: tf.dtypes.as_dtype(dtype).as_datatype_enum for name, dtype in inputs.items()},
        defaults=frozenset(defaults),
    )
    return read_predict(body.encode(), lambda name: signature)


def refused(body: str, **inputs: str) -> str:
    with pytest.raises(ServingError) as caught:
        read(body, **inputs)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


READ = {
    "one tensor": ('{"instances": [[1,2],[3,4],[5,6]]}', {"x": "int32"}, {"x": [[1, 2], [3, 4], [5, 6]]}),
    "mixed floats": (
        '{"instances": [1, 2.0, 3, 5.003, 0.007]}',
        {"x": "float32"},
        {"x": np.float32([1, 2, 3, 5.003, 0.007])},
    ),
    "mixed doubles": ('{"instances": [1.0, 2, 0.662]}', {"x": "float64"}, {"x": [1.0, 2.0, 0.662]}),
    "rounded floats": (
        '{"instances": [16777217, 1435774380, 1e39, -1e39, 1.7976931348623157e308]}',
        {"x": "float32"},
        {"x": np.float32([16777216, 1435774336, np.inf, -np.inf, np.inf])},
    ),
    "a rounded float": ('{"inputs": 16777217}', {"x": "float32"}, {"x": np.float32(16777216)}),
    "rounded doubles": ('{"instances": [9007199254740993]}', {"x": "float64"}, {"x": [2.0**53]}),
    "rounded halves": ('{"instances": [2049, 70000]}', {"x": "float16"}, {"x": np.float16([2048, np.inf])}),
    "base64 text": (
        '{"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}',
        {"x": "string"},
        {"x": [b"hello", b"world"]},
    ),
    "base64 without its end": ('{"instances": [{"b64": "aGVsbG8"}]}', {"x": "string"}, {"x": [b"hello"]}),
    "base64 in lists": ('{"instances": [[{"b64": "aGVsbG8="}], ["w"]]}', {"x": "string"}, {"x": [[b"hello"], [b"w"]]}),
    "base64 by name": ('{"instances": [{"x": [[{"b64": "aGVsbG8="}]]}]}', {"x": "string"}, {"x": [[[b"hello"]]]}),
    "several": (
        '{"instances": [{"i": [[1,2]], "s": ["foo"], "f": [1.0, NaN]}, '
        '{"i": [[7,8]], "s": ["baz"], "f": [2, Infinity]}]}',
        {"i": "int32", "s": "string", "f": "float32"},
        {"i": [[[1, 2]], [[7, 8]]], "s": [[b"foo"], [b"baz"]], "f": [[1.0, np.nan], [2.0, np.inf]]},
    ),
    "columns": ('{"inputs": {"x": [[[1,2],[3,4]]]}}', {"x": "int32"}, {"x": [[[1, 2], [3, 4]]]}),
    "columns without name": ('{"inputs": [[1,2]]}', {"x": "int32"}, {"x": [[1, 2]]}),
    "a value": ('{"inputs": 1}', {"x": "int32"}, {"x": 1}),
    "several columns": (
        '{"inputs": {"i": [1, 2], "b": {"b64": "aGVsbG8="}}}',
        {"i": "int64", "b": "string"},
        {"i": [1, 2], "b": b"hello"},
    ),
    "bools": ('{"instances": [true, false]}', {"x": "bool"}, {"x": [True, False]}),
    "large integers": ('{"instances": [18446744073709551615]}', {"x": "uint64"}, {"x": [2**64 - 1]}),
    "empty list": ('{"inputs": []}', {"x": "float32"}, {"x": []}),
    "unicode": (
        '{"instances": ["\\u00e7a", "\\ud83d\\ude00"]}',
        {"x": "string"},
        {"x": ["ça".encode(), "😀".encode()]},
    ),
    "escapes that look like halves of a pair": (r'{"instances": ["\\ud83d"]}', {"x": "string"}, {"x": [rb"\ud83d"]}),
    "byte order mark": ('\ufeff{"instances": [1]}', {"x": "int32"}, {"x": [1]}),
    "text after it": ('{"instances": [1]}X', {"x": "int32"}, {"x": [1]}),
    "no inputs": ('{"inputs": {}}', {}, {}),
}


@pytest.mark.parametrize(("body", "inputs", "expected"), READ.values(), ids=READ)
def test_reading(body: str, inputs: dict[str, str], expected: dict[str, Any]) -> None:
    """Values become tensors of the types that the signature has."""
    arrays = read(body, **inputs).arrays
    assert set(arrays) == set(expected)
    for name, array in arrays.items():
        wanted = object if inputs[name] == "string" else tf.dtypes.as_dtype(inputs[name]).as_numpy_dtype
        assert array.dtype == wanted
        np.testing.assert_array_equal(array, np.array(expected[name], wanted))


def test_formats_and_signature() -> None:
    """Rows and columns are told apart; the name of the signature is passed on."""
    found = read('{"signature_name": "predict_images", "instances": [[1,2]]}', x="int32")
    assert (found.signature_name, found.row_format) == ("predict_images", True)
    assert read('{"inputs": [1]}', x="int32").row_format is False


def test_defaults_may_be_left_out() -> None:
    """Inputs with a default value need not be sent, in either format; others need to."""
    assert set(read('{"instances": [{"a": 1}]}', ("b",), a="float32", b="float32").arrays) == {"a"}
    assert set(read('{"inputs": {"a": 1}}', ("b",), a="float32", b="float32").arrays) == {"a"}
    assert "must only have keys: a,b" in refused('{"instances": [{"a": 1}]}', a="float32", b="float32")


REFUSED = {
    "empty": ("", "int32", "document is empty"),
    "only space": (" \n", "int32", "The document is empty. at offset: 2"),
    "size": ('{"instances": [[1,2],[3,4],[5,6,7]]}', "int32", "Expecting tensor size: 2 but got: 3"),
    "shape": ('{"instances": [[1,2],[3,4],[[5,6]]]}', "int32", "Expecting shape [2] but got: [1,2]"),
    "scalar and list": ('{"instances": [1, [1]]}', "int32", "Expecting shape [] but got: [1]"),
    "type": ('{"instances": [[1,2],["a", "b"]]}', "int32", '"a" Type: String is not of expected type: int32'),
    "float for int": ('{"instances": [1.0]}', "int32", "1.0 Type: Number is not of expected type: int32"),
    "bool for float": ('{"instances": [true]}', "float32", "true Type: True is not of expected type: float"),
    "null": ('{"instances": [null]}', "float32", "JSON Value: null Type: Null is not of expected type: float"),
    "int for bool": ('{"instances": [1]}', "bool", "is not of expected type: bool"),
    "int for text": ('{"instances": [1]}', "string", "is not of expected type: string"),
    "too large for int32": ('{"instances": [2147483648]}', "int32", "is not of expected type: int32"),
    "too large for uint8": ('{"instances": [256]}', "uint8", "is not of expected type: uint8"),
    "object for numbers": ('{"inputs": [{"b64": "aA=="}]}', "float32", "Type: Object is not of expected type: float"),
    "bad base64": ('{"instances": [{"b64": "%"}]}', "string", "Unable to base64 decode"),
    "list, then object": ('{"instances": [["a"], {"x": ["b"]}]}', "string", "value/list but got object at item 1"),
    "object, then list": ('{"instances": [{"x": 1}, [1]]}', "int32", "Expecting object but got list at item 1"),
    "half a surrogate": ('{"instances": ["\\ud83d"]}', "string", "The surrogate pair in string is invalid."),
    "uneven list": ('{"inputs": [[1,2],[3]]}', "int32", "unexpected size: 1 at level: 1 expected size: 2"),
    "list too deep": ('{"inputs": [1,[2]]}', "int32", "Encountered list at unexpected level: 1 expected < 1"),
    "value too high": ('{"inputs": [[1],2]}', "int32", "at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
}


@pytest.mark.parametrize(("body", "dtype", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(body: str, dtype: str, message: str) -> None:
    """What does not fit is refused with TensorFlow Serving's words."""
    assert message in refused(body, x=dtype)


def test_refused_with_several_inputs() -> None:
    """Plain values do not say which input they are for; objects name exactly those that there are."""
    types = {"i": "int32", "s": "string"}
    assert "instances is a plain list" in refused('{"instances": [1]}', **types)
    assert "inputs is a plain value/list" in refused('{"inputs": [1]}', **types)
    assert "Missing named input: s" in refused('{"inputs": {"i": 1}}', **types)
    assert "Expecting shape [1,2] but got: [1,1,2]" in refused(
        '{"instances": [{"i": [[1,2]], "s": "a"}, {"i": [[[1,2]]], "s": "b"}]}', **types
    )
    assert "element: 1 of 'instances' list. JSON object:" in refused(
        '{"instances": [{"i": 1, "s": "a"}, {"i": 1}]}', **types
    )


def test_an_unsupported_type_is_unimplemented() -> None:
    """Complex numbers have no JSON."""
    with pytest.raises(ServingError, match="UNIMPLEMENTED: Conversion of JSON Value: 1 to type: complex64"):
        read('{"inputs": [1]}', x="complex64")


TENSORS = {
    "int_tensor": np.arange(8).reshape(2, 2, 2),
    "str_tensor": np.array([[b"foo"], [b"bar"]], object),
    "str_tensor_bytes": np.array([b"hello", b"tf"], object),
    "double_tensor": np.array([8.0, 9.5]),
}
IN_JSON = {
    "int_tensor": [[[0, 1], [2, 3]], [[4, 5], [6, 7]]],
    "str_tensor": [["foo"], ["bar"]],
    "str_tensor_bytes": [{"b64": "aGVsbG8="}, {"b64": "dGY="}],
    "double_tensor": [8.0, 9.5],
}


def test_writing_rows_and_columns() -> None:
    """Rows hold one entry of each output; columns the whole of it; one output drops its name."""
    rows = json.loads(write_predictions(TENSORS, row_format=True))
    assert rows == {"predictions": [{name: IN_JSON[name][i] for name in TENSORS} for i in range(2)]}
    assert json.loads(write_predictions(TENSORS, row_format=False)) == {"outputs": IN_JSON}
    for name, array in TENSORS.items():
        assert json.loads(write_predictions({name: array}, row_format=True)) == {"predictions": IN_JSON[name]}
        assert json.loads(write_predictions({name: array}, row_format=False)) == {"outputs": IN_JSON[name]}


def test_other_spellings_of_what_is_not_finite() -> None:
    """As in TensorFlow Serving, whose parser takes them; in a text they are letters."""
    parsed = parse_object(b'{"a": [Inf, -Inf, -NaN, Infinity, -Infinity], "b": "Inf \\" -NaN"}')
    np.testing.assert_array_equal(parsed["a"], [np.inf, -np.inf, np.nan, np.inf, -np.inf])
    assert parsed["b"] == 'Inf " -NaN'
    with pytest.raises(ServingError, match="JSON Parse error"):
        parse_object(b'{"a": Info}')


@pytest.mark.parametrize("end", [b'" 1]}', b'", -Inf]}'])
def test_a_long_text_takes_no_more_memory_than_a_few_of_its_kind(end: bytes) -> None:
    """Neither where the body is malformed behind it, nor where the parser has to look for what stands between texts."""
    body = b'{"instances": ["' + b'ab\\"' * 250_000 + end
    tracemalloc.start()
    with contextlib.suppress(ServingError):
        parse_object(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(body)


@pytest.mark.parametrize(
    "row",
    ["1.5", "1234567", "[1.5]", "[[[1.5]]]", "[1, 2.5, 3]", '"ab"', '"\U0001f600"', '{"x": 1.5}', "[]", "[[],[]]"],
)
@pytest.mark.parametrize("end", ["]}", ", 7.5]}", " malformed"])
def test_the_memory_that_a_body_takes_is_known_before(row: str, end: str) -> None:
    """It is never more than what the server reckons with, whether the body can be read or not."""
    body = ('{"instances": [' + ", ".join([row] * 20_000) + end).encode()
    tracemalloc.start()
    with contextlib.suppress(ServingError):
        read_predict(body, lambda _: Signature(inputs={"x": tf.float32.as_datatype_enum}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= parsed_size(body)


def test_writing_no_rows() -> None:
    """No rows are an empty list, of one output or of several; all must have none."""
    none = {"text": np.zeros((0, 1, 2), object), "float": np.zeros((0, 3, 4), np.float32)}
    assert json.loads(write_predictions({"float": none["float"]}, row_format=True)) == {"predictions": []}
    assert json.loads(write_predictions(none, row_format=True)) == {"predictions": []}
    assert json.loads(write_predictions(none, row_format=False)) == {"outputs": {"text": [], "float": []}}
    with pytest.raises(ServingError, match="inconsistent batch size: 1 expecting: 0"):
        write_predictions(none | {"one": np.zeros((1, 2))}, row_format=True)


def test_writing_floats() -> None:
    """Six digits where they are enough, exponents as printf has them, all digits where they are needed."""
    array = np.float32([[9000000, 999999, 0.5], [0.0003, 0.00003, 555557.5], [1 / 3, np.nan, -np.inf]])
    text = write_predictions({"x": array}, row_format=True).decode()
    assert "[9e+06, 999999.0, 0.5], [0.0003, 3e-05, 555557.5], [0.333333343, NaN, -Infinity]" in text
    array = np.array([0.1, 1 / 3, 2.0])
    assert "[0.1, 0.33333333333333331, 2.0" in write_predictions({"x": array}, row_format=True).decode()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.int8, np.uint64, np.bool_])
def test_every_type_comes_back(dtype: Any) -> None:
    """What was written is read as the same values."""
    array = np.array([0, 1], dtype)
    text = write_predictions({"x": array}, row_format=False).decode().replace("outputs", "inputs")
    np.testing.assert_array_equal(read(text, x=tf.dtypes.as_dtype(dtype).name).arrays["x"], array)


def test_bytes_that_are_no_text() -> None:
    """Strings pass through as they are, whatever bytes they hold; control characters are escaped."""
    raw = np.array([b'\xff\xfe \n"\\'], object)
    assert b'"\xff\xfe \\n\\"\\\\"' in write_predictions({"x": raw}, row_format=True)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "empty tensor map"),
        ({"x": np.zeros(2, np.complex64)}, "tensor type: complex64"),
        ({"x": np.int32(1)}, "no shape information"),
        ({"x": np.zeros(2), "y": np.zeros(1)}, "inconsistent batch size: 1 expecting: 2"),
    ],
)
def test_writing_errors(arrays: dict[str, np.ndarray], message: str) -> None:
    """What has no JSON, or no rows in common, is refused."""
    with pytest.raises(ServingError, match=message):
        write_predictions({name: np.asarray(array) for name, array in arrays.items()}, row_format=True)


@pytest.mark.parametrize("kind", [classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest])
def test_examples(kind: Any) -> None:
    """Values become features of their kind, alone or in lists, with a context or without."""
    message = kind()
    read_examples(
        b'{"signature_name": "s", "context": {"c": 1}, "examples": '
        b'[{"names": ["foo", {"b64": "YmFy"}], "ratings": [8.0, NaN], "age": 20, "flag": true}, {}]}',
        message,
    )
    assert message.model_spec.signature_name == "s"
    found = message.input.example_list_with_context
    assert list(found.context.features.feature["c"].int64_list.value) == [1]
    feature = found.examples[0].features.feature
    assert list(feature["names"].bytes_list.value) == [b"foo", b"bar"]
    np.testing.assert_array_equal(feature["ratings"].float_list.value, [8.0, np.nan])
    assert (list(feature["age"].int64_list.value), list(feature["flag"].int64_list.value)) == ([20], [1])
    assert len(found.examples) == 2


EXAMPLES = {
    "none": ("{}", "'examples' is expected and was not found"),
    "no list": ('{"examples": 1}', "'examples' value to be an list/array"),
    "empty": ('{"examples": []}', "'examples' value is an empty array"),
    "no object": ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
    "nested": ('{"examples": [{"a": [[1]]}]}', "Feature: a has element with unexpected JSON type: Array"),
    "object": ('{"examples": [{"a": {"b": 1}}]}', "Feature: a has element with unexpected JSON type: Object"),
    "mixed": ('{"examples": [{"a": [1, "x"]}]}', "Unexpected element type in feature: a expecting type: int64"),
    "uint64": ('{"examples": [{"a": 9223372036854775808}]}', "Feature: a has uint64 element. Only int64 is supported."),
    "context": ('{"context": [], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
}


@pytest.mark.parametrize(("body", "message"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples_refused(body: str, message: str) -> None:
    """What is no example is refused."""
    with pytest.raises(ServingError) as caught:
        read_examples(body.encode(), classification_pb2.ClassificationRequest())
    assert message in caught.value.message


def test_results() -> None:
    """Labels with scores, and values, with their points."""
    result = classification_pb2.ClassificationResult()
    for _ in range(2):
        result.classifications.add().classes.add(label='a"b', score=2)
    assert json.loads(write_classifications(result)) == {"results": [[['a"b', 2.0]], [['a"b', 2.0]]]}
    values = regression_pb2.RegressionResult()
    values.regressions.add().value = 3
    assert write_regressions(values) == b'{\n    "results": [3.0]\n}'
    with pytest.raises(ServingError, match="Cannot convert empty RegressionResults to JSON"):
        write_regressions(regression_pb2.RegressionResult())
