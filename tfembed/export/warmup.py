"""Warmup requests: TF Serving replays them when it loads a version, so that the first client does not wait."""

from pathlib import Path

import tensorflow as tf

from tfembed.export.raw_inputs import input_name
from tfembed.predict import ModelParts

WARMUP = "tf_serving_warmup_requests"


def write_warmup(folder: Path, parts: ModelParts, raw: list[bytes]) -> None:
    """Write a request for each raw input, one of them all, and one for the embeddings, at most 1,000.

    A single bad record would keep TF Serving from loading the model, so the gate replays them all.

    Args:
        folder: Of the SavedModel.
        parts: Of the model.
        raw: What clients send.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    def log(signature: str, inputs: list[bytes]) -> bytes:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "default"  # TF Serving has the name of the version that it loads
        request.model_spec.signature_name = signature
        request.inputs[input_name(parts)].CopyFrom(tf.make_tensor_proto(inputs, tf.string, shape=[len(inputs)]))
        record = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        return record.SerializeToString()

    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / WARMUP)) as writer:
        for each in raw[:998]:
            writer.write(log("serving_default", [each]))
        writer.write(log("serving_default", raw[:32]))
        writer.write(log("embed", raw[:1]))
