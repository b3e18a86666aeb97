"""A module cut anywhere computes what it computed whole, and its upper part trains as if it were whole."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_modules import ROWS, cut_up, flat_dense, norm_and_dropout, publish, weight

from tfembed.saved_model.blocks import find_blocks
from tfembed.saved_model.cut import ModuleGraph
from tfembed.saved_model.graph import CutError

GLYPHS = Path(__file__).parents[2] / "tfembed" / "resources" / "glyphs"


def batch(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def gradients(run: Callable[[], Any], variables: list[tf.Variable]) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        outputs = [tf.cast(leaf, tf.float32) for leaf in tf.nest.flatten(run())]
        loss = tf.add_n([tf.reduce_sum(tf.square(leaf)) for leaf in outputs])
    found = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def check_everywhere(
    graph: ModuleGraph, whole: Callable[[Any], Any], inputs: Any, *, atol: float = 1e-6, every: int = 1
) -> None:
    """At each cut the same outputs; at every few, from the last on, the same gradients of all that is behind it."""
    expected = tf.nest.flatten(whole(inputs))
    tuned = {v.ref(): v for b in graph.blocks for v in b.variables if v.trainable and v.dtype.is_floating}
    theirs = dict(zip(tuned, gradients(lambda: whole(inputs), list(tuned.values())), strict=True))
    for cut in range(1, graph.num_blocks):
        features = graph.segment(0, cut)(inputs)
        suffix = graph.segment(cut, graph.num_blocks)
        for got, wanted in zip(tf.nest.flatten(suffix(features)), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=atol, rtol=1e-6)
        if (graph.num_blocks - 1 - cut) % every:
            continue
        behind = [v.ref() for block in graph.blocks[cut:] for v in block.variables if v.ref() in tuned]
        ours = gradients(lambda suffix=suffix, features=features: suffix(features), [tuned[ref] for ref in behind])
        scale = max(np.abs(theirs[ref]).max() for ref in behind)
        assert scale > 0
        for ref, got in zip(behind, ours, strict=True):
            np.testing.assert_allclose(got, theirs[ref], atol=1e-5 * scale)


def three_blocks(x: tf.Tensor, kernels: list[tf.Variable]) -> tf.Tensor:
    for kernel in kernels:
        x = flat_dense(x, kernel)
    return x


@pytest.fixture(scope="module")
def kernels() -> list[tf.Variable]:
    return [weight(f"block_{i}/kernel", 4, 4, seed=i) for i in range(3)]


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return norm_and_dropout(tmp_path_factory.mktemp("normed"))


def statistics(graph: ModuleGraph) -> list[list[np.ndarray]]:
    return [[v.numpy() for v in block.variables if "moving" in v.name] for block in graph.blocks]


@pytest.fixture
def unchanged(normed: Any) -> Any:
    """The module with batch norm and dropout, put back as it was after the test."""
    before = [v.numpy() for v in normed.variables]
    yield normed
    for variable, value in zip(normed.variables, before, strict=True):
        variable.assign(value)


def test_a_module_with_batch_norm_and_dropout_is_cut_anywhere(normed: Any) -> None:
    """Blocks come from the layers' names, and every cut keeps outputs and gradients."""
    graph = cut_up(normed)
    assert [block.name for block in graph.blocks] == ["block_0", "block_1", "top_dense"]
    check_everywhere(graph, lambda x: normed(x, training=False), batch(6, 4))


def test_segments_chain(normed: Any) -> None:
    """From the input over two cuts to the output is the same as at once."""
    graph, x = cut_up(normed), batch(6, 4)
    in_steps = graph.segment(2, 3)(graph.segment(1, 2)(graph.segment(0, 1)(x)))
    np.testing.assert_allclose(in_steps, graph.segment(0, 3)(x), atol=1e-6)


def test_statistics_move_in_the_trained_segment_only(unchanged: Any) -> None:
    """The moving statistics of a frozen block stay, those of a trained one follow the batch by the momentum."""
    graph, x = cut_up(unchanged), batch(64, 4)
    before = statistics(graph)
    features = graph.segment(0, 1)(x)
    graph.segment(1, 3, training=True)(features)
    after = statistics(graph)
    np.testing.assert_array_equal(before[0], after[0])
    assert all((a != b).all() for a, b in zip(before[1], after[1], strict=True))
    graph.segment(1, 3)(features)
    np.testing.assert_array_equal(statistics(graph)[1], after[1])


def test_training_a_segment_moves_statistics_as_the_whole_does(unchanged: Any) -> None:
    """Trained from cut 0, the statistics end where the module's own training call takes them."""
    graph, x = cut_up(unchanged), batch(64, 4)
    start = [v.numpy() for v in unchanged.variables]
    unchanged(x, training=True)
    theirs = statistics(graph)
    for variable, value in zip(unchanged.variables, start, strict=True):
        variable.assign(value)
    graph.segment(0, 3, training=True)(x)
    for ours, wanted in zip(statistics(graph)[0], theirs[0], strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5)  # block 1 lies behind a dropout and differs by its mask


def test_dropout_acts_in_the_trained_segment_only(unchanged: Any) -> None:
    """Two calls for training differ, and two for inference do not."""
    graph, x = cut_up(unchanged), batch(64, 4)
    features = graph.segment(0, 1)(x)
    trained, frozen = graph.segment(1, 3, training=True), graph.segment(1, 3)
    assert (trained(features).numpy() != trained(features).numpy()).any()
    np.testing.assert_array_equal(frozen(features), frozen(features))


def test_a_middle_block_trains_between_frozen_ones(unchanged: Any) -> None:
    """Block 1 is trained, with block 0 in front of it and the top behind it frozen: gradients pass through the top."""
    graph, x = cut_up(unchanged), batch(8, 4)
    middle, top = graph.segment(1, 2, training=True), graph.segment(2, 3)
    features = graph.segment(0, 1)(x)
    kernel = next(v for v in graph.blocks[1].variables if "kernel" in v.name)
    assert np.abs(gradients(lambda: top(middle(features)), [kernel])[0]).max() > 0


def test_a_segment_trains_under_keras_fit(unchanged: Any) -> None:
    """Inside `fit` the live variables move, and so does the loss."""
    graph = cut_up(unchanged)
    suffix, x = graph.segment(1, 3), batch(32, 4)
    features = graph.segment(0, 1)(x)
    tuned = [v for block in graph.blocks[1:] for v in block.variables if v.trainable]

    class Top(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.shared = [keras.Variable(v, trainable=True, autocast=False) for v in tuned]

        def call(self, inputs: Any) -> Any:
            return suffix(inputs)

        def compute_output_spec(self, inputs: Any) -> Any:
            return keras.KerasTensor((None, 3))

    inputs = {name: keras.Input(spec.shape[1:], name=name) for name, spec in graph.spec(1).items()}
    model = keras.Model(inputs, Top()(inputs))
    model.compile("adam", "mse")
    before = [v.numpy() for v in tuned]
    losses = model.fit(features, np.zeros((32, 3), "float32"), epochs=5, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all((v.numpy() != old).any() for v, old in zip(tuned, before, strict=True))


def test_two_inputs_that_meet_behind_the_cut(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Of the input that is used late, what is needed crosses as it came."""

    def call(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return three_blocks(inputs["first"], kernels[:2]) + flat_dense(inputs["second"], kernels[2])

    module = publish(tmp_path, call, kernels, ({"first": ROWS, "second": ROWS},))
    blocks = [
        next(b for b in find_blocks(module, *module.__call__.concrete_functions) if b.name == f"block_{i}")
        for i in range(3)
    ]
    graph = ModuleGraph(module.__call__, blocks)
    assert set(graph.spec(2)) == {"block_1", "second"}
    check_everywhere(graph, module, {"first": batch(5, 4), "second": batch(5, 4, seed=1)})


def test_a_skip_connection_across_the_cut_crosses_with_it(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Both ends of the connection are kept."""

    def call(x: tf.Tensor) -> tf.Tensor:
        first = flat_dense(x, kernels[0])
        return flat_dense(flat_dense(first, kernels[1]), kernels[2]) + first

    module = publish(tmp_path, call, kernels, (ROWS,))
    graph = cut_up(module)
    assert set(graph.spec(2)) == {"block_0", "block_1"}
    check_everywhere(graph, module, batch(5, 4))


def test_control_flow_on_a_training_tensor_is_decided(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """A `training` tensor gets its value at the cut, and its conditional only one of its branches."""

    def call(x: tf.Tensor, training: tf.Tensor) -> tf.Tensor:
        x = flat_dense(x, kernels[0])
        x = tf.cond(training, lambda: tf.nn.dropout(flat_dense(x, kernels[1]), 0.5), lambda: flat_dense(x, kernels[1]))
        return flat_dense(x, kernels[2])

    module = publish(tmp_path, call, kernels, (ROWS, tf.TensorSpec([], tf.bool)))
    graph, x = cut_up(module), batch(50, 4)
    check_everywhere(graph, lambda x: module(x, tf.constant(False)), x)
    features = graph.segment(0, 1)(x)
    trained = graph.segment(1, 2, training=True)(features)["block_1"].numpy()
    assert 0.3 < (trained == 0).mean() < 0.7


def test_control_flow_on_the_data_stays_one_op(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """A conditional that the data decides stands behind the cut, and gradients pass it."""

    def call(x: tf.Tensor) -> tf.Tensor:
        x = flat_dense(x, kernels[0])
        x = flat_dense(x, kernels[1])
        return tf.cond(tf.shape(x)[0] > 2, lambda: flat_dense(x, kernels[2]), lambda: x)

    module = publish(tmp_path, call, kernels, (ROWS,))
    check_everywhere(cut_up(module), module, batch(5, 4))


def embeddings(tmp_path: Path, *, with_table: bool) -> Any:
    """Words or ids, embedded, masked, averaged, and a dense block."""
    table, kernel = weight("embeddings/table", 6, 4), weight("top/kernel", 4, 4)
    second = weight("middle/kernel", 4, 4, seed=5)
    tracked = {}
    if with_table:
        initializer = tf.lookup.KeyValueTensorInitializer(["a", "b", "c"], tf.constant([1, 2, 3], tf.int64))
        tracked["words"] = tf.lookup.StaticVocabularyTable(initializer, 2)

    def call(inputs: tf.Tensor) -> tf.Tensor:
        ids = tf.cast(tracked["words"].lookup(inputs), tf.int32) if with_table else inputs
        mask = tf.cast(tf.not_equal(ids, 0), tf.float32)[:, :, None]
        x = tf.nn.embedding_lookup(table, ids) * mask
        x = tf.tanh(tf.einsum("bsd,de->bse", x, second)) * mask
        return flat_dense(tf.reduce_sum(x, axis=1) / (tf.reduce_sum(mask, axis=1) + 1.0), kernel)

    spec = tf.TensorSpec([None, None], tf.string if with_table else tf.int32)
    return publish(tmp_path, call, [table, second, kernel], (spec,), **tracked)


@pytest.mark.parametrize("with_table", [False, True], ids=["ids", "words"])
def test_embeddings_with_masks_are_cut(tmp_path: Path, with_table: bool) -> None:
    """Behind a gather or a lookup table the cut keeps numbers, never texts."""
    module = embeddings(tmp_path, with_table=with_table)
    graph = cut_up(module)
    assert [block.name for block in graph.blocks] == ["embeddings", "middle", "top"]
    ids = np.array([[1, 2, 0], [3, 1, 1]], np.int32)
    inputs = tf.constant(np.array(["x", "a", "b", "c"])[ids]) if with_table else tf.constant(ids)
    check_everywhere(graph, module, inputs)
    assert all(spec.dtype != tf.string for cut in (1, 2) for spec in graph.spec(cut).values())
    table = [v for v in module.variables if "table" in v.name]
    ours, theirs = gradients(lambda: graph.segment(0, 3)(inputs), table), gradients(lambda: module(inputs), table)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-7)


def test_what_crosses_is_cheap(tmp_path: Path) -> None:
    """A padded, widened copy does not cross where what it is made of is smaller."""
    kernels = [weight("block_0/kernel", 4, 4), weight("block_1/kernel", 40, 4)]

    def call(x: tf.Tensor) -> tf.Tensor:
        return flat_dense(tf.pad(flat_dense(x, kernels[0]), [[0, 0], [0, 36]]), kernels[1])

    graph = cut_up(publish(tmp_path, call, kernels, (ROWS,)))
    assert graph.bytes_per_example(1, batch(3, 4)) == 16
    assert graph.bytes_per_example(0, batch(3, 4)) == 16
    assert graph.cost_share(1) == pytest.approx(16 / (16 + 160))


def test_costly_ops_are_not_repeated_behind_the_cut(tmp_path: Path) -> None:
    """A product of matrices crosses, though its factors, which no variable touches any more, would be smaller."""
    kernels = [weight("block_0/kernel", 4, 4), weight("block_1/kernel", 16, 4)]

    def call(x: tf.Tensor) -> tf.Tensor:
        rows = flat_dense(x, kernels[0])[:, :, None]
        return flat_dense(tf.reshape(tf.matmul(rows, rows, transpose_b=True), [-1, 16]), kernels[1])

    graph = cut_up(publish(tmp_path, call, kernels, (ROWS,)))
    assert graph.bytes_per_example(1, batch(3, 4)) == 64


def test_a_frozen_statistic_does_not_follow_a_trained_block(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """A statistic of a frozen block stays even if the module would update it from behind the cut."""
    moving = tf.Variable(tf.zeros([4]), trainable=False, name="block_0/moving_mean")

    def call(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = flat_dense(x - moving, kernels[0])
        x = flat_dense(x, kernels[1])
        if training:
            moving.assign(0.5 * moving + 0.5 * tf.reduce_mean(x, axis=0))
        return flat_dense(x, kernels[2])

    module = publish(tmp_path, call, [*kernels, moving], (ROWS, False), (ROWS, True))
    graph = cut_up(module)
    graph.segment(1, 3, training=True)(graph.segment(0, 1)(batch(5, 4)))
    np.testing.assert_array_equal(module.variables[3], np.zeros(4))
    graph.segment(0, 3, training=True)(batch(5, 4))
    assert (module.variables[3].numpy() != 0).all()


def test_a_shared_variable_stays_where_it_first_acts(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """A table that is used at both ends belongs to the input end, and its late use reads the frozen value."""

    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(three_blocks(x, kernels), kernels[0], transpose_b=True)

    graph = cut_up(module := publish(tmp_path, call, kernels, (ROWS,)))
    assert [block.name for block in graph.blocks] == ["block_0", "block_1", "block_2"]
    check_everywhere(graph, module, batch(5, 4))


def test_outputs_of_frozen_blocks_cross_the_cut(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """All outputs are given in their structure; asking for one of them keeps the cut small."""

    def call(x: tf.Tensor) -> dict[str, Any]:
        steps = [flat_dense(x, kernels[0])]
        steps.append(flat_dense(steps[-1], kernels[1]))
        return {"steps": steps, "last": flat_dense(steps[-1], kernels[2])}

    module, x = publish(tmp_path, call, kernels, (ROWS,)), batch(5, 4)
    graph, small = cut_up(module), cut_up(module, outputs=["last"])
    check_everywhere(graph, module, x)
    outputs = graph.segment(2, 3)(graph.segment(0, 2)(x))
    assert isinstance(outputs["steps"], list)
    assert set(graph.spec(2)) == {"block_0", "block_1"}
    assert set(small.spec(2)) == {"block_1"}
    assert set(small.segment(2, 3)(small.segment(0, 2)(x))) == {"last"}


def test_a_fixed_batch_size_is_cut(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Functions for one batch size only are cut as well."""
    module = publish(tmp_path, lambda x: three_blocks(x, kernels), kernels, (tf.TensorSpec([5, 4]),))
    check_everywhere(cut_up(module), module, batch(5, 4))


def test_the_function_is_chosen_by_inputs_and_arguments(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Of several traced functions, the one for these inputs and these arguments is cut."""

    def call(inputs: Any, scale: bool) -> tf.Tensor:
        x = inputs["x"] if isinstance(inputs, dict) else inputs
        return three_blocks(x, kernels) * (2.0 if scale else 1.0)

    module = publish(tmp_path, call, kernels, (ROWS, False), (ROWS, True), ({"x": ROWS}, True))
    x = batch(5, 4)
    graph = cut_up(module, arguments={"scale": True}, inputs={"x": ROWS})
    assert set(graph.spec(0)) == {"x"}
    check_everywhere(graph, lambda x: module(x, True), {"x": x})
    with pytest.raises(CutError, match="has no argument"):
        cut_up(module, arguments={"rate": 0.5})


def test_custom_gradients_are_kept(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Behind the cut a custom gradient is the gradient, as in the module itself."""

    @tf.custom_gradient
    def straight_through(x: tf.Tensor) -> Any:
        return tf.round(x), lambda upstream: upstream

    def call(x: tf.Tensor) -> tf.Tensor:
        return flat_dense(straight_through(three_blocks(x, kernels[:2])), kernels[2])

    folder = tmp_path / "module"
    module = tf.train.Checkpoint()
    module.__call__, module.variables = tf.function(call, input_signature=[ROWS]), kernels
    tf.saved_model.save(module, str(folder), options=tf.saved_model.SaveOptions(experimental_custom_gradients=True))
    module = tf.saved_model.load(str(folder))
    check_everywhere(cut_up(module), module, batch(5, 4))


def test_unusual_node_names_are_cut(tmp_path: Path) -> None:
    """Scopes that start with digits, contain dots or are called as our own ops are harmless."""
    kernels = [weight(name, 4, 4) for name in ("1.a-b/kernel", "part/kernel", "inputs/kernel")]

    def call(inputs: tf.Tensor) -> tf.Tensor:
        for name, kernel in zip(("1.a-b", "part", "inputs"), kernels, strict=True):
            with tf.name_scope(name):
                inputs = flat_dense(inputs, kernel)
        return inputs

    module = publish(tmp_path, call, kernels, (ROWS,))
    graph = cut_up(module)
    assert [block.name for block in graph.blocks] == ["1.a-b", "part", "inputs"]
    check_everywhere(graph, module, batch(5, 4))


def test_a_size_that_nothing_else_tells_crosses(tmp_path: Path) -> None:
    """Where a late block asks for the length of the texts and no features tell it any more, the input crosses too.

    From the cut before, nothing leads to it: the segment between the two says so, and both cuts serve all the same.
    """
    kernels = [weight(f"block_{i}/kernel", *shape) for i, shape in enumerate([(1, 4), (4, 4), (4, 4)])]

    def call(x: tf.Tensor) -> tf.Tensor:
        steps = tf.einsum("nle,ed->nld", tf.einsum("nle,ed->nld", x[:, :, None], kernels[0]), kernels[1])
        return flat_dense(tf.reduce_mean(steps, axis=1), kernels[2]) * tf.cast(tf.shape(x)[1], tf.float32)

    module = publish(tmp_path, call, kernels, (tf.TensorSpec([None, None]),))
    graph, x = cut_up(module), batch(5, 7)
    assert [set(graph.spec(cut)) for cut in (1, 2)] == [{"block_0"}, {"x", "block_1"}]
    check_everywhere(graph, module, x)
    with pytest.raises(CutError, match="which are not handed over"):
        graph.segment(1, 2)


def test_random_numbers_in_the_prefix_are_refused(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """What is drawn anew for each call cannot be kept."""

    def call(x: tf.Tensor) -> tf.Tensor:
        x = flat_dense(x, kernels[0])
        return three_blocks(x + tf.random.normal(tf.shape(x)), kernels[1:])

    graph = cut_up(publish(tmp_path, call, kernels, (ROWS,)))
    with pytest.raises(CutError, match="not settled by its input"):
        graph.segment(1, 3)


def test_a_batch_that_is_mixed_in_the_prefix_is_refused(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Features that depend on the other examples of a batch cannot be kept for one."""

    def call(x: tf.Tensor) -> tf.Tensor:
        x = flat_dense(x, kernels[0])
        return three_blocks(x - tf.reduce_mean(x, axis=0), kernels[1:])

    graph = cut_up(publish(tmp_path, call, kernels, (ROWS,)))
    with pytest.raises(CutError, match="other examples of the batch"):
        graph.segment(2, 3)


def test_hidden_variables_are_refused(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Variables that are used but belong to no block could not be told frozen or not."""
    module = publish(tmp_path, lambda x: three_blocks(x, kernels), kernels, (ROWS,))
    with pytest.raises(CutError, match="hides them"):
        ModuleGraph(module.__call__, cut_up(module).blocks[:2])


def test_a_training_function_that_computes_something_else_is_refused(
    tmp_path: Path, kernels: list[tf.Variable]
) -> None:
    """If the functions differ behind the cut, that is said, and inference can still be cut."""

    def call(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = three_blocks(x, kernels[:2])
        return flat_dense(3.0 * tf.sin(x) if training else x, kernels[2])

    graph = cut_up(publish(tmp_path, call, kernels, (ROWS, False), (ROWS, True)))
    graph.segment(1, 3)
    with pytest.raises(CutError, match="training function"):
        graph.segment(1, 3, training=True)


def test_training_with_other_variables_is_refused(tmp_path: Path, kernels: list[tf.Variable]) -> None:
    """Graphs of one form that use their variables differently are told apart by their numbers."""

    def call(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return three_blocks(x, [kernels[0], kernels[2], kernels[1]] if training else kernels)

    graph = cut_up(publish(tmp_path, call, kernels, (ROWS, False), (ROWS, True)))
    with pytest.raises(CutError, match="training function"):
        graph.segment(1, 3, training=True)


def test_a_callable_without_a_graph_is_refused() -> None:
    """A plain Python function has nothing to cut."""
    with pytest.raises(CutError, match="no graph to cut"):
        ModuleGraph(lambda x: x, [])


def test_segments_that_do_not_exist_are_errors(normed: Any) -> None:
    """The message says how many blocks there are."""
    graph = cut_up(normed)
    for start, stop in ((0, 4), (2, 2), (-1, 1)):
        with pytest.raises(ValueError, match="3 blocks"):
            graph.segment(start, stop)


def hub_inputs(name: str) -> Any:
    if name.startswith("mobilenet"):
        return tf.constant(np.random.default_rng(0).random((2, 64, 64, 3), np.float32))
    ids = np.random.default_rng(0).integers(5, 1000, (3, 9)).astype(np.int32)
    mask = (np.arange(9) < np.array([[9], [5], [2]])).astype(np.int32)
    return {"input_word_ids": tf.constant(ids), "input_mask": tf.constant(mask), "input_type_ids": tf.zeros_like(ids)}


HUB_BLOCKS = {
    "minilm_encoder": ["embeddings", *(f"layer_{i}" for i in range(6)), "pooler"],
    "mobilenet_v2_035_224_feature_vector": ["Conv1", *(f"block_{i}" for i in range(17)), "Conv_1"],
}


@pytest.mark.parametrize("name", HUB_BLOCKS)
def test_real_modules_are_cut_at_every_block(shared: Path, name: str) -> None:
    """Modules by Google's exporters: recognisable blocks, and equal outputs and gradients at each cut."""
    module = tf.saved_model.load(str(shared / "hub" / name))
    graph, inputs = cut_up(module), hub_inputs(name)
    assert [block.name for block in graph.blocks] == HUB_BLOCKS[name]
    whole = graph.segment(0, graph.num_blocks)
    theirs = tf.nest.flatten(module(inputs, training=False))
    for got, wanted in zip(tf.nest.flatten(whole(inputs)), theirs, strict=True):
        # the optimizer may fuse ops in one graph and not the other
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-5)
    check_everywhere(graph, whole, inputs, every=6)


@pytest.mark.parametrize("name", HUB_BLOCKS)
def test_real_modules_train_their_top(shared: Path, name: str) -> None:
    """The training function's top is found, and only its own statistics move."""
    module = tf.saved_model.load(str(shared / "hub" / name))
    graph = cut_up(module, outputs=None if name.startswith("mobilenet") else ["sequence_output"])
    cut = graph.num_blocks - 2
    features = graph.segment(0, cut)(hub_inputs(name))
    before = [v.numpy() for block in graph.blocks[:cut] for v in block.variables]
    moving = statistics(graph)[cut:]
    graph.segment(cut, graph.num_blocks, training=True)(features)
    for variable, value in zip((v for b in graph.blocks[:cut] for v in b.variables), before, strict=True):
        np.testing.assert_array_equal(variable, value)
    for old, new in zip(chain(*moving), chain(*statistics(graph)[cut:]), strict=True):
        assert (old != new).any()


def test_the_shipped_encoder_is_cut_at_every_block() -> None:
    """The encoder that ships with the package is cut, also for training, though its training fuses its batch norm."""
    module = tf.saved_model.load(str(GLYPHS))
    graph = cut_up(module)
    shape = [4, *graph.spec(0)["inputs" if "inputs" in graph.spec(0) else next(iter(graph.spec(0)))].shape[1:]]
    inputs = tf.constant(np.random.default_rng(0).random(shape, np.float32))
    assert graph.blocks[0].name == "stem"
    check_everywhere(graph, graph.segment(0, graph.num_blocks), inputs)
    for cut in range(1, graph.num_blocks):
        assert graph.segment(cut, graph.num_blocks, training=True)(graph.segment(0, cut)(inputs)).shape[0] == 4
