"""Run an exported model in a process of its own, without tfembed: `export_check.py FOLDER ANSWER.npz < REQUEST`.

The request is JSON: the name of the input, and raw inputs in base64. The answer holds the outputs.
"""

import base64
import json
import sys


def main() -> None:
    """Load, call, write down."""
    folder, answer = sys.argv[1:]
    request = json.load(sys.stdin)
    import numpy as np
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers the ops of text models

    if "tfembed" in sys.modules:
        raise RuntimeError("This process must not know tfembed.")
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    inputs = [base64.b64decode(each) for each in request["inputs"]]
    outputs = serve(**{request["name"]: tf.constant(inputs, tf.string)})
    values = {name: np.asarray(tensor.numpy()) for name, tensor in outputs.items()}
    plain = {name: value.astype("S") if value.dtype == object else value for name, value in values.items()}
    np.savez(answer, allow_pickle=False, **plain)


if __name__ == "__main__":
    main()
