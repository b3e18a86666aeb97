"""Encoders: raw examples in, embeddings out; and the cut, which must equal the whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.encoders.parts import runs

TEXTS = ["a card", "", "where is my new card, please", "no"]
COPY = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # Keras, when it saves


def of(name, request):
    """An encoder that the test may change, and examples for it."""
    if name == "tiny image":
        return tiny_image_encoder(), tf.constant(pixels(5))
    if name == "tiny text":
        return tiny_text_encoder(), tf.constant(TEXTS)
    if name == "glyphs":
        return te.load_encoder("glyphs"), tf.constant(pixels(5))
    return request.getfixturevalue("minilm"), tf.constant(TEXTS)


@pytest.mark.parametrize("name", ["tiny image", "tiny text", "glyphs", "minilm"])
def test_the_cut_equals_the_whole(name, request):
    """At every cut the suffix of the prefix gives what the encoder gives."""
    encoder, examples = of(name, request)
    whole = encoder(examples).numpy()
    assert len(encoder.blocks) >= 3
    for k in range(len(encoder.blocks) + 1):
        prefix, suffix = encoder.cut(k)
        np.testing.assert_allclose(suffix(prefix(examples)), whole, atol=1e-5, err_msg=f"cut {k}")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["tiny image", "tiny text", "glyphs"])
def test_the_gradients_of_the_cut_are_those_of_the_whole(name, training, request):
    """With all behind a cut unfrozen, each of its variables has the gradient that it has in the whole encoder."""
    encoder, examples = of(name, request) if name != "tiny image" else (tiny_image_encoder(0.0), tf.constant(pixels(5)))
    direction = np.random.default_rng(1).normal(size=encoder.dim).astype("float32")
    for k in (1, 4) if name == "glyphs" else range(len(encoder.blocks)):
        encoder.unfreeze(len(encoder.blocks) - k)
        prefix, suffix = encoder.cut(k)
        features, variables = prefix(examples), [variable.value for variable in encoder.trainable_variables]

        def gradients(compute, variables=variables):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(compute()) * direction)
            return tape.gradient(loss, variables, unconnected_gradients="zero")

        whole = gradients(lambda: encoder(examples, training=training))
        behind = gradients(lambda suffix=suffix, features=features: suffix(features, training=training))
        assert variables
        assert any(np.abs(tf.convert_to_tensor(gradient)).max() > 0 for gradient in whole)
        for a, b in zip(whole, behind, strict=True):
            np.testing.assert_allclose(tf.convert_to_tensor(b), tf.convert_to_tensor(a), rtol=1e-3, atol=1e-5)


def test_the_gradients_of_the_top_of_minilm_are_those_of_the_whole(minilm):
    """The same, for the top block of MiniLM."""
    minilm.unfreeze(1)
    try:
        assert minilm.num_frozen == len(minilm.blocks) - 1
        prefix, suffix = minilm.cut(minilm.num_frozen)
        features, variables = prefix(TEXTS), [variable.value for variable in minilm.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            whole, behind = minilm(TEXTS)[:, 0], suffix(features)[:, 0]
        for a, b in zip(tape.gradient(whole, variables), tape.gradient(behind, variables), strict=True):
            np.testing.assert_allclose(b, a, atol=1e-5)
    finally:
        minilm.unfreeze(False)


def test_there_are_cuts_only_between_blocks(glyphs):
    """A cut in front of the first block or behind the last one does not exist, and the message says how many do."""
    for cut in (-1, len(glyphs.blocks) + 1):
        with pytest.raises(ValueError, match=f"no cut {cut}: the encoder has 5 blocks"):
            glyphs.cut(cut)


@pytest.mark.parametrize("name", ["tiny image", "glyphs"])
def test_frozen_blocks_run_in_inference_mode(name, request):
    """In training mode a frozen encoder gives what it gives otherwise, and its moving statistics stay."""
    encoder, examples = of(name, request)
    before = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    np.testing.assert_allclose(encoder(examples, training=True), encoder(examples), atol=1e-6)
    after = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_unfrozen_blocks_run_in_training_mode():
    """Batch statistics, dropout and moving statistics of what is unfrozen act, of that alone."""
    encoder, examples = tiny_image_encoder(), pixels(5)
    encoder.unfreeze(1)
    moving = {v.path: v.numpy() for block in encoder.blocks for v in block.variables if "moving" in v.path}
    assert not np.allclose(encoder(examples, training=True), encoder(examples, training=False), atol=1e-3)
    now = {v.path: v.numpy() for block in encoder.blocks for v in block.variables if v.path in moving}
    assert {path.split("_")[1] for path in moving if not np.array_equal(moving[path], now[path])} == {"3"}


@pytest.mark.parametrize("name", ["tiny image", "glyphs"])
def test_the_freeze_boundary_follows_what_is_unfrozen(name, request):
    """The encoder can be cut in front of the first block that trains; names, biases and all count too."""
    encoder, _ = of(name, request)
    count, names = len(encoder.blocks), [block.name for block in encoder.blocks]
    for selector, boundary in [(False, count), (0, count), (1, count - 1), (names[1], 1), ([names[-1]], count - 1)]:
        encoder.unfreeze([selector] if isinstance(selector, str) else selector)
        assert encoder.num_frozen == boundary
        assert bool(encoder.trainable_variables) == bool(selector)
    for selector in ("norms", True, count):
        encoder.unfreeze(selector)
        assert encoder.num_frozen == 0
    encoder.unfreeze(False)
    assert encoder.num_frozen == count


@pytest.mark.parametrize("selector", [99, ["nothing"], "^nothing$", "", None])
def test_unknown_blocks_are_named(selector):
    """Unfreezing what is not there says what is, and changes nothing; to name nothing is no way to freeze all."""
    for encoder in (tiny_image_encoder(), te.load_encoder("glyphs")):
        for before in (1, False):
            encoder.unfreeze(before)
            trained = [variable.path for variable in encoder.trainable_variables]
            with pytest.raises((ValueError, TypeError), match=r"99|nothing|''|None"):
                encoder.unfreeze(selector, batch_norm="inference")
            assert [variable.path for variable in encoder.trainable_variables] == trained
            assert encoder.batch_norm == "train"


@pytest.mark.parametrize(
    "given",
    [
        np.array(["no", "a card"]),
        np.array(["no", "a card"], object),
        np.array([b"no", b"a card"]),
        [b"no", b"a card"],
        ("no", "a card"),
        tf.constant(["no", "a card"]),
    ],
    ids=["<U", "object", "S", "bytes", "tuple", "tensor"],
)
def test_texts_come_in_any_form(given):
    """Lists, arrays of every kind of string, bytes and tensors give the same embeddings."""
    encoder = tiny_text_encoder()
    np.testing.assert_allclose(encoder(given), encoder(["no", "a card"]), atol=1e-6)


def test_padding_changes_nothing():
    """A text has the same embedding alone and beside a longer one."""
    encoder = tiny_text_encoder()
    np.testing.assert_allclose(encoder(["no", "a longer one"])[:1], encoder(["no"]), atol=1e-6)


def test_minilm_gives_unit_vectors_near_for_like_meanings(minilm):
    """Embeddings of MiniLM have length 1 and 384 values; a paraphrase is nearer than another subject."""
    vectors = minilm(["My card is lost.", "I cannot find my card.", "Bananas are yellow."]).numpy()
    assert vectors.shape == (3, minilm.dim) == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


def test_images_come_as_pixels_or_as_files(glyphs):
    """Encoded PNG files give what their pixels give, grey or not."""
    images = pixels(3, channels=1)
    files = [tf.io.encode_png(image).numpy() for image in images]
    expected = glyphs(images)
    np.testing.assert_allclose(glyphs(files), expected, atol=1e-5)
    np.testing.assert_allclose(glyphs(np.array(files, object)), expected, atol=1e-5)
    np.testing.assert_allclose(glyphs(images[..., 0]), expected, atol=1e-5)


@pytest.mark.filterwarnings(COPY)
@pytest.mark.parametrize("name", ["glyphs", "minilm"])
def test_a_model_survives_saving(name, request, tmp_path):
    """A built model that is saved as .keras and loaded predicts the same, and knows its encoder's blocks."""
    encoder = request.getfixturevalue(name)
    is_text = name == "minilm"
    model = (te.build_text_classifier if is_text else te.build_image_classifier)(encoder, ["a", "b", "c"])
    examples = TEXTS[2:] if is_text else pixels(3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = te.predict(model, examples).probabilities
    np.testing.assert_allclose(te.predict(loaded, examples).probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(loaded(tf.constant(examples)), expected, atol=1e-5)
    blocks = loaded.get_layer("encoder").blocks
    assert [block.name for block in blocks] == [block.name for block in encoder.blocks]


def test_runs_join_blocks_with_the_same_flag():
    """Stretches of like flags become one run, from the cut on; no block is in two."""
    assert runs([False, True, True, False], 0) == [(0, 1, False), (1, 3, True), (3, 4, False)]
    assert runs([False, True, True, False], 2) == [(2, 3, True), (3, 4, False)]
    assert runs([True], 1) == []
