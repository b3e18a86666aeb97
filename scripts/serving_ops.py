"""Write down the ops that TensorFlow Serving registers: those of TensorFlow's core and of TensorFlow Text.

    python scripts/serving_ops.py tfembed/export/serving_ops.json

Run it in an environment with tensorflow and tensorflow-text of the version to add. The model server links TensorFlow's
core ops and those of TensorFlow Text (`SUPPORTED_TENSORFLOW_OPS` in tensorflow_serving/model_servers/BUILD); ops that
call Python have no kernel there.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.op_def_pb2 import OpList
from tensorflow.python.client import pywrap_tf_session as session

IN_PYTHON_ALONE = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def registered() -> set[str]:
    return {op.name for op in OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList())).op}


def main() -> None:
    file = Path(sys.argv[1])
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    core = registered()
    import tensorflow_text  # noqa: F401 - registers its ops

    version = ".".join(tf.__version__.split(".")[:2])
    known[version] = {"tensorflow": sorted(core - IN_PYTHON_ALONE), "tensorflow_text": sorted(registered() - core)}
    file.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{version}: {len(core)} core ops, {len(registered() - core)} of TensorFlow Text")


if __name__ == "__main__":
    main()
