"""Modules whose inputs are not those of an encoder: each is refused when it is loaded, in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import plain_modules
import pytest
import tensorflow as tf

import tfembed as te
from tfembed.encoders.module_inputs import kind_of

NO_ENCODERS: dict[str, tuple[Any, str]] = {
    "one image": (tf.TensorSpec([1, 8, 8, 3]), "float32 (1, 8, 8, 3).*batches of exactly 1"),
    "channels first": (tf.TensorSpec([None, 3, 8, 8]), "channels first"),
    "one channel": (tf.TensorSpec([None, 8, 8, 1]), "images of 1 channel"),
    "float64": (tf.TensorSpec([None, 8, 8, 3], tf.float64), "float64 in place of float32"),
    "uint8": (tf.TensorSpec([None, 8, 8, 3], tf.uint8), "uint8 in place of float32"),
    "one text": (tf.TensorSpec([1], tf.string), "batches of exactly 1"),
    "columns of texts": (tf.TensorSpec([None, 1], tf.string), "texts in another shape"),
    "two inputs": ({"a": tf.TensorSpec([None, 4]), "b": tf.TensorSpec([None, 4])}, "a float32.*b float32.*2 inputs"),
    "one text's tokens": ({n: tf.TensorSpec([1, None], tf.int32) for n in ("ids", "input_mask")}, "exactly 1"),
    "128 tokens": ({n: tf.TensorSpec([None, 128], tf.int32) for n in ("ids", "input_mask")}, "exactly 128 tokens"),
}


@pytest.mark.parametrize("name", NO_ENCODERS)
def test_what_an_encoder_cannot_take_is_refused_with_what_it_takes(name: str) -> None:
    """The message says what the module takes, what is expected, and what to do."""
    inputs, message = NO_ENCODERS[name]
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")) as error:
        kind_of("module", inputs)
    assert "expected texts (string), tokens with a mask, or images (float32" in str(error.value)
    assert "Wrap it" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (None, 3, 8, 8)])
def test_a_module_of_another_form_is_refused_when_it_is_loaded(tmp_path: Path, shape: tuple[int | None, ...]) -> None:
    """What a SavedModel says of its input is enough: no example has to fail first."""
    module = plain_modules.Images(tf.TensorSpec(shape))
    with pytest.raises(ValueError, match=r"batches of exactly 1|channels first"):
        te.load_encoder(plain_modules.write(module, tmp_path / "module"))


class Rows(tf.Module):
    """One vector for a whole batch of images, or a graph that takes a single image though its spec says otherwise."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.kernel = rows, plain_modules.weight("kernel", 192, 4)

    @tf.function(input_signature=[plain_modules.IMAGES], autograph=False)
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        if self.rows:
            return tf.reshape(tf.reshape(images, [self.rows, 192]) @ self.kernel, [self.rows, 4])
        return tf.reduce_mean(tf.reshape(images, [-1, 192]) @ self.kernel, axis=0, keepdims=True)


@pytest.mark.parametrize(("rows", "message"), [(1, "cannot embed two images"), (0, "one vector for each")])
def test_a_graph_that_cannot_embed_two_examples_is_refused(tmp_path: Path, rows: int, message: str) -> None:
    """What specs do not tell shows on two examples, in one line, when the module is loaded."""
    handle = plain_modules.write(Rows(rows), tmp_path / "module")
    with pytest.raises(ValueError, match=message) as error:
        te.load_encoder(handle)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    """A checkpoint of a training that diverged says so when it is loaded, and not in the middle of a probe."""
    module = plain_modules.Images()
    module.stem.assign(module.stem * np.nan)
    handle = plain_modules.write(module, tmp_path / "module")
    with pytest.raises(ValueError, match=r"not finite.*in 1 of its 2 variables: stem.kernel.*earlier checkpoint"):
        te.load_encoder(handle)
