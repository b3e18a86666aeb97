"""From a handle to an encoder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfembed as te
from tfembed.encoders.catalog import CATALOG
from tfembed.search.searching import _loaders


def saved(folder, function, spec):
    """Save a module whose `__call__` is the function, as TF Hub has it."""

    class Callable(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable(2.0, name="scale")

        @tf.function(input_signature=[spec])
        def __call__(self, x):
            return function(x) * self.scale

    tf.saved_model.save(Callable(), str(folder))
    return folder


def test_what_is_no_handle_says_what_would_be_one():
    """An unknown name lists the catalogue, and what a folder and an address look like."""
    with pytest.raises(ValueError, match="is no encoder") as error:
        te.load_encoder("unheard-of")
    for part in ["'unheard-of'", *CATALOG, "folder", ".tar.gz", "https://tfhub.dev/", "https://www.kaggle.com/models/"]:
        assert part in str(error.value)


@pytest.mark.parametrize("handle", ["missing.pth", "missing/folder", "missing.tar.gz"])
def test_a_path_that_leads_nowhere_is_called_one(handle):
    """Whoever passed a path has no use for a list of names."""
    with pytest.raises(ValueError, match=f"There is no file or folder '{handle}'") as error:
        te.load_encoder(handle)
    assert "minilm" not in str(error.value)


def test_the_catalogue_is_of_distinct_names_with_licences():
    """Each entry knows its name, its licence, its source and what it is good for."""
    for name, spec in CATALOG.items():
        assert spec.name == name
        assert spec.licence != "unknown"
        assert spec.source
        assert spec.good_for


def test_encoders_are_frozen_at_first(glyphs):
    """A loaded encoder trains nothing, and has its name's spec."""
    fresh = te.load_encoder("glyphs")
    assert fresh.trainable_variables == []
    assert fresh.num_frozen == len(fresh.blocks) == 5
    assert fresh.spec == CATALOG["glyphs"]
    np.testing.assert_allclose(fresh(np.ones([1, 8, 8], "uint8")), glyphs(np.ones([1, 8, 8], "uint8")))


def test_a_module_of_texts_is_an_encoder(tmp_path):
    """A folder with a SavedModel from texts to vectors becomes a text encoder, named after the folder."""
    spec = tf.TensorSpec([None], tf.string)
    folder = saved(
        tmp_path / "lengths", lambda x: tf.cast(tf.strings.length(x), tf.float32)[:, None] * [1.0, 2.0], spec
    )
    encoder = te.load_encoder(folder)
    assert (encoder.spec.kind, encoder.spec.name, encoder.dim) == ("text", "lengths", 2)
    np.testing.assert_allclose(encoder(["ab", "abc"]), [[4, 8], [6, 12]])


def test_a_module_of_images_fixes_their_size(tmp_path):
    """A module of images of 4 x 6 pixels gets images of that size, with values from 0 to 1."""
    spec = tf.TensorSpec([None, 4, 6, 3], tf.float32)
    encoder = te.load_encoder(saved(tmp_path / "means", lambda x: tf.reduce_mean(x, (1, 2)), spec))
    assert (encoder.spec.kind, encoder.spec.image_size) == ("image", (4, 6))
    np.testing.assert_allclose(encoder(np.full([1, 9, 9, 3], 255, "uint8")), [[2.0, 2.0, 2.0]], atol=1e-6)


def test_a_module_of_neither_is_refused(tmp_path):
    """A module of numbers is no encoder: the message says what it takes and what is expected."""
    folder = saved(tmp_path / "numbers", lambda x: x, tf.TensorSpec([None, 5], tf.float32))
    with pytest.raises(ValueError, match=r"expected texts \(string\), tokens with a mask, or images"):
        te.load_encoder(folder)


def test_tokens_need_their_preprocessing(shared):
    """A module of tokens without its preprocessing says that it needs it."""
    with pytest.raises(ValueError, match=r"input_mask.*preprocessing=\.\.\."):
        te.load_encoder(shared / "hub" / "minilm_encoder")


def test_unknown_pooling_is_refused():
    """The poolings there are, are listed."""
    with pytest.raises(ValueError, match="'sum': pass one of mean, max, cls"):
        te.load_encoder("glyphs", pooling="sum")


def test_pooling_where_there_are_no_tokens_is_refused():
    """Pooling over the tokens of an encoder of images says that there are none."""
    with pytest.raises(ValueError, match="needs one vector per token"):
        te.load_encoder("glyphs", pooling="mean")(np.zeros([1, 8, 8], "uint8"))


def test_what_has_no_weights_is_one_block(tmp_path):
    """An encoder without weights has a block to freeze, as all others: a cut is in front of it, and one behind."""
    module = tf.train.Checkpoint()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def call(texts):
        return tf.one_hot(tf.strings.to_hash_bucket_fast(texts, 7), 7)

    module.__call__ = call
    tf.saved_model.save(module, str(tmp_path / "module"))
    pixels = keras.Input((4, 4, 3))
    flat = keras.Model(pixels, keras.layers.Flatten()(pixels))
    images = np.arange(2 * 4 * 4 * 3, dtype="uint8").reshape(2, 4, 4, 3)
    for handle, examples in ((tmp_path / "module", ["a", "b"]), (flat, images)):
        encoder = te.load_encoder(handle)
        assert len(encoder.blocks) == encoder.num_frozen == 1
        for cut in (0, 1):
            prefix, suffix = encoder.cut(cut)
            np.testing.assert_allclose(suffix(prefix(examples)), encoder(examples), atol=1e-6)


@pytest.mark.parametrize(
    ("handle", "weights"), [("glyphs", "pretrained"), ("minilm", "pretrained"), ("applications:MobileNet", None)]
)
def test_preprocessing_that_would_be_ignored_is_refused(handle, weights):
    """What takes texts or images as they are says so, in place of leaving out what was asked for."""
    with pytest.raises(ValueError, match=r"preprocessing='other'.*Leave it out"):
        te.load_encoder(handle, preprocessing="other", weights=weights)


def test_minilm_takes_what_other_presets_take(minilm):
    """Random weights, and another output, are what was asked for; an output that is not there is named."""
    texts = ["where is my card"]
    assert np.abs(te.load_encoder("minilm", weights=None)(texts) - minilm(texts)).max() > 0.01
    assert te.load_encoder("minilm", output="pooled_output").blocks[-1].name == "pooler"
    with pytest.raises(ValueError, match=r"no output 'other': choose one of \['pooled_output', 'sequence_output'\]"):
        te.load_encoder("minilm", output="other")


def test_two_encoders_of_one_handle_have_names_of_their_own():
    """With names, one Keras model and one search hold both; what Keras takes for no name is refused in a line."""
    first, second = te.load_encoder("glyphs", name="left"), te.load_encoder("glyphs", name="right")
    assert (first.spec.name, first.name, te.load_encoder("glyphs").spec.name) == ("left", "left", "glyphs")
    image = keras.Input((8, 8, 3), dtype="uint8")
    joined = keras.Model(image, keras.layers.Concatenate()([first(image), second(image)]))
    assert joined.output.shape == (None, first.dim + second.dim)
    assert list(_loaders([first, second], False)) == ["left", "right"]
    with pytest.raises(ValueError, match=r"'left' is given twice: .* load_encoder\(..., name=\)"):
        _loaders([first, first], False)
    with pytest.raises(ValueError, match="name='a/b': expected a text without '/'"):
        te.load_encoder("glyphs", name="a/b")
