"""Tiny models to serve: half plus two as TensorFlow Serving's tests have it, and others with what is rare."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

_V1 = tf.compat.v1


def write_half_plus(folder: Path, added: float = 2.0) -> Path:
    """A SavedModel of TensorFlow 1, y = x / 2 + added: x to y, and signatures that classify and regress examples."""
    with tf.Graph().as_default(), _V1.Session() as session:
        half, plus = _V1.Variable(0.5, name="a"), _V1.Variable(added, name="b")
        more = _V1.Variable(added + 1, name="c")
        examples = _V1.placeholder(tf.string, [None], name="tf_example")
        features = {name: _V1.FixedLenFeature([1], tf.float32, [0.0]) for name in ("x", "x2")}
        parsed = _V1.io.parse_example(examples, features)
        x = tf.identity(parsed["x"], name="x")
        y, y2 = tf.add(half * x, plus, name="y"), tf.add(half * x, more, name="y2")
        session.run(_V1.global_variables_initializer())
        builder = _V1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": _signature("predict", {"x": x}, {"y": y}),
                "regress_x_to_y": _signature("regress", {"inputs": examples}, {"outputs": y}),
                "regress_x_to_y2": _signature("regress", {"inputs": examples}, {"outputs": y2}),
                "classify_x_to_y": _signature("classify", {"inputs": examples}, {"scores": y}),
                "classify_by_predict": _signature("predict", {"inputs": examples}, {"scores": y}),
                "classify_x": _signature("classify", {"inputs": x}, {"scores": y}),
            },
        )
        builder.save()
    return folder


class _Everything(tf.Module):
    """Signatures with what is rare: many types, no inputs, no batch dimension, defaults, strings, bytes, examples."""

    def __init__(self) -> None:
        self.bias = tf.Variable(1.5)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32, name="images")])
    def images(self, images: tf.Tensor) -> dict[str, Any]:
        return {"sums": tf.reduce_sum(tf.nn.conv2d(images, tf.ones([3, 3, 3, 2]), 1, "SAME"), axis=[1, 2])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classified(self, inputs: tf.Tensor) -> dict[str, Any]:
        return {"scores": _x_of(inputs)[:, tf.newaxis] * 10.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regressed(self, inputs: tf.Tensor) -> dict[str, Any]:
        return {"outputs": _x_of(inputs) + self.bias}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.string, name="texts")])
    def strings(self, texts: tf.Tensor) -> dict[str, Any]:
        return {"upper": tf.strings.upper(texts), "raw_bytes": texts, "lengths": tf.strings.length(texts)}

    @tf.function(input_signature=[])
    def constant(self) -> dict[str, Any]:
        return {"bias": self.bias}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="a"), tf.TensorSpec([], tf.float32, name="b")])
    def scalars(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, Any]:
        return {"sum": a + b + 0 * self.bias}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def row_sums(self, x: tf.Tensor) -> dict[str, Any]:
        return {"sum": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def checked(self, x: tf.Tensor) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, message="negative")]):
            return {"root": tf.sqrt(x)}


def _x_of(examples: tf.Tensor) -> tf.Tensor:
    return tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]


_TYPES = ("float16", "bfloat16", "float64", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool")


def write_everything(folder: Path) -> Path:
    """A SavedModel of TensorFlow 2 with one signature for each thing that is rare."""
    module = _Everything()
    signatures: dict[str, Any] = {
        name: getattr(module, name).get_concrete_function()
        for name in ("strings", "constant", "scalars", "row_sums", "checked", "images", "classified", "regressed")
    }
    for name in _TYPES:
        spec = tf.TensorSpec([None], name, name="x")
        signatures[name] = tf.function(lambda x: {"same": tf.identity(x)}, [spec]).get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures)
    _add_default(folder, "scalars", "b", 10.0)
    _set_methods(folder, classified="classify", regressed="regress")
    return folder


def write_broken(folder: Path) -> Path:
    """A version that cannot be loaded."""
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x07 this is no proto")
    return folder


def _set_methods(folder: Path, **methods: str) -> None:
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        for signature, method in methods.items():
            graph.signature_def[signature].method_name = f"tensorflow/serving/{method}"
    file.write_bytes(model.SerializeToString())


def _add_default(folder: Path, signature: str, name: str, value: float) -> None:
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        found = graph.signature_def[signature].defaults[name]
        found.CopyFrom(tf.make_tensor_proto(np.float32(value)))
    file.write_bytes(model.SerializeToString())


def _signature(method: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    info = _V1.saved_model.build_tensor_info
    return _V1.saved_model.build_signature_def(
        {name: info(tensor) for name, tensor in inputs.items()},
        {name: info(tensor) for name, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )
