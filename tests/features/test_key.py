"""The key: everything that features depend on changes it, and nothing else does."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.python_state import _hash_code
from tfembed.encoders.spec import EncoderSpec
from tfembed.features import feature_key
from tfembed.features.key import encoder_key
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
    keys = [feature_key(encoder, pixels(2), 1) for encoder in encoders]
    assert keys[0] != keys[1]
    assert keys[0] == feature_key(encoders[0], pixels(2), 1)


@keras.saving.register_keras_serializable(package="tests")
class Shift(keras.layers.Layer):
    """A layer of a user's own, with a setting that its config does not tell."""

    amount = 1.0

    def call(self, x):
        return x + self.amount


def wired(kind="plain", layer=Shift):
    """Two dense layers and a layer of one's own over an image, in one of several wirings; always the same weights."""
    keras.utils.clear_session(free_memory=False)
    small = keras.initializers.GlorotUniform(seed=0)
    dense = [keras.layers.Dense(4, activation="tanh", kernel_initializer=small, name=f"block_{i}") for i in range(2)]
    shift = layer(name="shift")
    image = keras.Input((2, 2, 1), name="image")
    x = first = keras.layers.Flatten()(image)
    if kind == "swapped":
        dense.reverse()
    x = dense[0](x)
    x = shift(x)
    y = dense[0](x) if kind == "shared" else dense[1](x)
    if kind == "residual":
        y = y + x
    if kind == "residual over two":
        y = y + first
    if kind == "twice":
        y = shift(y)
    spec = EncoderSpec(name="wired", handle="wired", kind="image", image_size=(2, 2), channels="grey")
    return Encoder(spec, keras.Model(image, y), ImagePreprocessing((2, 2), channels="grey"))


def edited(call):
    """The class as it is after somebody edited its file."""
    return type("Shift", (Shift,), {"call": call})


def set_amount(encoder):
    encoder.body.get_layer("shift").amount = 2.0


def set_activation(encoder):
    encoder.body.get_layer("block_0").activation = keras.activations.relu


def set_call(encoder):
    encoder.body.get_layer("shift").call = lambda x: x * 3.0


IN_PLACE = {"a setting": set_amount, "an activation": set_activation, "a method": set_call}


@pytest.mark.parametrize("change", IN_PLACE.values(), ids=IN_PLACE)
def test_a_change_in_place_changes_key_features_and_predictions(change):
    """Key and features follow what is changed in place, and predictions from the cache are those of the model."""
    encoder, images, cache = wired(), pixels(4)[:, :2, :2], te.FeatureCache.in_memory()
    model = te.build_image_classifier(encoder, ["a", "b"])
    rows = np.arange(4)
    keys = [encoder_key(encoder), *(feature_key(encoder, images, cut) for cut in (1, 2))]
    features = cache.get(encoder, images, 2).batch(rows)["inputs"]
    te.predict(model, images)
    change(encoder)
    assert encoder_key(encoder) != keys[0]
    assert feature_key(encoder, images, 2) != keys[2]
    renewed = cache.get(encoder, images, 2).batch(rows)["inputs"]
    assert not np.allclose(renewed, features)
    np.testing.assert_allclose(renewed, encoder(images), atol=1e-5)
    np.testing.assert_allclose(te.predict(model, images).probabilities, model(tf.constant(images)), atol=1e-5)
    np.testing.assert_allclose(te.predict(model, images, cache=cache).probabilities, model(images), atol=1e-5)


FACTOR = 1.5


class Counted(keras.layers.Layer):
    """A layer whose factors stand in all the places that Python has for them."""

    of_class = 1.5

    def __init__(self, **options):
        super().__init__(**options)
        self.settings = SimpleNamespace(factor=1.5)
        self.in_python = 1.5

    def call(self, x):
        return self.helped(x) * self.of_class * FACTOR * self.settings.factor

    def helped(self, x):
        return x


class Python(Counted):
    """A layer that computes in Python, which no graph shows."""

    def call(self, x):
        return tf.ensure_shape(tf.py_function(lambda y: y * self.in_python, [x], tf.float32), x.shape)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


class Composite(keras.layers.Layer):
    """A layer of numbered blocks, which is cut between them."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first, self.second = (keras.layers.Dense(4, name=f"layer_{i}") for i in range(2))
        self.factor = 1.5

    def build(self, shape):
        self.first.build(shape)
        self.second.build((*shape[:-1], 4))

    def call(self, x):
        return self.second(self.first(x) * self.factor)


class Pixels(keras.layers.Layer):
    """Preprocessing with a factor that its config does not hold."""

    factor = 1.5

    def call(self, images):
        return tf.cast(images, tf.float32) * self.factor

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, "float32")


class Mean:
    """A callable with a factor."""

    variables = trainable_variables = ()

    def __init__(self):
        self.factor = 1.5

    def __call__(self, images):
        return tf.reduce_mean(images, (1, 2)) * self.factor


def own(layer, preprocessing=None):
    """An encoder of one layer of a user's own, with a block behind it."""
    image = keras.Input((2, 2, 3), name="image")
    x = layer(keras.layers.Flatten()(image))
    body = keras.Model(image, x if layer.weights else keras.layers.Dense(4, name="block_0")(x))
    spec = EncoderSpec(name="own", handle="own", kind="image", image_size=(2, 2))
    return Encoder(spec, body, preprocessing or ImagePreprocessing((2, 2)))


def callable_encoder():
    spec = EncoderSpec(name="own", handle="own", kind="image", image_size=(2, 2))
    return Encoder(spec, HubLayer(Mean()), ImagePreprocessing((2, 2)))


def layer_of(encoder, kind):
    return next(layer for layer in encoder.body.layers if isinstance(layer, kind))


HIDDEN = {
    "a global name": (lambda: own(Counted()), lambda e, patch: patch.setitem(globals(), "FACTOR", 3.0)),
    "an attribute of the class": (lambda: own(Counted()), lambda e, patch: patch.setattr(Counted, "of_class", 3.0)),
    "a method that call uses": (
        lambda: own(Counted()),
        lambda e, patch: patch.setattr(Counted, "helped", lambda self, x: x * 3.0),
    ),
    "an object in an attribute": (
        lambda: own(Counted()),
        lambda e, patch: setattr(layer_of(e, Counted).settings, "factor", 3.0),
    ),
    "a setting that Python reads": (
        lambda: own(Python()),
        lambda e, patch: setattr(layer_of(e, Python), "in_python", 3.0),
    ),
    "a setting of a layer that is taken apart": (
        lambda: own(Composite()),
        lambda e, patch: setattr(layer_of(e, Composite), "factor", 3.0),
    ),
    "a setting of the preprocessing": (
        lambda: own(Counted(), Pixels()),
        lambda e, patch: setattr(e.preprocessing, "factor", 3.0),
    ),
    "an attribute of a callable": (
        callable_encoder,
        lambda e, patch: setattr(e.body.resolved_object, "factor", 3.0),
    ),
    "how embeddings are pooled": (
        tiny_text_encoder,
        lambda e, patch: setattr(e, "spec", dataclasses.replace(e.spec, pooling="max")),
    ),
}


@pytest.mark.parametrize(("make", "change"), HIDDEN.values(), ids=HIDDEN)
def test_features_follow_what_python_computes_with(make, change, monkeypatch):
    """Wherever Python keeps what a layer computes with, a change gives another key, and features of the new encoder."""
    encoder, cache, rows = make(), te.FeatureCache.in_memory(), np.arange(2)
    examples = TEXTS if encoder.spec.kind == "text" else pixels(2)[:, :2, :2]
    cuts = range(1, len(encoder.blocks) + 1)
    keys = [feature_key(encoder, examples, cut) for cut in cuts]
    assert keys == [feature_key(encoder, examples, cut) for cut in cuts]
    before = cache.get(encoder, examples, cuts[-1]).batch(rows)["inputs"]
    change(encoder, monkeypatch)
    assert feature_key(encoder, examples, cuts[-1]) != keys[-1]
    whole = np.asarray(encoder(examples))
    assert not np.allclose(before, whole)
    for cut in cuts:
        features = {name: tf.constant(value) for name, value in cache.get(encoder, examples, cut).batch(rows).items()}
        np.testing.assert_allclose(encoder.cut(cut)[1](features), whole, atol=1e-4)


WIRINGS = {
    **{kind: lambda kind=kind: wired(kind) for kind in ("residual", "residual over two", "shared", "twice")},
    "edited code": lambda: wired(layer=edited(lambda self, x: x - self.amount)),
    "edited constant": lambda: wired(layer=edited(lambda self, x: x + 1.5)),
}


@pytest.mark.parametrize("make", WIRINGS.values(), ids=WIRINGS)
def test_wiring_and_code_are_in_both_keys(make):
    """The same layers and weights in another wiring, or with edited code, are another encoder."""
    assert encoder_key(make()) != encoder_key(wired())
    assert feature_key(make(), pixels(2), 2) != feature_key(wired(), pixels(2), 2)


def test_names_order_of_making_and_flags_are_in_no_encoder_key():
    """The same layers under other names, loaded twice, unfrozen or compiled, are the same encoder."""
    key = encoder_key(wired())
    encoder = wired()
    encoder.unfreeze(1)
    te.build_image_classifier(encoder, ["a", "b"]).compile("adam", "mse")
    encoder(pixels(2))
    assert encoder_key(encoder) == key
    first = tiny_image_encoder()
    assert encoder_key(tiny_image_encoder()) == encoder_key(first)
    assert [layer.name for layer in first.body.layers] != [layer.name for layer in tiny_image_encoder().body.layers]


def test_what_acts_in_training_alone_is_in_the_key_of_the_encoder():
    """Another rate of dropout is another encoder to train, and gives the same features."""
    some, more = (named_image_encoder(dropout=rate) for rate in (0.1, 0.5))
    assert encoder_key(some) != encoder_key(more)
    assert image_key(named_image_encoder(dropout=0.1)) == image_key(named_image_encoder(dropout=0.5))

    def noisy(self, x, training=False):
        return x + self.amount + (keras.random.normal(keras.ops.shape(x)) if training else 0.0)

    assert encoder_key(wired(layer=edited(noisy))) != encoder_key(wired())


@pytest.mark.parametrize("setting", ["sequence_length", "compute", "spec", "weights", "preprocessing"])
def test_what_an_encoder_computes_is_in_its_key(setting):
    """Another sequence length, compute type, spec, weight or preprocessing is another encoder, and other features."""

    def keys(encoder):
        return encoder_key(encoder), feature_key(encoder, TEXTS, 2)

    encoder = named_text_encoder()
    before = keys(encoder)
    if setting == "sequence_length":
        encoder.limit_length(5)
    elif setting == "compute":
        encoder._compute = "bfloat16"
    elif setting == "spec":
        encoder.spec = dataclasses.replace(encoder.spec, pooling="max")
    elif setting == "weights":
        variable = encoder.blocks[0].variables[0]
        variable.assign(variable.numpy() + 1)
    else:
        encoder.preprocessing = words().preprocessing
    after = keys(encoder)
    assert before[0] != after[0]
    assert before[1] != after[1]


def vocabulary_inside():
    """An encoder whose body looks texts up in a vocabulary."""
    keras.utils.clear_session(free_memory=False)
    vectorize = keras.layers.TextVectorization(output_sequence_length=4)
    vectorize.adapt(["good good good", "bad bad", "day"])
    texts = keras.Input((), dtype="string")
    vectors = keras.layers.Embedding(10, 3, embeddings_initializer=keras.initializers.GlorotUniform(seed=0))
    body = keras.Model(texts, keras.layers.Flatten()(vectors(vectorize(texts))))
    return te.load_encoder(body, kind="text"), vectorize


def test_a_vocabulary_inside_the_body_is_in_both_keys():
    """A vocabulary that is adapted again gives another key and other features; the old one the old key."""
    (encoder, vectorize), texts = vocabulary_inside(), np.array(["good day", "bad day"], object)
    cache, cut = te.FeatureCache.in_memory(), len(encoder.blocks)
    keys = [encoder_key(encoder), feature_key(encoder, texts, cut)]
    assert keys == [encoder_key(vocabulary_inside()[0]), feature_key(vocabulary_inside()[0], texts, cut)]
    first = cache.get(encoder, texts, cut).batch(np.arange(2))["inputs"]
    vectorize.adapt(["bad bad bad", "good good", "day"])
    assert encoder_key(encoder) != keys[0]
    assert feature_key(encoder, texts, cut) != keys[1]
    second = cache.get(encoder, texts, cut).batch(np.arange(2))["inputs"]
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(second, encoder(list(texts)), atol=1e-6)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_hash_of_code_does_not_depend_on_the_hash_of_strings(seed):
    """Constants that are sets have no order that lasts from one process to another."""
    program = (
        "from tfembed.encoders.python_state import _hash_code as h; print(h((lambda m: m in {'a', 'b', 'c'}).__code__))"
    )
    environment = os.environ | {"PYTHONHASHSEED": seed}
    command = [sys.executable, "-W", "ignore", "-c", program]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout.strip()
    assert printed == _hash_code((lambda m: m in {"a", "b", "c"}).__code__)


class _Preprocessing(keras.layers.Layer):
    """Preprocessing of a user's own."""

    def call(self, images):
        return tf.cast(images, tf.float32) / 255.0


def test_the_code_of_own_preprocessing_is_in_the_key():
    """A user's own preprocessing counts with its code: a constant that was edited changes the key."""
    halved = type("_Preprocessing", (_Preprocessing,), {"call": lambda self, x: tf.cast(x, tf.float32) / 127.0})
    keys = []
    for kind in (_Preprocessing, _Preprocessing, halved):
        encoder = wired()
        encoder.preprocessing = kind(name="own")
        keys.append(feature_key(encoder, pixels(2), 1))
    assert keys[0] == keys[1] != keys[2]


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
