"""Requests over gRPC, with retries by gRPC itself."""

import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from tfembed.serving.client_errors import ERRORS, BadRequestError, BusyError, ServerError
from tfembed.serving.client_examples import SignatureInfo
from tfembed.serving.client_options import ClientOptions, Target
from tfembed.serving.protos import importing_messages
from tfembed.serving.tensors import read_tensor, write_tensor

with importing_messages():
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )


class GrpcClient:
    """A channel to the gRPC services of one model."""

    def __init__(self, target: Target, options: ClientOptions) -> None:
        self._options, self._name = options, target.model
        arguments: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.service_config", json.dumps(_retrying(options.retries))),
        ]
        self._channel = (
            grpc.secure_channel(target.address, _credentials(options), arguments)
            if target.secure
            else grpc.insecure_channel(target.address, arguments)
        )
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def signatures(self) -> dict[str, SignatureInfo]:
        """The signatures of the model by name."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name_model(request.model_spec)
        response = self._ask(self._predictions.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        name_of = types_pb2.DataType.Name
        return {
            name: SignatureInfo(
                inputs={key: name_of(info.dtype) for key, info in signature.inputs.items()},
                outputs={key: name_of(info.dtype) for key, info in signature.outputs.items()},
            )
            for name, signature in found.signature_def.items()
        }

    def predict(self, arrays: dict[str, np.ndarray], signature_name: str, info: SignatureInfo) -> dict[str, np.ndarray]:
        """The outputs of a signature for its inputs."""
        request = predict_pb2.PredictRequest()
        self._name_model(request.model_spec)
        request.model_spec.signature_name = signature_name
        for name, array in arrays.items():
            write_tensor(array, request.inputs[name])
        response = self._ask(self._predictions.Predict, request)
        return {name: read_tensor(name, proto) for name, proto in response.outputs.items()}

    def status(self) -> list[dict[str, Any]]:
        """What the versions of the model are doing."""
        request = get_model_status_pb2.GetModelStatusRequest()
        self._name_model(request.model_spec)
        response = self._ask(self._models.GetModelStatus, request)
        states = get_model_status_pb2.ModelVersionStatus.State
        return [
            {"version": each.version, "state": states.Name(each.state), "error": each.status.error_message}
            for each in response.model_version_status
        ]

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _name_model(self, spec: Any) -> None:
        spec.name = self._name
        if self._options.version is not None:
            spec.version.value = self._options.version
        if self._options.label is not None:
            spec.version_label = self._options.label

    def _ask(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._options.timeout)
        except grpc.RpcError as error:
            kind, details = ERRORS.get(error.code().name, ServerError), error.details()
            if kind is BusyError and "larger than max" in details:  # gRPC has one code for both
                kind = BadRequestError
            raise kind(details) from error


def _retrying(retries: int) -> dict[str, Any]:
    if retries == 0:
        return {}
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": "0.1s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    return {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}


def _credentials(options: ClientOptions) -> Any:
    return grpc.ssl_channel_credentials(
        root_certificates=_read(options.certificate_authority),
        private_key=_read(options.key),
        certificate_chain=_read(options.certificate),
    )


def _read(file: Path | None) -> bytes | None:
    return None if file is None else file.read_bytes()
