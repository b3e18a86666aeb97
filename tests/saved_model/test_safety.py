"""What a SavedModel may not do unless it is trusted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

import tfembed as te
from tfembed.saved_model.safety import check_safe

SPEC = tf.TensorSpec([None, 1], tf.float32)


def save(folder: Path, function: Callable[[tf.Tensor], tf.Tensor]) -> str:
    module = tf.train.Checkpoint()
    module.w = tf.Variable([[2.0]])
    module.__call__ = tf.function(lambda x: function(x) @ module.w, input_signature=[SPEC])
    module.variables = module.trainable_variables = [module.w]
    tf.saved_model.save(module, str(folder))
    return str(folder)


def writes(path: str) -> Callable[[tf.Tensor], tf.Tensor]:
    def function(x: tf.Tensor) -> tf.Tensor:
        tf.io.write_file(path, "gotcha")
        return x

    return function


def python(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), x.shape)


def numpy(x: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.numpy_function(lambda v: v, [x], tf.float32), x.shape)


def prints(x: tf.Tensor) -> tf.Tensor:
    tf.print(x, output_stream="file:///dev/null")
    return x


def saves(x: tf.Tensor) -> tf.Tensor:
    tf.raw_ops.SaveV2(prefix="/dev/null/x", tensor_names=["x"], shape_and_slices=[""], tensors=[x])
    return x


def merges(x: tf.Tensor) -> tf.Tensor:
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=["a"], destination_prefix="b")
    return x


def in_a_branch(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_sum(x) > 1e9, lambda: saves(x), lambda: x)


UNSAFE = {
    "WriteFile": writes("/dev/null"),
    "EagerPyFunc": python,
    "PyFunc": numpy,
    "PrintV2": prints,
    "SaveV2": saves,
    "MergeV2Checkpoints": merges,
    "in a branch": in_a_branch,
}


@pytest.mark.parametrize("kind", UNSAFE)
def test_ops_that_write_or_run_python_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    """The message names the op, and what to do; nothing of the module has run by then."""
    folder = save(tmp_path / "module", UNSAFE[kind])
    with pytest.raises(ValueError, match=f"{'SaveV2' if kind == 'in a branch' else kind}.*trust=True") as error:
        te.HubLayer(folder)
    assert "\n" not in str(error.value)
    assert te.HubLayer(folder, trust=True).resolved_object is not None


def test_a_trusted_module_does_what_it_does(tmp_path: Path) -> None:
    """With trust it writes its file; without, there is none."""
    folder = save(tmp_path / "module", writes(str(tmp_path / "written")))
    with pytest.raises(ValueError, match="WriteFile"):
        te.HubLayer(folder)
    assert not (tmp_path / "written").exists()
    np.testing.assert_array_equal(te.HubLayer(folder, trust=True)([[3.0]]), [[6.0]])
    assert (tmp_path / "written").read_text() == "gotcha"


def test_what_every_module_has_for_saving_is_fine(half_plus_one: str, batch_norm: str, tf1_half_plus_one: str) -> None:
    """Modules in the format of TF2 and of TF1 Hub have ops that save checkpoints, which only saving leads to."""
    for folder in (half_plus_one, batch_norm, tf1_half_plus_one):
        ops = {node.op for node in _nodes(folder)}
        assert "SaveV2" in ops
        check_safe(folder)


def test_saving_that_something_else_leads_to_is_refused(half_plus_one: str, tmp_path: Path) -> None:
    """The module's own function for saving, offered to be called, is no longer for saving alone."""
    proto = saved_model_pb2.SavedModel.FromString(Path(half_plus_one, "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0]
    saving = next(f for f in graph.graph_def.library.function if any(n.op == "SaveV2" for n in f.node_def))
    graph.object_graph_def.concrete_functions[saving.signature.name].SetInParent()
    (tmp_path / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="SaveV2"):
        check_safe(str(tmp_path))


def test_text_files_are_looked_at_as_well(tmp_path: Path) -> None:
    """A graph as text is read as TensorFlow would read it."""
    folder = save(tmp_path / "module", python)
    path = Path(folder, "saved_model.pb")
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    path.with_suffix(".pbtxt").write_text(text_format.MessageToString(proto))
    path.unlink()
    with pytest.raises(ValueError, match="EagerPyFunc"):
        check_safe(folder)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_a_model_file_cannot_trust_itself(tmp_path: Path) -> None:
    """A `.keras` file with such a module is refused too, unless it is read with safe_mode=False."""
    folder = save(tmp_path / "module", writes(str(tmp_path / "written")))
    model = keras.Sequential([keras.Input((1,)), te.HubLayer(folder, trust=True)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"WriteFile.*safe_mode=False"):
        keras.models.load_model(tmp_path / "model.keras")
    Path(folder, "saved_model.pb").unlink()  # so that it comes out of the file
    with pytest.raises(ValueError, match=r"WriteFile.*safe_mode=False"):
        keras.models.load_model(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(loaded(np.float32([[3.0]])), [[6.0]])


def _nodes(folder: str) -> list[Any]:
    graph = saved_model_pb2.SavedModel.FromString(Path(folder, "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
