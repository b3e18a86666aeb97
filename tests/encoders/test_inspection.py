"""What it costs and saves to cut an encoder, measured in one way for Keras models and for SavedModels."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import tiny_image_encoder, tiny_text_encoder
from tiny_models import write_noisy_module

import tfembed as te
from tfembed.encoders.inspection import inspect_cuts


def test_the_share_saved_is_that_of_the_multiplications() -> None:
    """Three convolutions of 3 x 3 over 3, 4 and 4 channels cost 27, 36 and 36 products a value."""
    saved = [report.saved for report in inspect_cuts(tiny_image_encoder())]
    assert saved == pytest.approx([0, 27 / 99, 63 / 99, 1])


def test_keras_models_and_modules_are_measured_alike(tmp_path: Path) -> None:
    """The same network as a SavedModel has the same shares, and no more bytes."""
    encoder = tiny_image_encoder()
    module, body = tf.train.Checkpoint(), encoder.body
    module.variables = [variable.value for variable in body.variables]
    spec = tf.TensorSpec([None, 8, 8, 3], tf.float32)
    module.__call__ = tf.function(lambda images: body(images, training=False), input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path))
    theirs = inspect_cuts(te.load_encoder(tmp_path))
    ours = inspect_cuts(encoder)
    assert [report.saved for report in theirs] == pytest.approx([report.saved for report in ours])
    assert all(a.bytes <= b.bytes for a, b in zip(theirs, ours, strict=True))


def test_bytes_are_those_of_the_features() -> None:
    """Counted are the features of one example as they are kept, the mask of a text among them.

    Behind the embeddings, the mask crosses for the body and for the pooling; behind the first layer the mean over the
    tokens is smaller than the mask that it takes to compute it again.
    """
    reports = inspect_cuts(tiny_text_encoder())
    tokens, mask, mean = 16 * 6 * 4, 16 * 4, 6 * 4
    assert {report.num_tokens for report in reports} == {16}
    assert [report.bytes for report in reports] == [2 * mask, tokens + 2 * mask, tokens + mask + mean, mean]


def test_bytes_of_images_do_not_depend_on_tokens(glyphs: te.Encoder) -> None:
    """An image encoder has no tokens; what its cuts keep is what `cut` hands over."""
    reports = inspect_cuts(glyphs)
    assert {report.num_tokens for report in reports} == {None}
    for cut in (1, len(glyphs.blocks)):
        features = glyphs.cut(cut)[0](np.zeros([1, 32, 32, 3], "uint8"))
        assert reports[cut].bytes == sum(np.asarray(value).nbytes for value in features.values())


def test_where_there_is_no_cut_the_reason_is_given(tmp_path: Path) -> None:
    """Random numbers between the blocks forbid the cut there; nothing or everything can be frozen all the same."""
    first, middle, last = inspect_cuts(te.load_encoder(write_noisy_module(tmp_path / "noisy", 0.5)))
    assert (first.saved, last.saved) == (0.0, 1.0)
    assert (middle.bytes, middle.saved) == (None, None)
    assert "not settled by its input" in str(middle.error)
