"""gRPC: PredictionService, ModelService and the health service, over the same models as REST."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tfembed.serving.limits import SharedMemory
from tfembed.serving.model_config import read_configs
from tfembed.serving.servable import DEFAULT_SIGNATURE
from tfembed.serving.service import Service
from tfembed.serving.status import ServingError, invalid
from tfembed.serving.tensors import check_tensor, read_tensor, write_tensor

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """How gRPC is served.

    Attributes:
        address: Host and port; port 0 takes a free one.
        num_threads: Requests that are answered at the same time.
        max_pending_requests: Requests that are being answered or wait for it; more are refused.
        max_request_bytes: Of a message, and of a tensor in memory of which a message holds but a few values.
        max_pending_bytes: Of all requests that are being answered together, as they came and as tensors.
        credentials: For TLS; None without.
        channel_arguments: Pairs of a name and a value that are passed on to gRPC.
    """

    address: str = "127.0.0.1:8500"
    num_threads: int = 32
    max_pending_requests: int = 512
    max_request_bytes: int = 64 * 1024 * 1024
    max_pending_bytes: int = 1024 * 1024 * 1024
    credentials: Any = None
    channel_arguments: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Check the values."""
        if self.num_threads < 1:
            raise ValueError(f"grpc_max_threads must be 1 or more; was {self.num_threads}.")


class GrpcServer:
    """A running gRPC server.

    Attributes:
        port: That it listens on.
    """

    def __init__(self, service: Service, options: GrpcOptions) -> None:
        """Bind the address and serve.

        Raises:
            OSError: If the address is taken.
        """
        self._health = health.HealthServicer()
        arguments = [
            ("grpc.max_receive_message_length", options.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
            *options.channel_arguments,
        ]
        self._server = grpc.server(
            ThreadPoolExecutor(options.num_threads, thread_name_prefix="grpc"),
            options=arguments,
            maximum_concurrent_rpcs=options.max_pending_requests,
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(service, options), self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self.port = (
                self._server.add_insecure_port(options.address)
                if options.credentials is None
                else self._server.add_secure_port(options.address, options.credentials)
            )
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {options.address}: is another server running there?") from error
        self._server.start()
        for name in _SERVICES:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace: float) -> None:
        """Take no new requests, and give those that are being answered so many seconds."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service: Service, options: GrpcOptions) -> None:
        self._service, self._options = service, options
        self._memory = SharedMemory(options.max_pending_bytes)

    def Predict(self, request: Any, context: Any) -> Any:
        def work(deadline: float | None) -> Any:
            response = predict_pb2.PredictResponse()
            most = self._options.max_request_bytes
            with self._service.inference(request.model_spec, "Predict", deadline) as inference, ExitStack() as stack:
                sizes = [check_tensor(name, proto, most) for name, proto in request.inputs.items()]
                stack.enter_context(self._memory.share(request.ByteSize() + sum(sizes)))
                arrays = {name: read_tensor(name, proto, most) for name, proto in request.inputs.items()}
                name = request.model_spec.signature_name
                outputs = inference.predict(arrays, name, tuple(request.output_filter))
                inference.write_spec(response.model_spec, name or DEFAULT_SIGNATURE)
            for output, array in outputs.items():
                write_tensor(array, response.outputs[output])
            return response

        return _answer(self._service, "Predict", request.model_spec.name, context, work)

    def Classify(self, request: Any, context: Any) -> Any:
        def work(deadline: float | None) -> Any:
            response = classification_pb2.ClassificationResponse()
            with self._service.inference(request.model_spec, "Classify", deadline) as inference:
                name = request.model_spec.signature_name
                response.result.CopyFrom(inference.classify(request.input, name))
                inference.write_spec(response.model_spec, name or DEFAULT_SIGNATURE)
            return response

        return _answer(self._service, "Classify", request.model_spec.name, context, work)

    def Regress(self, request: Any, context: Any) -> Any:
        def work(deadline: float | None) -> Any:
            response = regression_pb2.RegressionResponse()
            with self._service.inference(request.model_spec, "Regress", deadline) as inference:
                name = request.model_spec.signature_name
                response.result.CopyFrom(inference.regress(request.input, name))
                inference.write_spec(response.model_spec, name or DEFAULT_SIGNATURE)
            return response

        return _answer(self._service, "Regress", request.model_spec.name, context, work)

    def MultiInference(self, request: Any, context: Any) -> Any:
        def work(deadline: float | None) -> Any:
            if not request.tasks:
                raise invalid("Inference request must have at least one task.")
            with self._service.inference(request.tasks[0].model_spec, "MultiInference", deadline) as inference:
                return inference.multi(request)

        name = request.tasks[0].model_spec.name if request.tasks else ""
        return _answer(self._service, "MultiInference", name, context, work)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        def work(deadline: float | None) -> Any:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return self._service.metadata(request.model_spec, list(request.metadata_field))

        return _answer(self._service, "GetModelMetadata", request.model_spec.name, context, work)


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service: Service) -> None:
        self._service = service

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        def work(deadline: float | None) -> Any:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            return self._service.status(request.model_spec)

        return _answer(self._service, "GetModelStatus", request.model_spec.name, context, work)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        def work(deadline: float | None) -> Any:
            if request.config.WhichOneof("config") is None:
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                    "currently supported"
                )
            self._service.store.configure(read_configs(request.config))
            return model_management_pb2.ReloadConfigResponse()

        return _answer(self._service, "HandleReloadConfigRequest", "", context, work)


_LONGEST_MESSAGE = 1024  # bytes, as TensorFlow Serving has it; gRPC breaks off an answer with more in its trailers
_NO_DEADLINE = 366 * 86400.0  # seconds; a client that sets none has its request wait for centuries


def _answer(service: Service, api: str, model: str, context: Any, work: Callable[[float | None], Any]) -> Any:
    """Do the work of a request; an error ends it with TensorFlow's code and message."""
    left = context.time_remaining()
    deadline = None if left is None or left > _NO_DEADLINE else time.monotonic() + left
    try:
        with service.counted((api, "GRPC")) as counted:
            counted(model)
            return work(deadline)
    except ServingError as error:
        context.abort(_STATUS[error.code.number], _shortened(error.message))


def _shortened(message: str) -> str:
    encoded = message.encode("utf-8", "replace")
    if len(encoded) <= _LONGEST_MESSAGE:
        return message
    return encoded[:_LONGEST_MESSAGE].decode("utf-8", "ignore") + "...TRUNCATED"
