"""The file of a SavedModel's graph, read without loading it: whether it is whole, what is callable, and signatures."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tfembed.saved_model.handles import check_fetched, graph_file

_INIT = "__saved_model_init_op"  # TensorFlow lists what sets a module up among its signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureSpec:
    """A signature of a SavedModel.

    Attributes:
        name: Its name, such as `serving_default`.
        inputs: Specs of what it takes, by name.
        outputs: Specs of what it gives, by name.
        computes: Names of what computes its outputs: equal for two names of the same function, as Keras exports have.
    """

    name: str
    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]
    computes: tuple[str, ...]


def read_graph_file(folder: str) -> Any:
    """Parse the graph file of a SavedModel folder, after a look at all of its files.

    Raises:
        ValueError: If there is none, it is damaged, or a Git LFS pointer stands in its place.
    """
    path = graph_file(folder)
    if path is None:
        raise ValueError(f"No SavedModel in {folder!r}. Expected a folder with saved_model.pb.")
    for file in sorted(each for each in Path(folder).rglob("*") if each.is_file()):
        check_fetched(str(file))
    try:
        if path.endswith(".pbtxt"):
            return text_format.Parse(Path(path).read_text(encoding="utf-8"), saved_model_pb2.SavedModel())
        proto = saved_model_pb2.SavedModel.FromString(Path(path).read_bytes())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError):
        proto = None
    if proto is None or not proto.meta_graphs:
        raise ValueError(f"{path!r} is damaged: it cannot be read as the graph of a SavedModel. Fetch it again.")
    return proto


def is_callable(folder: str) -> bool:
    """Tell whether a SavedModel can be called itself, and not by its signatures alone."""
    nodes = _meta_graph(folder).object_graph_def.nodes
    return any(child.local_name == "__call__" for node in nodes[:1] for child in node.children)


def read_signatures(folder: str) -> dict[str, SignatureSpec]:
    """Read the signatures of a SavedModel that take and give plain tensors, by name."""
    graph, signatures = _meta_graph(folder), {}
    for name, definition in sorted(graph.signature_def.items()):
        tensors = [*definition.inputs.values(), *definition.outputs.values()]
        if name != _INIT and all(tensor.WhichOneof("encoding") == "name" for tensor in tensors):
            signatures[name] = SignatureSpec(
                name=name,
                inputs=_specs(definition.inputs),
                outputs=_specs(definition.outputs),
                computes=_computes(graph, definition),
            )
    return signatures


def explain_unreadable(folder: str, error: Exception) -> ValueError:
    """Make one line of what TensorFlow says of a SavedModel that it cannot load."""
    said = " ".join(str(error).split())[:200].rstrip(".")
    return ValueError(
        f"The SavedModel in {os.fspath(folder)!r} cannot be loaded ({type(error).__name__}: {said}). It is damaged, "
        "cut short, or needs ops that this TensorFlow lacks: fetch it again, or see what its documentation asks for."
    )


def _meta_graph(folder: str) -> meta_graph_pb2.MetaGraphDef:
    """The graph for serving; the first one where none has that tag."""
    graphs = read_graph_file(folder).meta_graphs
    return next((graph for graph in graphs if "serve" in graph.meta_info_def.tags), graphs[0])


def _computes(graph: meta_graph_pb2.MetaGraphDef, definition: meta_graph_pb2.SignatureDef) -> tuple[str, ...]:
    """The tensors that a signature gives; of one that calls a single function, the name of that in place of its own."""
    tensors = [info.name for _, info in sorted(definition.outputs.items())]
    calls = {node.name: node.attr["f"].func.name for node in graph.graph_def.node if "f" in node.attr}
    bodies = {function.signature.name: function.node_def for function in graph.graph_def.library.function}

    def inner(tensor: str) -> str:
        name, _, place = tensor.partition(":")
        called = [node.attr["f"].func.name for node in bodies.get(calls.get(name, ""), ()) if "f" in node.attr]
        return f"{called[0]}:{place}" if len(called) == 1 else tensor

    return tuple(map(inner, tensors))


def _specs(tensors: Any) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype), name)
        for name, info in sorted(tensors.items())
    }
