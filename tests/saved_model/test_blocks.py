"""Blocks are what a person recognises, in the order of the data; selectors pick from them, or say what there is."""

from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tiny_modules import ROWS, flat_dense, publish, weight

from tfembed.saved_model.block_names import group_name, group_names
from tfembed.saved_model.blocks import Block, check_cover, find_blocks, select_variables, variable_name


def blocks_of(*variables: tf.Variable, call: object, folder: Path) -> dict[str, list[str]]:
    module = publish(folder, call, variables, (ROWS,))
    found = find_blocks(module, *module.__call__.concrete_functions)
    return {block.name: [variable_name(v) for v in block.variables] for block in found}


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("bert_encoder/transformer/layer_0/self_attention/query/kernel", "layer_0"),
        ("Transformer/encoderblock_11/MlpBlock_3/Dense_0/kernel", "encoderblock_11"),
        ("encoder/layer/7/attention/weight", "layer_7"),
        ("conv5_block3_2_bn/gamma", "conv5_block3"),
        ("block3b_expand_conv/kernel", "block3b"),
        ("block1_conv2/kernel", "block1"),
        ("stages/2/norm/gamma", "stages_2"),
        ("expanded_conv_project_BN/beta", "block_0"),
        ("expanded_conv_4/depthwise/kernel", "block_4"),
        ("stem_bn/gamma", "stem"),
        ("stem_conv/kernel", "stem"),
        ("Conv_1_bn/gamma", "Conv_1"),
        ("token_and_position_embedding/embeddings", "embeddings"),
        ("layer_normalization_3/gamma", "layer_normalization_3"),
        ("dense_2/bias", "dense_2"),
    ],
)
def test_groups_are_recognisable(name: str, group: str) -> None:
    """The names of well-known architectures give the groups that people speak of."""
    assert group_name(name) == group


def test_scopes_that_all_share_are_dropped() -> None:
    """A model's own name in front of all variables makes no block."""
    named = [(tf.Variable(0.0), f"my_model/{name}/kernel") for name in ("first", "second")]
    assert list(group_names(tf.Module(), named)) == ["first", "second"]


def test_attributes_name_what_variables_do_not(tmp_path: Path) -> None:
    """Variables without scopes are grouped by the attributes that hold them."""
    module = tf.Module()
    module.stem, module.stages = tf.Module(), [tf.Module(), tf.Module()]
    for part in (module.stem, *module.stages):
        part.kernel = weight("Variable", 4, 4)

    def call(x: tf.Tensor) -> tf.Tensor:
        for part in (module.stem, *module.stages):
            x = flat_dense(x, part.kernel)
        return x

    concrete = tf.function(call).get_concrete_function(ROWS)
    assert [block.name for block in find_blocks(module, concrete)] == ["stem", "stages_0", "stages_1"]


def test_blocks_follow_the_data_not_their_names(tmp_path: Path) -> None:
    """The order is that in which they first act, whatever they are called and in whatever order they were made."""
    first, second, third = weight("z/kernel", 4, 4), weight("b/kernel", 4, 4), weight("a/kernel", 4, 4)

    def call(x: tf.Tensor) -> tf.Tensor:
        return flat_dense(flat_dense(flat_dense(x, first), second), third)

    assert list(blocks_of(third, first, second, call=call, folder=tmp_path)) == ["z", "b", "a"]


def test_groups_that_need_each_other_become_one(tmp_path: Path) -> None:
    """No cut can part a group that acts before and behind another one."""
    a, b, c, d = (weight(name, 4, 4) for name in ("even/first", "odd/second", "even/third", "top/fourth"))

    def call(x: tf.Tensor) -> tf.Tensor:
        for kernel in (a, b, c, d):
            x = flat_dense(x, kernel)
        return x

    assert list(blocks_of(a, b, c, d, call=call, folder=tmp_path)) == ["even+odd", "top"]


def test_what_acts_nowhere_never_is_a_top_block(tmp_path: Path) -> None:
    """Unused weights are a block in front of all others; unused counters belong to the first block."""
    kernel, idle, counter = weight("b/kernel", 4, 4), weight("z/idle", 4), tf.Variable(0, False, name="steps/counter")
    found = blocks_of(kernel, idle, counter, call=lambda x: flat_dense(x, kernel), folder=tmp_path)
    assert found == {"unused": ["z/idle"], "b": ["b/kernel", "steps/counter"]}


def test_unused_weights_stay_with_their_group(tmp_path: Path) -> None:
    """A weight that acts nowhere belongs to the group that its name says, if that acts."""
    kernel, idle = weight("b/kernel", 4, 4), weight("b/idle", 4)
    found = blocks_of(kernel, idle, call=lambda x: flat_dense(x, kernel), folder=tmp_path)
    assert found == {"b": ["b/kernel", "b/idle"]}


def test_a_module_that_hides_its_variables_has_one_block(tmp_path: Path) -> None:
    """Without a list of variables, or with variables that are not on it, there is nothing to tell apart."""
    kernels = [weight("a/kernel", 4, 4), weight("b/kernel", 4, 4)]

    class Hiding(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernels = kernels

        @tf.function(input_signature=[ROWS])
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return flat_dense(flat_dense(x, kernels[0]), kernels[1])

    tf.saved_model.save(Hiding(), str(tmp_path / "hiding"))
    hiding = tf.saved_model.load(str(tmp_path / "hiding"))
    (block,) = find_blocks(hiding, *hiding.__call__.concrete_functions)
    assert block.num_parameters == 32
    partly = tf.train.Checkpoint()
    partly.variables = kernels[:1]
    (block,) = find_blocks(partly, Hiding().__call__.get_concrete_function())
    assert block.variables == (kernels[0],)


def test_cover_is_checked() -> None:
    """The error names the variables that are in no block, and those that are in two."""
    one, two = weight("a/kernel", 1), weight("b/kernel", 1)
    check_cover([Block("a", (one,)), Block("b", (two,))], [one, two])
    with pytest.raises(ValueError, match=r"'b/kernel'\] are in no block"):
        check_cover([Block("a", (one,))], [one, two])
    with pytest.raises(ValueError, match=r"'a/kernel'\] in several"):
        check_cover([Block("a", (one,)), Block("b", (one,))], [one])


@pytest.fixture
def blocks() -> list[Block]:
    """Three blocks with kernels, biases, a batch norm, a layer norm and a seed."""
    norm = ("bn/gamma", "bn/beta", "bn/moving_mean")
    return [
        Block(
            "stem", (weight("stem/kernel", 2), *(tf.Variable([1.0], "mean" not in n, name=f"stem/{n}") for n in norm))
        ),
        Block("layer_0", (weight("layer_0/dense/kernel", 2), weight("layer_0/dense/bias", 2))),
        Block("layer_10", (weight("layer_10/layer_norm/scale", 2), tf.Variable(1, trainable=True, name="seed"))),
    ]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        (False, []),
        (0, []),
        (1, ["layer_10/layer_norm/scale"]),
        (2, ["layer_0/dense/kernel", "layer_0/dense/bias", "layer_10/layer_norm/scale"]),
        (["stem"], ["stem/kernel", "stem/bn/gamma", "stem/bn/beta"]),
        (("layer_10", "stem"), ["stem/kernel", "stem/bn/gamma", "stem/bn/beta", "layer_10/layer_norm/scale"]),
        ([], []),
        ("kernel$", ["stem/kernel", "layer_0/dense/kernel"]),
        ("biases", ["stem/bn/beta", "layer_0/dense/bias"]),
        ("norms", ["stem/bn/gamma", "stem/bn/beta", "layer_10/layer_norm/scale"]),
    ],
)
def test_selectors_pick_what_can_train(blocks: list[Block], selector: object, names: list[str]) -> None:
    """By number, names, expression or kind; never moving statistics or seeds."""
    assert [variable_name(v) for v in select_variables(blocks, selector)] == names


def test_true_selects_everything_that_can_train(blocks: list[Block]) -> None:
    """All weights, and no statistics."""
    assert len(select_variables(blocks, True)) == 6


def test_keras_variables_are_selected_whatever_their_flags(blocks: list[Block]) -> None:
    """A layer that is frozen now can be unfrozen: flags of today do not matter."""
    variable = keras.Variable([1.0], name="kernel")
    variable.trainable = False
    assert select_variables([Block("only", (variable,))], True) == (variable,)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (4, r"there are 3, from input to output \['stem', 'layer_0', 'layer_10'\]"),
        (-1, "Pass 0 to 3"),
        (["stem", "layer_9"], r"no blocks \['layer_9'\].*layer_10"),
        ("attention", "matches none of the trainable variables.*stem/kernel"),
        ("moving", "matches none"),
        ("", "'' matches none"),
        ("(", "not a regular expression"),
    ],
)
def test_selectors_that_match_nothing_are_errors(blocks: list[Block], selector: object, message: str) -> None:
    """The message lists what there is to choose from."""
    with pytest.raises(ValueError, match=message):
        select_variables(blocks, selector)


def test_selectors_of_other_types_are_errors(blocks: list[Block]) -> None:
    """The message lists the kinds of selectors."""
    with pytest.raises(TypeError, match="a number of top blocks"):
        select_variables(blocks, 1.5)
