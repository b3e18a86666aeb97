"""Features: computed once, and never taken for those of something else."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.features import Column, encode

TEXTS = np.array([f"{'word ' * (i % 3)}{i}"[:16] for i in range(300)], object)


def changed(examples):
    """The same examples, the last one a little different."""
    other = examples.copy()
    if other.dtype == object:
        other[-1] += "!"
    else:
        other[-1, 0, 0, 0] ^= 1
    return other


def encoder_and_examples(kind):
    if kind == "text":
        return tiny_text_encoder(), TEXTS[:5]
    return tiny_image_encoder() if kind == "image" else te.load_encoder("glyphs"), pixels(5)


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_the_same_is_computed_once(kind):
    """The same encoder, examples and cut give the features that are there already; equal copies count as the same."""
    encoder, examples = encoder_and_examples(kind)
    cache = te.FeatureCache()
    assert cache.get(encoder, examples, 2) is cache.get(encoder, examples.copy(), 2)


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_a_changed_input_is_never_taken_for_the_same(kind):
    """One letter or pixel, another order, fewer examples or another cut give features of their own, and right ones."""
    encoder, examples = encoder_and_examples(kind)
    cache = te.FeatureCache()
    known = [cache.get(encoder, examples, 2)]
    for given, cut in [(changed(examples), 2), (examples[::-1], 2), (examples[:4], 2), (examples, 1), (examples, 3)]:
        features, rows = cache.get(encoder, given, cut), np.arange(len(given))
        assert all(features is not other for other in known)
        for name, value in encode(encoder, given, cut).batch(rows).items():
            np.testing.assert_array_equal(features.batch(rows)[name], value)
        known.append(features)


@pytest.mark.parametrize("kind", ["text", "image", "glyphs"])
def test_weights_in_front_of_the_cut_count(kind):
    """Any changed weight in front of the cut gives new features; one behind it does not."""
    encoder, examples = encoder_and_examples(kind)
    cache = te.FeatureCache()
    features = cache.get(encoder, examples, 2)
    for variable in encoder.blocks[2].variables:
        variable.assign(variable * 1.5)
    assert cache.get(encoder, examples, 2) is features
    for block in encoder.blocks[:2]:
        for variable in block.variables:
            before = variable.numpy()
            variable.assign(before + 0.25)
            assert cache.get(encoder, examples, 2) is not features
            variable.assign(before)
    assert cache.get(encoder, examples, 2) is features
    variable = encoder.blocks[0].variables[0]
    variable.assign(variable * 1.5)
    expected, found = encode(encoder, examples, 2), cache.get(encoder, examples, 2)
    for name, value in expected.batch(np.arange(len(examples))).items():
        np.testing.assert_array_equal(found.batch(np.arange(len(examples)))[name], value)
    stale = features.batch(np.arange(len(examples)))
    assert any(not np.array_equal(stale[name], expected.batch(np.arange(len(examples)))[name]) for name in stale)


def test_the_seed_of_dropout_does_not_count():
    """Runs with different seeds share their features: dropout does not act in what is frozen."""
    encoder, examples = encoder_and_examples("image")
    cache = te.FeatureCache()
    features = cache.get(encoder, examples, 2)
    for layer in encoder._flatten_layers():
        if getattr(layer, "seed_generator", None) is not None:
            layer.seed_generator.state.assign([7, 7])
    assert cache.get(encoder, examples, 2) is features


def test_the_spec_counts():
    """Encoders with the same weights and another pooling have features of their own."""
    cache = te.FeatureCache()
    mean, largest = tiny_text_encoder(), tiny_text_encoder(pooling="max")
    assert cache.get(mean, TEXTS[:5], 3) is not cache.get(largest, TEXTS[:5], 3)


def test_features_are_in_the_order_of_the_examples():
    """Batches by length, several tokenizings, and still each text has its own embedding and its own length."""
    encoder = tiny_text_encoder()
    features = encode(encoder, TEXTS, 3)
    assert features.lengths.tolist() == [len(text) for text in TEXTS]
    rows = np.array([299, 0, 17, 4])
    np.testing.assert_allclose(features.batch(rows)["inputs"], encoder(TEXTS[rows]), atol=1e-6)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_token_features_are_padded_to_the_longest_of_the_batch(cut):
    """A batch of sequences is as long as its longest, and what is behind the cut makes the embeddings of it."""
    encoder = tiny_text_encoder()
    features, (_, suffix) = encode(encoder, TEXTS, cut), encoder.cut(cut)
    for rows in (np.array([0, 3]), np.array([2, 299, 1])):
        batch = features.batch(rows)
        assert max(value.shape[1] for value in batch.values()) == max(len(TEXTS[row]) for row in rows)
        tensors = {name: tf.constant(value) for name, value in batch.items()}
        np.testing.assert_allclose(suffix(tensors), encoder(TEXTS[rows]), atol=1e-6)


def test_minilm_has_the_features_of_its_embeddings(minilm):
    """Features behind the last block of MiniLM are its embeddings, of short and long texts together."""
    texts = np.array(["no", "a long text " * 20, "My card is lost."], object)
    np.testing.assert_allclose(
        encode(minilm, texts, len(minilm.blocks)).batch(np.arange(3))["inputs"], minilm(texts), atol=1e-5
    )


def test_images_come_from_pixels_bytes_or_files(tmp_path: Path):
    """Features of the pixels, of their encoded bytes and of files with these are the same, at cut 0 too."""
    encoder, images = tiny_image_encoder(), pixels(4)
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    for i, content in enumerate(encoded):
        (tmp_path / f"{i}.png").write_bytes(content)
    kinds = [np.array(encoded, object), np.array([tmp_path / f"{i}.png" for i in range(4)], object)]
    for cut in (0, 2, 3):
        expected = encode(encoder, images, cut).batch(np.array([2, 0]))
        for examples in kinds:
            found = encode(encoder, examples, cut).batch(np.array([2, 0]))
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_no_examples_have_no_features():
    """An empty part of a data set is encoded to nothing."""
    assert len(encode(tiny_text_encoder(), np.array([], object), 3).lengths) == 0


def test_columns_of_sequences_are_padded_with_zeros():
    """Rows of different lengths are padded to the longest that is asked for, not to the longest of all."""
    column = Column(values=np.arange(1, 7), offsets=np.array([0, 1, 3, 6]))
    assert column.batch(np.array([1, 0])).tolist() == [[2, 3], [1, 0]]
