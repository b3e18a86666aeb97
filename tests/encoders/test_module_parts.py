"""SavedModels whose embedding is taken behind a block of theirs."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, write_module_of_same_names

import tfembed as te


def write_skipping_module(folder: Path) -> str:
    """Three blocks; the last one takes what the first and the second one give."""
    rng, module = np.random.default_rng(0), tf.train.Checkpoint()
    kernels = [tf.Variable(rng.normal(size=(3, 3)).astype("float32"), name=f"block_{i}/kernel") for i in range(3)]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
    def call(images: tf.Tensor) -> tf.Tensor:
        first = tf.nn.relu(tf.einsum("nhwc,cd->nhwd", images, kernels[0]))
        second = tf.nn.relu(tf.einsum("nhwc,cd->nhwd", first, kernels[1]))
        return tf.reduce_mean(tf.einsum("nhwc,cd->nhwd", second, kernels[2]) + first, axis=(1, 2))

    module.__call__, module.variables = call, kernels
    tf.saved_model.save(module, str(folder))
    return str(folder)


def test_the_embedding_is_what_crosses_behind_the_block() -> None:
    whole, encoder, images = te.load_encoder("glyphs"), te.load_encoder("glyphs", output="stage_1"), pixels(5)

    crossing, _ = whole.cut(2)

    assert [block.name for block in encoder.blocks] == ["stem", "stage_1"]
    maps = next(iter(crossing(images).values()))
    np.testing.assert_allclose(encoder(images), tf.reduce_mean(maps, axis=(1, 2)), atol=1e-5)
    assert encoder.dim == maps.shape[-1]
    prefix, suffix = encoder.cut(1)
    np.testing.assert_allclose(suffix(prefix(images)), encoder(images), atol=1e-6)


def test_it_is_trained_and_written_again(tmp_path: Path) -> None:
    encoder = te.load_encoder("glyphs", output="stage_1")
    data = te.Dataset.from_arrays(pixels(8), ["a", "b"] * 4, validation=0, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    before = [[variable.numpy() for variable in block.variables] for block in encoder.blocks]

    te.train(model, data, te.top_blocks(1, epochs=1))

    stem, stage = ([v.numpy() for v in block.variables] for block in encoder.blocks)
    assert all(np.array_equal(a, b) for a, b in zip(stem, before[0], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(stage, before[1], strict=True))
    again = te.load_encoder(te.export_module(encoder, tmp_path / "module"))
    np.testing.assert_allclose(again(pixels(3)), encoder(pixels(3)), atol=1e-5)


def test_blocks_whose_variables_have_the_same_names_are_unfrozen_one_by_one(tmp_path: Path) -> None:
    encoder = te.load_encoder(write_module_of_same_names(tmp_path / "module"))
    for selector, flags in ((1, [False, False, True]), (["layer_0"], [True, False, False]), (2, [False, True, True])):
        encoder.unfreeze(selector)
        assert encoder.flags == flags
        assert encoder.num_frozen == flags.index(True)
        assert len(encoder.trainable_variables) == 2 * sum(flags)


def test_only_the_unfrozen_one_of_blocks_with_the_same_names_is_trained(tmp_path: Path) -> None:
    encoder = te.load_encoder(write_module_of_same_names(tmp_path / "module"))
    data = te.Dataset.from_arrays(pixels(8), ["a", "b"] * 4, validation=0, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    before = [variable.numpy() for block in encoder.blocks for variable in block.variables]

    result = te.train(model, data, te.top_blocks(1, epochs=1, learning_rate=0.01))

    after = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    assert [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [False] * 4 + [True] * 2
    assert result.phases[0].num_frozen == 2
    assert result.phases[0].trained_parameters == 5 * 4 + 4 + 4 * 2 + 2


def test_names_that_do_not_exist_are_listed() -> None:
    with pytest.raises(ValueError, match=r"'nowhere'.*one of \['stem', 'stage_1', 'stage_2', 'stage_3', 'stage_4'\]"):
        te.load_encoder("glyphs", output="nowhere")


def test_where_two_tensors_cross_there_is_no_embedding(tmp_path: Path) -> None:
    handle = write_skipping_module(tmp_path / "module")
    assert te.load_encoder(handle, output="block_0")(pixels(2)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"Behind block 'block_1' there are 2 tensors"):
        te.load_encoder(handle, output="block_1")(pixels(2))
