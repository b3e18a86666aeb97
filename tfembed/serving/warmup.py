"""Warmup: the requests that an export carries are replayed before a version serves."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tfembed.serving.inference import Inference
from tfembed.serving.servable import Servable
from tfembed.serving.status import Code, ServingError, invalid
from tfembed.serving.tensors import read_tensor

MAX_RECORDS = 1000


def replay(servable: Servable, folder: Path) -> int:
    """Replay the warmup requests in the folder of a version.

    Returns:
        How many there were.

    Raises:
        ServingError: If there are more than MAX_RECORDS, or one is malformed or fails.
    """
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    if not file.is_file():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            count += 1
            if count > MAX_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
            _replay(servable, prediction_log_pb2.PredictionLog.FromString(record))
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record {count} at {file}") from error
    except tf.errors.OpError as error:
        raise ServingError(Code.DATA_LOSS, f"{file}: {error.message}") from error
    return count


def _replay(servable: Servable, log: Any) -> None:
    kind, inference = log.WhichOneof("log_type"), Inference(servable)
    if kind == "predict_log":
        request = log.predict_log.request
        arrays = {name: read_tensor(name, proto) for name, proto in request.inputs.items()}
        inference.predict(arrays, request.model_spec.signature_name, tuple(request.output_filter))
    elif kind == "classify_log":
        request = log.classify_log.request
        inference.classify(request.input, request.model_spec.signature_name)
    elif kind == "regress_log":
        request = log.regress_log.request
        inference.regress(request.input, request.model_spec.signature_name)
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        for task in request.tasks:
            task.model_spec.name = servable.name
        inference.multi(request)
    else:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
