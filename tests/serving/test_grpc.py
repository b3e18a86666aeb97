"""gRPC, as TensorFlow Serving's own tests of it have it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tfembed.serving.grpc_service import GrpcOptions, _Prediction
from tfembed.serving.server import Running, run_server
from tfembed.serving.settings import Settings

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


@pytest.fixture
def predictions(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def models_of(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict_request(model: str = "half_plus_two", signature: str = "", **inputs: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def example_request(kind: Any, signature: str, x: float = 2.0) -> Any:
    request = kind()
    request.model_spec.name, request.model_spec.signature_name = "half_plus_two", signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(x)
    return request


def refused(call: Callable[..., Any], request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("specify_output", [True, False])
def test_predict(predictions: Any, specify_output: bool) -> None:
    """A shape of [1] is taken for [-1, 1]; the answer has its values in float_val and says who answered."""
    request = predict_request()
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.append(2.0)
    request.inputs["x"].tensor_shape.dim.add().size = 1
    if specify_output:
        request.output_filter.append("y")
    result = predictions.Predict(request, timeout=10)
    assert list(result.outputs) == ["y"]
    assert result.outputs["y"].dtype == 1
    assert list(result.outputs["y"].float_val) == [3.0]
    assert result.outputs["y"].tensor_content == b""
    assert [each.size for each in result.outputs["y"].tensor_shape.dim] == [1]
    spec = result.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("half_plus_two", "serving_default", 123)


def test_tensor_content_is_read(predictions: Any) -> None:
    """Clients may send raw bytes."""
    result = predictions.Predict(predict_request(x=np.float32([[2], [4]])), timeout=10)
    assert list(result.outputs["y"].float_val) == [3.0, 4.0]


def test_classify_regress(predictions: Any) -> None:
    """One example in, one score or value out."""
    result = predictions.Classify(
        example_request(classification_pb2.ClassificationRequest, "classify_x_to_y"), timeout=10
    )
    assert [[each.score for each in row.classes] for row in result.result.classifications] == [[3.0]]
    assert (result.model_spec.signature_name, result.model_spec.version.value) == ("classify_x_to_y", 123)
    result = predictions.Regress(example_request(regression_pb2.RegressionRequest, "regress_x_to_y"), timeout=10)
    assert [each.value for each in result.result.regressions] == [3.0]
    assert result.model_spec.name == "half_plus_two"


def test_multi_inference_of_tensorflow_2(predictions: Any) -> None:
    """Signatures that have inputs of their own get the same examples."""
    tasks = [("everything", "classified", CLASSIFY), ("everything", "regressed", REGRESS)]
    result = predictions.MultiInference(multi(*tasks), timeout=10)
    assert result.results[0].classification_result.classifications[0].classes[0].score == 20.0
    assert result.results[1].regression_result.regressions[0].value == 3.5


def multi(*tasks: tuple[str, str, str]) -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2.0)
    return request


def test_multi_inference(predictions: Any) -> None:
    """Several signatures answer the same examples."""
    tasks = [("half_plus_two", "regress_x_to_y", REGRESS), ("half_plus_two", "classify_x_to_y", CLASSIFY)]
    result = predictions.MultiInference(multi(*tasks), timeout=10)
    assert result.results[0].regression_result.regressions[0].value == 3.0
    assert result.results[1].classification_result.classifications[0].classes[0].score == 3.0
    assert [each.model_spec.signature_name for each in result.results] == ["regress_x_to_y", "classify_x_to_y"]
    assert {each.model_spec.version.value for each in result.results} == {123}


MULTI = {
    "two models": ([("half_plus_two", "regress_x_to_y", REGRESS), ("half_plus_three", "x", REGRESS)], "same model"),
    "twice the same": ([("half_plus_two", "regress_x_to_y", REGRESS)] * 2, "Duplicate evaluation of signature"),
    "no name": ([("half_plus_two", "regress_x_to_y", REGRESS), ("", "classify_x_to_y", CLASSIFY)], "empty model name"),
    "unknown signature": ([("half_plus_two", "z", REGRESS)], "Requested signature not found in model graph: z"),
}


@pytest.mark.parametrize(("tasks", "message"), MULTI.values(), ids=MULTI)
def test_multi_inference_errors(predictions: Any, tasks: list[tuple[str, str, str]], message: str) -> None:
    """Tasks that do not go together are refused."""
    code, details = refused(predictions.MultiInference, multi(*tasks))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message in details


def test_multi_inference_with_another_method(predictions: Any) -> None:
    """Only classify and regress can be had together."""
    request = multi(("half_plus_two", "serving_default", "tensorflow/serving/predict"))
    assert refused(predictions.MultiInference, request) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Unsupported signature method_name: tensorflow/serving/predict",
    )


PREDICT_ERRORS = {
    "unknown model": (predict_request("z", x=[1.0]), "NOT_FOUND", "Servable not found for request: Latest(z)"),
    "no model": (predict_request("", x=[1.0]), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown signature": (
        predict_request(signature="z", x=[1.0]),
        "FAILED_PRECONDITION",
        'Serving signature key "z" not found.',
    ),
    "no input": (
        predict_request(),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
    "two inputs": (predict_request(a=[1.0], b=[1.0]), "INVALID_ARGUMENT", "Sent extra: {a,b}"),
    "another input": (
        predict_request(z=[1.0]),
        "INVALID_ARGUMENT",
        "input tensor alias not found in signature: z. Inputs expected to be in the set {x}.",
    ),
    "another type": (predict_request(x=[True]), "INVALID_ARGUMENT", "to be float but bool is provided"),
}


@pytest.mark.parametrize(("request_", "code", "message"), PREDICT_ERRORS.values(), ids=PREDICT_ERRORS)
def test_predict_errors(predictions: Any, request_: Any, code: str, message: str) -> None:
    """TensorFlow Serving's codes and messages."""
    found, details = refused(predictions.Predict, request_)
    assert found.name == code
    assert message in details


def test_long_messages_are_cut_off(predictions: Any) -> None:
    """After 1024 bytes, as TensorFlow Serving does: gRPC gives clients nothing of an answer with longer ones."""
    for name in ("x" * 20_000, "ä" * 20_000):
        code, message = refused(predictions.Predict, predict_request(**{name: np.float32([1])}))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert message.startswith(f"input tensor alias not found in signature: {name[:9]}")
        assert message.endswith(f"{name[0]}...TRUNCATED")
        assert len(message.encode()) <= 1024 + len("...TRUNCATED")


def test_output_filter_errors(predictions: Any) -> None:
    """Outputs that are unknown or named twice are refused."""
    request = predict_request(x=[1.0])
    request.output_filter.append("z")
    code, details = refused(predictions.Predict, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "output tensor alias not found in signature: z Outputs expected to be in the set {y}."
    request.output_filter[:] = ["y", "y"]
    assert refused(predictions.Predict, request)[1] == "duplicate output tensor alias: y"


@pytest.mark.parametrize(
    ("dtype", "shape", "values"), [(99, [1], [1.0]), (1, [-1], [1.0]), (1, [1], [1.0, 2.0]), (107, [1], [1.0])]
)
def test_malformed_tensors(predictions: Any, dtype: int, shape: list[int], values: list[float]) -> None:
    """A tensor that is none is refused."""
    request = predict_request()
    tensor = request.inputs["x"]
    tensor.dtype = dtype
    tensor.float_val.extend(values)
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
    assert refused(predictions.Predict, request) == (grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: x")


@pytest.mark.parametrize(
    ("dtype", "shape", "said"),
    [
        (1, [1 << 40], "x of shape [1099511627776] would take"),
        (7, [1 << 28], "x of shape [268435456] would take"),
        (1, [1 << 26], "x of shape [67108864] would take"),
        (7, [1] * 33, "x has 33 dimensions, and may have 32"),
        (1, [1] * 254, "x has 254 dimensions"),
    ],
)
def test_a_few_bytes_take_little_memory(predictions: Any, dtype: int, shape: list[int], said: str) -> None:
    """A shape without values is bound by the size that a request may have, and by what can be fed."""
    request = predict_request()
    request.inputs["x"].dtype = dtype
    for size in shape:
        request.inputs["x"].tensor_shape.dim.add().size = size
    code, details = refused(predictions.Predict, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("tensor parsing error: x")
    assert said in details


def test_classify_errors(predictions: Any) -> None:
    """An unknown signature is INVALID_ARGUMENT here; no examples are refused."""
    request = example_request(classification_pb2.ClassificationRequest, "z")
    assert refused(predictions.Classify, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "No signature was found with the name: z",
    )
    request = example_request(regression_pb2.RegressionRequest, "regress_x_to_y")
    request.input.Clear()
    assert refused(predictions.Regress, request) == (grpc.StatusCode.INVALID_ARGUMENT, "Input is empty.")


def test_metadata(predictions: Any) -> None:
    """The signatures, packed; only they can be asked for."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half_plus_two"
    result = predictions.GetModelMetadata(request, timeout=10)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert result.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["regress_x_to_y"].method_name == REGRESS
    assert (result.model_spec.name, result.model_spec.version.value) == ("half_plus_two", 123)
    request.metadata_field[:] = ["graph"]
    assert refused(predictions.GetModelMetadata, request)[0] is grpc.StatusCode.INVALID_ARGUMENT
    del request.metadata_field[:]
    assert "at least one metadata_field" in refused(predictions.GetModelMetadata, request)[1]
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    assert refused(predictions.GetModelMetadata, request)[1] == "Missing ModelSpec"


def test_status(models_of: Any) -> None:
    """Versions with their states; what is unknown is not found."""
    request = get_model_status_pb2.GetModelStatusRequest()
    assert refused(models_of.GetModelStatus, request)[1] == "Missing ModelSpec"
    request.model_spec.name = "half_plus_two"
    (status,) = models_of.GetModelStatus(request, timeout=10).model_version_status
    assert (status.version, status.state, status.status.error_code) == (123, status.AVAILABLE, 0)
    request.model_spec.version.value = 5
    assert refused(models_of.GetModelStatus, request) == (
        grpc.StatusCode.NOT_FOUND,
        "Could not find version 5 of model half_plus_two",
    )


def test_reload_config(models: Path) -> None:
    """Models come and go by request, without a restart; a wrong configuration changes nothing."""
    settings = Settings(
        model_base_path=models / "half_plus_two", model_name="a", port=0, rest_api_port=0, enable_model_warmup=False
    )
    with run_server(settings) as running, grpc.insecure_channel(running.grpc_address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        reload = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        request = model_management_pb2.ReloadConfigRequest()
        assert refused(reload, request)[0] is grpc.StatusCode.INVALID_ARGUMENT
        config = request.config.model_config_list.config.add(name="b", base_path=str(models / "half_plus_three"))
        assert "model_platform" in refused(reload, request)[1]
        config.model_platform = "tensorflow"
        config.version_labels["canary"] = 123
        assert reload(request, timeout=30).status.error_code == 0
        assert predict(predict_request("b", x=[2.0]), timeout=10).outputs["y"].float_val[0] == 4.0
        labelled = predict_request("b", x=[2.0])
        labelled.model_spec.version_label = "canary"
        assert predict(labelled, timeout=10).model_spec.version.value == 123
        assert refused(predict, predict_request("a", x=[2.0]))[0] is grpc.StatusCode.NOT_FOUND
        config.version_labels["canary"] = 777
        code, details = refused(reload, request)
        assert (code, "version 777 of model b" in details) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        request.config.model_config_list.config.add().CopyFrom(config)
        assert "multiple times" in refused(reload, request)[1]
        assert predict(labelled, timeout=10).model_spec.version.value == 123


def test_health(channel: grpc.Channel) -> None:
    """The standard health service says that it serves."""
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "tensorflow.serving.PredictionService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


class NoTimeLeft:
    """The context of a request whose client waits no longer, as far as the servicer looks at it."""

    def time_remaining(self) -> float:
        return 0.0

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise TimeoutError(code.name, details)


def test_deadline(running: Running) -> None:
    """A request whose time is up does not reach the model."""
    with pytest.raises(TimeoutError, match=r"DEADLINE_EXCEEDED.*before the model was run"):
        _Prediction(running.service, GrpcOptions()).Predict(predict_request(x=[1.0]), NoTimeLeft())
