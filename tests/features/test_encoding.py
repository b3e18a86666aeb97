"""Computing features: in the order of the examples, without padding, in memory or in a folder."""

from itertools import product
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import Letters, pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.batches import order
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.spec import EncoderSpec
from tfembed.features import encode
from tfembed.features.arrays import Workplace
from tfembed.features.encoding import batches, encode_behind
from tfembed.saved_model.graph import CutError

TEXTS = np.array([f"{'word ' * (i % 3)}{i}"[:16] for i in range(600)], object)


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


@pytest.mark.parametrize("make", [tiny_text_encoder, tiny_image_encoder])
def test_a_folder_gives_what_memory_gives(make, tmp_path):
    """Features that are written to a folder as they are computed equal those that were kept in memory."""
    encoder = make()
    examples, rows = (
        (TEXTS, np.array([599, 3, 0])) if make is tiny_text_encoder else (pixels(70), np.array([69, 33, 0]))
    )
    for cut in (1, 2, 3):
        (tmp_path / str(cut)).mkdir()
        stored = encode(encoder, examples, cut, Workplace(tmp_path / str(cut)))
        assert list((tmp_path / str(cut)).glob("*.npy"))
        kept = encode(encoder, examples, cut).batch(rows)
        for name, value in stored.batch(rows).items():
            np.testing.assert_array_equal(value, kept[name])


def test_a_row_as_wide_as_a_text_is_long_is_no_sequence():
    """Embeddings with as many numbers as the text has tokens are rows, since they do not grow with the text."""
    texts = np.array(["sixtyx", "seaman"], object)  # six letters, and vectors of six numbers
    features = encode(tiny_text_encoder(), texts, 3)
    assert features.columns["inputs"].offsets is None
    assert features.batch(np.arange(2))["inputs"].shape == (2, 6)


def test_tensors_of_tokens_by_tokens_cannot_cross(tmp_path):
    """What grows with the text in two axes is refused, so that training goes on without the cut."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = keras.layers.Embedding(128, 4, name="layer_0_embedding")(ids)
    pairs = keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1)))
    y = keras.ops.matmul(pairs, keras.layers.Dense(4, name="layer_1_dense")(x))
    body = keras.Model({"token_ids": ids, "padding_mask": mask}, y)
    spec = EncoderSpec(name="pairs", handle="pairs", kind="text", pooling="mean")
    with pytest.raises(CutError, match=r"in axes \[1, 2\]"):
        encode(Encoder(spec, body, Letters()), TEXTS[:3], 1)


def test_batches_hold_about_as_many_tokens_each():
    """Batches of texts hold at most about 1,024 tokens with their padding; every row is in one, those of images too."""
    lengths = np.random.default_rng(0).integers(2, 300, 1000)
    order = np.argsort(lengths, kind="stable")
    found = list(batches(lengths, order))
    assert np.concatenate(found).tolist() == order.tolist()
    assert max(len(rows) * lengths[rows].max() for rows in found) <= 1024
    assert [len(rows) for rows in batches(np.ones(70, int), np.arange(70))] == [32, 32, 6]


def test_a_text_longer_than_a_batch_is_one():
    """A text of more tokens than a batch should have is a batch of its own."""
    lengths = np.array([5, 3000, 4000])
    assert [rows.tolist() for rows in batches(lengths, np.arange(3))] == [[0], [1], [2]]


def test_few_short_texts_are_one_batch():
    """A handful of texts is not taken apart for the sake of little padding: each batch has a price of its own."""
    assert len(list(batches(np.array([2, 5, 9, 12]), np.arange(4)))) == 1


def padding(rows, lengths):
    """Padded places in batches, as a share of the real tokens."""
    return sum(len(each) * lengths[each].max() for each in rows) / lengths.sum() - 1


@pytest.mark.parametrize("num_shots", [10, None])
@pytest.mark.parametrize("batch_size", [8, 16, 32])
def test_little_of_banking77_is_padding(num_shots, batch_size, minilm, shared):
    """Padded tokens are at most 15 % of the real ones, in encoding and in the batches of training."""
    data = te.load_text(shared / "data" / "banking77" / "train.csv", label="category", validation=0, test=0)
    texts = (data.few_shot(num_shots) if num_shots else data).train.examples
    lengths = encode(minilm, texts, 0).lengths
    limited = np.minimum(lengths, np.percentile(lengths, 99).astype(int))
    for each in (lengths, limited):
        assert padding(batches(each, np.argsort(each, kind="stable")), each) <= 0.15
    for seed, parts in product(range(3), {1, max(1, batch_size // 8)}):  # one over several devices
        drawn = order(limited, batch_size, np.random.default_rng(seed), parts=parts)
        assert padding([part for rows in drawn for part in np.array_split(rows, parts)], limited) <= 0.15


@pytest.mark.parametrize("make", [tiny_text_encoder, tiny_image_encoder])
def test_training_again_and_again_gives_no_warnings_of_tracing(make, caplog):
    """Behind a cut, one graph serves batches of every size and length: TensorFlow warns of one that is traced often."""
    encoder = make()
    texts = np.array(["a" * (1 + i % 40) for i in range(70)], object)
    examples = texts if encoder.spec.kind == "text" else pixels(70)
    features, wanted = encode(encoder, examples, 1), np.asarray(encoder(examples))
    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        for _ in range(6):
            behind = encode_behind(encoder, features, 1)
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.message for record in caplog.records] == []
    np.testing.assert_allclose(behind.batch(np.arange(70))["inputs"], wanted, atol=1e-5)
