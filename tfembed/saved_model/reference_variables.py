"""Modules of TF1 with variables of its old kind, on which TensorFlow 2 can neither train a part nor write again.

TF1 kept values in reference variables (`VariableV2`), which TensorFlow 2 runs but hides: such a module lists no
variables, and a SavedModel of it has none either. Its graph is therefore written anew, with resource variables in their
place, and loaded from there; checkpoint and assets are the same files.
"""

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Set
from pathlib import Path

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.variable_pb2 import VariableDef
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

GRAPH = "saved_model.pb"
_REFERENCE = "VariableV2"
_OF_RESOURCES = {
    "Assign": "AssignVariableOp",
    "AssignAdd": "AssignAddVariableOp",
    "AssignSub": "AssignSubVariableOp",
    "IsVariableInitialized": "VarIsInitializedOp",
}
_READ = "resource_read"


def with_resource_variables(folder: str, cache: str) -> str:
    """A folder with the same SavedModel, its variables those of TensorFlow 2; the folder itself if they are.

    Args:
        folder: A SavedModel folder.
        cache: Where to write the other one, once for each state of the first; its large files are links.
    """
    path = Path(folder, GRAPH)
    if not path.is_file():
        return folder
    content = path.read_bytes()
    if _REFERENCE.encode() not in content:  # before it is parsed, which may take long
        return folder
    proto = saved_model_pb2.SavedModel.FromString(content)
    if not any(node.op == _REFERENCE for graph in proto.meta_graphs for node in graph.graph_def.node):
        return folder
    target = Path(cache, f"{_name_of(folder, content)}.resources")
    if not target.is_dir():
        for graph in proto.meta_graphs:
            convert(graph)
        _write(Path(folder), target, proto.SerializeToString())
    return str(target)


def convert(meta: meta_graph_pb2.MetaGraphDef) -> None:
    """Put resource variables in the place of reference variables, and of what acts on them, in place."""
    graph = meta.graph_def
    names = {node.name for node in graph.node if node.op == _REFERENCE}
    dtypes = {node.name: node.attr["dtype"].type for node in graph.node if node.name in names}
    assigned = {node.name: target for node in graph.node if (target := _changed_by(node, names))}
    nodes = [_converted(node, names, assigned) for node in graph.node]
    nodes += [_read_of(name, name, dtypes[name]) for name in names]
    nodes += [_read_of(name, target, dtypes[target], after=name) for name, target in assigned.items()]
    converted = GraphDef(versions=graph.versions, library=graph.library, node=nodes)
    graph.CopyFrom(converted)
    for collection in meta.collection_def.values():
        if collection.HasField("bytes_list"):
            values = collection.bytes_list.value
            values[:] = [_described(value, names) for value in values]


def _changed_by(node: NodeDef, names: Set[str]) -> str | None:
    """The variable that an op assigns to, whose new value is what the op gave."""
    target = _base(node.input[0]) if node.input else ""
    return target if node.op.startswith("Assign") and node.op in _OF_RESOURCES and target in names else None


def _converted(node: NodeDef, names: Set[str], assigned: dict[str, str]) -> NodeDef:
    made = NodeDef()
    made.CopyFrom(node)
    made.input[:] = [_rewired(name, {*names, *assigned}) for name in node.input]
    if node.name in names:
        made.op = "VarHandleOp"
        made.attr.pop("_output_shapes", None)  # that of the value; a handle is a scalar
        made.attr["shared_name"].s = made.attr["shared_name"].s or node.name.encode()
    elif node.op in _OF_RESOURCES and node.input and _base(node.input[0]) in names:
        made.op = _OF_RESOURCES[node.op]
        made.input[0] = _base(node.input[0])
        dtype = node.attr["T"].type or node.attr["dtype"].type
        made.attr.clear()
        if made.op != "VarIsInitializedOp":
            made.attr["dtype"].type = dtype
    return made


def _rewired(name: str, changed: Set[str]) -> str:
    """An input, or the value read where it was a reference; what only has to come first stays."""
    return name if name.startswith("^") or _base(name) not in changed else f"{_base(name)}/{_READ}"


def _read_of(name: str, variable: str, dtype: int, after: str | None = None) -> NodeDef:
    node = NodeDef(name=f"{name}/{_READ}", op="ReadVariableOp", input=[variable, *([f"^{after}"] if after else [])])
    node.attr["dtype"].type = dtype
    return node


def _described(value: bytes, names: Set[str]) -> bytes:
    """What a collection says of a variable; other members as they are."""
    found = VariableDef()
    with contextlib.suppress(Exception):  # protobuf's own error has no public name; collections hold other messages
        found.ParseFromString(value)
    if _base(found.variable_name) not in names:
        return value
    found.is_resource, found.snapshot_name = True, f"{_base(found.variable_name)}/{_READ}:0"
    return found.SerializeToString()


def _base(tensor: str) -> str:
    return tensor.partition(":")[0]


def _name_of(folder: str, graph: bytes) -> str:
    """A name for the files of a folder as they are now; to read them all would take as long as to copy them."""
    digest = hashlib.sha256(graph)
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        stat = path.stat()
        digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _write(folder: Path, target: Path, graph: bytes) -> None:
    """Write the folder aside, whole, its other files linked where the file system can."""
    scratch = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        shutil.copytree(folder, scratch, ignore=shutil.ignore_patterns(GRAPH), copy_function=_link)
        (scratch / GRAPH).write_bytes(graph)
        with contextlib.suppress(OSError):  # another process may have put the same content there meanwhile
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
