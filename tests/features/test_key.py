"""The key: everything that features depend on changes it, and nothing else does."""

import subprocess
import sys
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.encoders.encoder import Encoder
from tfembed.features import feature_key
from tfembed.saved_model.layer import HubLayer

TEXTS = np.array(["one", "two words"], object)


def image_key(encoder=None, examples=None, cut=2):
    return feature_key(encoder or named_image_encoder(), pixels(4) if examples is None else examples, cut)


def named_image_encoder(**options):
    """The same encoder each time: Keras numbers layers as they are made, and the names of tensors at a cut count."""
    keras.utils.clear_session(free_memory=False)
    return tiny_image_encoder(**options)


def named_text_encoder(**options):
    keras.utils.clear_session(free_memory=False)
    return tiny_text_encoder(**options)


def test_equal_encoders_have_equal_keys():
    """Two encoders made alike, and equal examples, have the same key."""
    assert image_key() == image_key()
    assert feature_key(named_text_encoder(), TEXTS, 1) == feature_key(named_text_encoder(), TEXTS.copy(), 1)


def test_glyphs_has_its_key_each_time(glyphs):
    """A module that is loaded again has the key that it had."""
    assert feature_key(te.load_encoder("glyphs"), pixels(2), 3) == feature_key(glyphs, pixels(2), 3)


def changed_pixel():
    images = pixels(4)
    images[-1, -1, -1, -1] ^= 1
    return images


def replaced(encoder, **options):
    """The encoder with another spec."""
    from dataclasses import replace

    encoder.spec = replace(encoder.spec, **options)
    return encoder


IMAGE_CHANGES = {
    "activation": lambda: image_key(named_image_encoder(activation="sigmoid")),
    "image size": lambda: image_key(replaced(named_image_encoder(), image_size=(4, 4))),
    "pixel values": lambda: image_key(named_image_encoder(scale=2.0)),
    "normalized": lambda: image_key(replaced(named_image_encoder(), normalize=True)),
    "a pixel": lambda: image_key(examples=changed_pixel()),
    "order": lambda: image_key(examples=pixels(4)[::-1]),
    "fewer": lambda: image_key(examples=pixels(4)[:3]),
    "shape": lambda: image_key(examples=pixels(4).reshape(4, 4, 16, 3)),
    "cut": lambda: image_key(cut=1),
}


@pytest.mark.parametrize("change", IMAGE_CHANGES.values(), ids=IMAGE_CHANGES)
def test_what_features_of_images_depend_on_is_in_the_key(change):
    """Another activation, size, preprocessing, spec, cut, content or order of the images gives another key."""
    assert change() != image_key()


@pytest.mark.parametrize("name", ["tiny", "glyphs"])
def test_weights_in_front_of_the_cut_are_in_the_key(name):
    """Every weight and statistic in front of the cut counts; none behind it does, and no flag."""
    encoder = tiny_image_encoder() if name == "tiny" else te.load_encoder("glyphs")
    key = image_key(encoder)
    for i, block in enumerate(encoder.blocks):
        for variable in block.variables:
            before = variable.numpy()
            variable.assign(np.nextafter(before, np.float32(9)))
            assert (image_key(encoder) != key) == (i < 2), variable.path
            variable.assign(before)
    encoder.unfreeze(1)
    assert image_key(encoder) == key


def test_the_state_of_dropout_is_not_in_the_key():
    """Runs with different seeds share their features: dropout does not act in what is frozen."""
    encoder = tiny_image_encoder()
    key = image_key(encoder)
    for layer in encoder._flatten_layers():
        if getattr(layer, "seed_generator", None) is not None:
            layer.seed_generator.state.assign([7, 7])
    assert image_key(encoder) == key


def test_names_and_licences_are_not_in_the_key():
    """What people call an encoder, and where it came from, changes no feature."""
    described = replaced(
        named_image_encoder(), name="other", handle="elsewhere", licence="MIT", source="a", good_for="b"
    )
    assert image_key(described) == image_key()


def words(vocabulary=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two"), sequence_length=8, lowercase=True):
    """An encoder with KerasHub's preprocessing, whose vocabulary is not in its config."""
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=list(vocabulary), lowercase=lowercase)
    preprocessing = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=sequence_length)
    body = named_text_encoder()
    return Encoder(body.spec, body.body, preprocessing)


def limited():
    encoder = words()
    encoder.sequence_length = 4
    return encoder


def with_new_vocabulary():
    encoder = words()
    encoder.preprocessing.tokenizer.set_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "two", "one"])
    return encoder


TEXT_CHANGES = {
    "vocabulary": lambda: words(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "two", "one")),
    "a new vocabulary": with_new_vocabulary,
    "padding": lambda: words(sequence_length=9),
    "case": lambda: words(lowercase=False),
    "limit": limited,
    "pooling": lambda: replaced(words(), pooling="max"),
}


@pytest.mark.parametrize("change", TEXT_CHANGES.values(), ids=TEXT_CHANGES)
def test_what_tokens_depend_on_is_in_the_key(change):
    """Another vocabulary, length, treatment of letters, limit or pooling gives another key."""
    assert feature_key(words(), TEXTS, 2) == feature_key(words(), TEXTS, 2)
    assert feature_key(change(), TEXTS, 2) != feature_key(words(), TEXTS, 2)


def test_a_vocabulary_changed_in_place_changes_the_tokens_too():
    """What is computed under the new key is computed with the new vocabulary."""
    encoder = words()
    before = encoder.tokenize(tf.constant(["one"]))[0]["token_ids"].numpy().tolist()
    encoder.preprocessing.tokenizer.set_vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "two", "one"])
    after = encoder.tokenize(tf.constant(["one"]))[0]["token_ids"].numpy().tolist()
    assert (before, after) == ([[2, 5, 3]], [[2, 6, 3]])


def write_module(folder, lines, power=1.0):
    """A module from texts to vectors, with a vocabulary in a file and a factor in its graph."""
    file = folder.with_suffix(".txt")
    file.write_text("\n".join(lines), encoding="utf-8")
    module = tf.train.Checkpoint()
    module.rows = tf.Variable(tf.ones([3, 4]), name="rows")
    initializer = tf.lookup.TextFileInitializer(
        str(file), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(initializer, 2)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def call(texts):
        return tf.gather(module.rows, module.table.lookup(texts)) ** power

    module.__call__, module.variables, module.trainable_variables = call, [module.rows], [module.rows]
    tf.saved_model.save(module, str(folder))
    return folder


def test_a_module_s_graph_and_vocabulary_are_in_the_key(tmp_path):
    """Modules that differ in their graph alone, or in a vocabulary file alone, have their own keys; a copy has not."""
    first = write_module(tmp_path / "a", ["one", "two"])
    alike = tmp_path / "b"
    alike.mkdir()
    for path in sorted(first.rglob("*")):
        target = alike / path.relative_to(first)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    keys = [feature_key(te.load_encoder(folder), TEXTS, 1) for folder in (first, alike)]
    assert keys[0] == keys[1]
    (vocabulary,) = (alike / "assets").iterdir()
    vocabulary.write_text("two\none", encoding="utf-8")
    keys.append(feature_key(te.load_encoder(alike), TEXTS, 1))
    keys.append(feature_key(te.load_encoder(write_module(tmp_path / "c", ["one", "two"], 2.0)), TEXTS, 1))
    assert len(set(keys)) == 3


def test_code_that_cannot_be_read_is_known_by_its_object():
    """A layer around a Python function has a key that no other one has, and keeps it."""
    encoders = []
    for factor in (2.0, 3.0):
        scale = tf.function(lambda x, factor=factor: tf.reduce_mean(x, (1, 2)) * factor)
        scale.variables = scale.trainable_variables = ()
        encoders.append(Encoder(tiny_image_encoder().spec, HubLayer(scale), tiny_image_encoder().preprocessing))
    keys = [feature_key(encoder, pixels(2), 0) for encoder in encoders]
    assert keys[0] != keys[1]
    assert keys[0] == feature_key(encoders[0], pixels(2), 0)


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from tiny_encoders import pixels, tiny_image_encoder
import numpy as np
import tfembed as te
from tfembed.features import feature_key
print(feature_key(tiny_image_encoder(), pixels(4), 2), feature_key(te.load_encoder("glyphs"), pixels(4), 2))
print(feature_key(te.load_encoder("minilm"), np.array(["one", "two words"], object), 2))
"""


def test_another_process_has_the_same_keys(glyphs, minilm):
    """Keys are equal in another process, whatever was made before, so that features are shared."""
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]))
    command = [sys.executable, "-W", "ignore", "-c", program]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert printed == [image_key(), feature_key(glyphs, pixels(4), 2), feature_key(minilm, TEXTS, 2)]
