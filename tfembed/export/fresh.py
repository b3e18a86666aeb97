"""Run an exported model in a process of its own, without tfembed: `fresh.py < REQUEST`.

The request is JSON: the model's folder, the file for the answer, the name of the input, raw inputs in base64, and the
signature that takes tf.Examples. It may come long after the start, which takes seconds. The answer
holds the outputs for all inputs at once (`batch/...`), for some one by one (`single/...`), for some as tf.Examples
(`examples/...`), for none (`empty/...`), and the names of all ops (`ops`). The warmup requests are replayed.
"""

import base64
import json
import sys
from pathlib import Path

SINGLE = 16  # of the inputs are sent one by one


def main() -> None:
    """Load, call, write down."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers the ops of text models
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    if "tfembed" in sys.modules:
        raise RuntimeError("This process must not know tfembed.")
    request = json.load(sys.stdin)
    folder = request["folder"]
    loaded = tf.saved_model.load(folder)
    name, inputs = request["input"], [base64.b64decode(each) for each in request["inputs"]]

    def call(signature, key, values):
        outputs = loaded.signatures[signature](**{key: tf.constant(values, tf.string, shape=[len(values)])})
        return {each: np.asarray(tensor.numpy()) for each, tensor in outputs.items()}

    def example(value):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Example(features=tf.train.Features(feature={name: feature})).SerializeToString()

    singles = [call("serving_default", name, [each]) for each in inputs[:SINGLE]]
    found = {
        "batch": call("serving_default", name, inputs),
        "single": {each: np.concatenate([one[each] for one in singles]) for each in singles[0]},
        "examples": call(request["by_example"], "inputs", [example(each) for each in inputs[:SINGLE]]),
        "empty": call("serving_default", name, []) | call("embed", name, []),
    }
    replay(folder, call)
    graphs = SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes()).meta_graphs
    ops = {op.name for graph in graphs for op in graph.meta_info_def.stripped_op_list.op}
    values = {f"{way}/{each}": value for way, outputs in found.items() for each, value in outputs.items()}
    plain = {each: value.astype("S") if value.dtype == object else value for each, value in values.items()}
    np.savez(request["answer"], allow_pickle=False, ops=np.array(sorted(ops)), **plain)


def replay(folder, call):
    """Send the warmup requests, as TF Serving does when it loads the model."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    file = Path(folder) / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        request = PredictionLog.FromString(record).predict_log.request
        for key, proto in request.inputs.items():
            call(request.model_spec.signature_name, key, tf.make_ndarray(proto).tolist())


if __name__ == "__main__":
    main()
