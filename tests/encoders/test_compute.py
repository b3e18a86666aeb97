"""What the frozen part computes in, and that its graphs are right and fresh."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder
from tiny_models import write_text_module

import tfembed as te
from tfembed.encoders.compute import choose_compute, has_bfloat16, sample_examples
from tfembed.encoders.encoder import INPUTS, Encoder
from tfembed.encoders.preprocessing import ImagePreprocessing, mask_name
from tfembed.encoders.spec import EncoderSpec

TEXTS = ["a card", "", "where is my new card, please", "no"]


def encoder_of(name, request):
    """An encoder, and examples for it."""
    if name.startswith("hub "):
        hub = request.getfixturevalue("shared") / "hub"
        if name == "hub mobilenet":
            module = hub / "mobilenet_v2_035_224_feature_vector"
            return te.load_encoder(module), sample_examples("image", (224, 224))[:4]
        options = {"preprocessing": str(hub / "minilm_preprocess"), "pooling": "mean"}
        return te.load_encoder(hub / "minilm_encoder", **options), tf.constant(TEXTS)
    if name == "tiny text":
        return tiny_text_encoder(), tf.constant(TEXTS)
    if name == "tiny image":
        return tiny_image_encoder(), tf.constant(pixels(5))
    return request.getfixturevalue(name), tf.constant(TEXTS if name == "minilm" else pixels(5))


def frozen(encoder, examples, compute, cut=None):
    """What the graph of the frozen part gives, behind the last block unless a cut is given."""
    prepared = encoder.prepare(examples)
    padded = mask_name(prepared) is not None
    cut = len(encoder.blocks) if cut is None else cut
    return encoder._traced_in(cut, padded, compute)(prepared)


def cosines(a, b):
    return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("name", ["tiny image", "tiny text", "glyphs", "minilm", "hub minilm", "hub mobilenet"])
def test_the_graph_of_the_frozen_part_equals_the_encoder(name, request):
    """In float32 what crosses the last cuts is what the encoder computes without a graph."""
    encoder, examples = encoder_of(name, request)
    for cut in (len(encoder.blocks), len(encoder.blocks) - 1):
        found = frozen(encoder, examples, "float32", cut)
        expected = encoder.frozen_part(encoder.prepare(examples), cut)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5 * max(1, np.abs(value).max()))


@pytest.mark.parametrize("name", ["tiny text", "glyphs", "minilm", "hub minilm"])
def test_bfloat16_agrees_with_float32(name, request):
    """Embeddings of frozen parts in bfloat16 have cosines of at least 0.999 to the exact ones, and are float32."""
    encoder, examples = encoder_of(name, request)
    exact, low = (frozen(encoder, examples, compute)[INPUTS].numpy() for compute in ("float32", "bfloat16"))
    assert low.dtype == np.float32
    assert not np.array_equal(low, exact)
    is_some = np.abs(exact).max(axis=1) > 0  # of the empty text there may be nothing
    assert cosines(low[is_some], exact[is_some]).min() >= 0.999


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("change", ["assign", "assign_add", "scatter_update"])
def test_a_changed_weight_is_never_forgotten(change, compute):
    """When a frozen weight has changed, in whatever way, the next graph that is asked for computes with it."""
    encoder, examples = tiny_text_encoder(), tf.constant(TEXTS)
    before = frozen(encoder, examples, compute)[INPUTS].numpy()
    table = encoder.blocks[0].variables[0].value
    if change == "assign":
        table.assign(table * 0.5)
    elif change == "assign_add":
        table.assign_add(tf.ones_like(table))
    else:
        table.scatter_nd_update([[ord("a")]], [[9.0] * 6])
    after = frozen(encoder, examples, compute)[INPUTS].numpy()
    assert np.abs(after - before).max() > 0.05
    np.testing.assert_allclose(after, encoder(examples), atol=0.05 if compute == "bfloat16" else 1e-5)


def test_a_block_that_trained_and_froze_again_is_run_with_its_new_weights():
    """Features of a refrozen block are made with what it has learned, by the optimizer in place."""
    encoder, images = tiny_image_encoder(0.0), tf.constant(pixels(5))
    before = frozen(encoder, images, "float32")[INPUTS].numpy()
    encoder.unfreeze(True)
    optimizer = keras.optimizers.SGD(0.5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(encoder(images)))
    optimizer.apply(tape.gradient(loss, [v.value for v in encoder.trainable_variables]), encoder.trainable_variables)
    encoder.unfreeze(False)
    after = frozen(encoder, images, "float32")[INPUTS].numpy()
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, encoder(images), atol=1e-5)


def bad_in_bfloat16():
    """Images to the small difference of two large products: what bfloat16 loses."""
    image = keras.Input((8, 8, 3), name="image")
    flat = keras.layers.Flatten()(image)
    large = keras.layers.Dense(4, kernel_initializer="ones", bias_initializer=keras.initializers.Constant(5000.0))
    near = keras.layers.Dense(4, kernel_initializer="ones", bias_initializer=keras.initializers.Constant(5000.0))
    kept = keras.layers.Subtract()([large(flat), near(flat)])
    near.kernel.assign_add(np.random.default_rng(0).normal(0, 0.01, near.kernel.shape))
    spec = EncoderSpec(name="bad", handle="bad", kind="image", image_size=(8, 8), compute="auto")
    return Encoder(spec, keras.Model(image, kept), ImagePreprocessing((8, 8)))


def choice(encoder, *, in_hardware):
    prepared = encoder.prepare(sample_examples(encoder.spec.kind, encoder.spec.image_size))
    return choose_compute(
        lambda given, compute: encoder._traced_in(len(encoder.blocks), mask_name(given) is not None, compute)(given)[
            INPUTS
        ].numpy(),
        prepared,
        in_hardware=in_hardware,
    )


def test_auto_takes_bfloat16_if_there_is_hardware_and_it_agrees(glyphs):
    """Both conditions have to hold: hardware, and a sample whose embeddings agree."""
    assert choice(glyphs, in_hardware=True) == "bfloat16"
    assert choice(glyphs, in_hardware=False) == "float32"
    assert choice(bad_in_bfloat16(), in_hardware=True) == "float32"


def test_compute_is_float32_unless_asked_for():
    """An encoder computes in float32; bfloat16 is obeyed on any machine; auto comes to one of the two."""
    assert te.load_encoder("glyphs").compute == "float32"
    assert te.load_encoder("glyphs", compute="bfloat16").compute == "bfloat16"
    assert te.load_encoder("glyphs", compute="auto").compute == ("bfloat16" if has_bfloat16() else "float32")


def test_an_unknown_compute_is_refused():
    """The message lists the choices."""
    with pytest.raises(ValueError, match="Unknown compute 'float16': pass one of float32, bfloat16, auto"):
        te.load_encoder("glyphs", compute="float16")


def test_only_the_frozen_part_for_all_examples_is_in_bfloat16():
    """`call`, and with it what is exported, stays in float32 whatever the compute type is."""
    images = tf.constant(pixels(5))
    exact, low = te.load_encoder("glyphs"), te.load_encoder("glyphs", compute="bfloat16")
    np.testing.assert_array_equal(low(images), exact(images))
    found = low.traced(len(low.blocks), False)(low.prepare(images))[INPUTS]
    assert np.abs(found - exact(images)).max() > 1e-4


def test_a_frozen_part_that_cannot_be_rewritten_computes_as_ever(tmp_path):
    """A module of texts has ops of texts in its frozen part: its embeddings are the same whatever is asked for."""
    encoder = te.load_encoder(write_text_module(tmp_path / "module"))
    texts = tf.constant(["good morning", "my money back"])
    for compute in ("float32", "bfloat16"):
        np.testing.assert_allclose(frozen(encoder, texts, compute)[INPUTS], encoder(texts), atol=1e-6)
