"""One vector per example."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.encoders.pooling import pool
from tfembed.encoders.spec import EncoderSpec

TOKENS = tf.constant([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]], [[2.0, 2.0], [9.0, 9.0], [9.0, 9.0]]])
MASK = tf.constant([[1, 1, 0], [1, 0, 0]])


def spec(**options):
    return EncoderSpec(name="toy", handle="toy", kind="text", **options)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[2, -3], [2, 2]]), ("max", [[3, -2], [2, 2]]), ("cls", [[1, -4], [2, 2]])],
)
def test_padding_is_left_out(pooling, expected):
    """Means, maxima and the first token are those of the real tokens."""
    np.testing.assert_allclose(pool(TOKENS, MASK, spec(pooling=pooling)), expected)


def test_without_a_mask_all_tokens_count():
    """Where there is no padding, the mean is over all tokens."""
    np.testing.assert_allclose(pool(TOKENS, None, spec(pooling="mean"))[0], [13 / 3, 1.0], rtol=1e-6)


def test_a_text_without_tokens_gives_zeros():
    """The mean over no token is zero, not NaN; normalised too."""
    no_tokens = tf.zeros_like(MASK)
    np.testing.assert_allclose(pool(TOKENS, no_tokens, spec(pooling="mean", normalize=True)), np.zeros([2, 2]))


def test_normalised_embeddings_have_length_one():
    """Normalising divides by the length, in float32 whatever came in."""
    vectors = pool(tf.constant([[3.0, 4.0]], tf.float16), None, spec(normalize=True))
    assert vectors.dtype == tf.float32
    np.testing.assert_allclose(vectors, [[0.6, 0.8]], atol=1e-3)


def test_feature_maps_are_averaged():
    """Of feature maps the mean over the places is taken."""
    maps = tf.reshape(tf.range(8.0), [1, 2, 2, 2])
    np.testing.assert_allclose(pool(maps, None, spec()), [[3.0, 4.0]])


def test_outputs_are_chosen_by_name():
    """Of several outputs the named one is taken; a single one needs no name."""
    outputs = {"a": tf.constant([[1.0]]), "b": tf.constant([[2.0]])}
    assert pool(outputs, None, spec(output="b")).numpy().tolist() == [[2.0]]
    assert pool({"a": outputs["a"]}, None, spec()).numpy().tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        ({"a": TOKENS, "b": TOKENS}, {"output": "c"}, r"no output 'c': choose one of \['a', 'b'\]"),
        ({"a": TOKENS, "b": TOKENS}, {}, r"choose one of \['a', 'b'\]"),
        (TOKENS, {}, r"\(2, 3, 2\): expected one vector per example"),
        (TOKENS[:, 0], {"pooling": "mean"}, r"'mean' needs one vector per token"),
    ],
)
def test_what_does_not_fit_is_refused(outputs, options, message):
    """Outputs that do not fit the spec say what there is and what to pass."""
    with pytest.raises(ValueError, match=message):
        pool(outputs, None, spec(**options))


def test_specs_are_checked():
    """Kinds and poolings that do not exist are refused; image sizes from JSON become tuples."""
    with pytest.raises(ValueError, match="expected 'text' or 'image'"):
        EncoderSpec(name="toy", handle="toy", kind="sound")
    with pytest.raises(ValueError, match="pass one of mean, max, cls"):
        spec(pooling="sum")
    assert EncoderSpec(name="toy", handle="toy", kind="image", image_size=[4, 4]).image_size == (4, 4)
