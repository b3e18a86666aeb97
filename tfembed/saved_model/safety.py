"""What a SavedModel could do besides computing: ops that write files or run Python are refused unless it is trusted."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from tensorflow.core.protobuf import meta_graph_pb2

from tfembed.saved_model.graph_file import read_graph_file

_REFUSED = frozenset(
    {
        "WriteFile",
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
        "CreateSummaryFileWriter",
        "CreateSummaryDbWriter",
        "DatasetToTFRecord",
        "ExperimentalDatasetToTFRecord",
        "SaveDataset",
        "SaveDatasetV2",
        "SnapshotDataset",
        "SnapshotDatasetV2",
        "CacheDataset",
        "CacheDatasetV2",
        "DebugIdentity",
        "DebugIdentityV2",
        "DebugIdentityV3",
        "DebugNanCount",
        "DebugNumericSummary",
    }
)
# Every SavedModel has these, for saving it again; nothing else may lead to them.
_SAVING = frozenset({"Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"})


def check_safe(folder: str) -> None:
    """Check that a SavedModel does nothing but compute.

    Args:
        folder: The SavedModel.

    Raises:
        ValueError: If an op in it writes files or runs Python; the message names it. Ops that save checkpoints are
            fine where saving alone leads to them.
    """
    found = sorted(set().union(*(_unsafe_ops(graph) for graph in read_graph_file(folder).meta_graphs)))
    if found:
        raise ValueError(
            f"The module in {folder!r} has ops that write files or run Python: {', '.join(found)}. It is not loaded: "
            "pass trust=True (--trust) if you know where it is from and what it does with them. A model file with such "
            "a module is read with keras.models.load_model(path, safe_mode=False)."
        )


def _unsafe_ops(graph: meta_graph_pb2.MetaGraphDef) -> set[str]:
    """The names of ops that are refused."""
    found, places = set(), set()
    for place, node in _nodes(graph):
        if node.op in _REFUSED or (node.op == "PrintV2" and node.attr["output_stream"].s.startswith(b"file:")):
            found.add(node.op)
        elif node.op in _SAVING:
            places.add((place, node.op))
    saving = _for_saving_alone(graph) if places else set()
    return found | {op for place, op in places if place not in saving}


def _nodes(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[tuple[str, Any]]:
    """Each node with its place: `node:NAME` in the graph, or `function:NAME` for all nodes of a function."""
    for node in graph.graph_def.node:
        yield f"node:{node.name}", node
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            yield f"function:{function.signature.name}", node


def _for_saving_alone(graph: meta_graph_pb2.MetaGraphDef) -> set[str]:
    """The places that saving leads to, and nothing else."""
    start = f"node:{_node_name(graph.saver_def.save_tensor_name)}"
    needs = _needs(graph)
    saving, stack = set(), [start]
    while stack:
        place = stack.pop()
        if place not in saving:
            saving.add(place)
            stack.extend(needs[place])
    users = defaultdict(set)
    for place, needed in needs.items():
        for each in needed:
            users[each].add(place)
    for each in _offered(graph):
        users[each].add("outside")
    while shared := {place for place in saving if users[place] - saving}:
        saving -= shared
    return saving


def _needs(graph: meta_graph_pb2.MetaGraphDef) -> dict[str, set[str]]:
    """For each place, those whose values or functions it uses."""
    needs: dict[str, set[str]] = defaultdict(set)
    for place, node in _nodes(graph):
        needs[place] |= {f"function:{name}" for name in _functions_of(node)}
        if place.startswith("node:"):
            needs[place] |= {f"node:{_node_name(name)}" for name in node.input}
    for gradient in graph.graph_def.library.gradient:
        needs[f"function:{gradient.function_name}"].add(f"function:{gradient.gradient_func}")
    return needs


def _functions_of(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (each.name for each in value.list.func)


def _offered(graph: meta_graph_pb2.MetaGraphDef) -> set[str]:
    """The places that someone who loads the SavedModel can call, or that run when it is loaded."""
    functions = {*graph.object_graph_def.concrete_functions}
    functions |= {each.gradient_func for each in graph.graph_def.library.registered_gradients}
    tensors: Iterable[str] = (
        tensor.name for signature in graph.signature_def.values() for tensor in signature.outputs.values()
    )
    listed = (name for collection in graph.collection_def.values() for name in collection.node_list.value)
    return {f"function:{name}" for name in functions} | {f"node:{_node_name(name)}" for name in (*tensors, *listed)}


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
