"""Built models are plain Keras models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te

LABELS = np.array([0, 1] * 6)


def images():
    """Dark images and bright ones, in turn."""
    return (pixels(12) // 4 + LABELS[:, None, None, None].astype("uint8") * 150).astype("uint8")


@pytest.mark.parametrize("head", [None, te.mlp_head([8], dropout=0.0), te.cosine_head()])
def test_a_built_model_is_trained_by_keras_itself(head):
    """Compile and fit with a loss by name and callbacks, without this package: the loss falls, the encoder stays."""
    encoder = tiny_image_encoder()
    model = te.build_image_classifier(encoder, ["dark", "bright"], head=head)
    before, epochs = [v.numpy() for v in encoder.weights], []
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    history = model.fit(images(), LABELS, epochs=8, batch_size=6, verbose=0, callbacks=[callback]).history
    assert epochs == list(range(8))
    assert history["loss"][-1] < history["loss"][0]
    assert model.evaluate(images(), LABELS, verbose=0)[1] >= 0.75
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, encoder.weights, strict=True))


def test_a_model_of_texts_is_trained_by_keras_itself():
    """Texts as a tensor of strings go in, also by tf.data."""
    model = te.build_text_classifier(tiny_text_encoder(), ["a", "b"])
    model.compile("adam", "sparse_categorical_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((["aaa", "bbb"] * 4, [0, 1] * 4)).batch(4)
    losses = model.fit(data, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_probabilities_are_over_the_classes():
    """Classes exclude each other: probabilities sum to 1, and are the softmax of what the head gives."""
    model = te.build_image_classifier(tiny_image_encoder(), ["a", "b", "c"])
    found = model(images()).numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    logits = keras.Model(model.input, model.get_layer("head").output)(images())
    np.testing.assert_allclose(found, tf.nn.softmax(logits), atol=1e-6)
    assert model.get_layer("probabilities").class_names == ("a", "b", "c")


def test_several_labels_are_one_by_one():
    """With several labels, each has a probability of its own: the sigmoid of its logit. One label is enough."""
    model = te.build_image_classifier(tiny_image_encoder(), ["a", "b"], multi_label=True)
    logits = keras.Model(model.input, model.get_layer("head").output)(images())
    np.testing.assert_allclose(model(images()), tf.sigmoid(logits), atol=1e-6)
    assert te.build_text_classifier(tiny_text_encoder(), ["only"], multi_label=True).output.shape == (None, 1)


def test_images_may_come_as_bytes():
    """A model with inputs="bytes" takes encoded images and says of them what the other says of the pixels."""
    encoder = tiny_image_encoder()
    by_bytes = te.build_image_classifier(encoder, ["a", "b"], inputs="bytes")
    by_arrays = te.build_image_classifier(encoder, ["a", "b"])
    encoded = tf.stack([tf.io.encode_png(image) for image in images()])
    np.testing.assert_allclose(by_bytes(encoded), by_arrays(images()), atol=1e-5)
    assert (by_bytes.input.dtype, by_arrays.input.dtype) == ("string", "uint8")


def test_regressors_give_values():
    """Regressors give one value, of any sign."""
    for model in (te.build_image_regressor(tiny_image_encoder()), te.build_text_regressor(tiny_text_encoder())):
        assert model.output.shape == (None, 1)
        assert model.layers[-1].name == "values"
        model.get_layer("head").get_layer("logits").bias.assign([-9.0])
        examples = images() if model.name.startswith("image") else tf.constant(["a", "b"])
        assert model(examples).numpy().max() < 0


def test_a_regressor_keeps_its_unit(tmp_path):
    """Mean and scale of the targets are part of the model: saved, read, copied, and never trained."""
    model = te.build_image_regressor(tiny_image_encoder())
    standardized = model(images()).numpy()
    values = model.get_layer("values")
    values.set_weights([np.float64(1000), np.float64(50)])
    expected = standardized * 50 + 1000
    model.save(tmp_path / "model.keras")
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    for each in (model, keras.models.load_model(tmp_path / "model.keras"), copied):
        np.testing.assert_allclose(each(images()), expected, rtol=1e-6)
        assert not each.get_layer("values").trainable_weights
    np.testing.assert_allclose(te.predict(model, images()).logits, standardized, atol=1e-5)


def test_a_model_that_ends_in_another_layer_is_refused():
    """Neither probabilities nor values come out of it: no builder made it."""
    model = te.build_image_regressor(tiny_image_encoder())
    other = keras.Model(model.input, keras.layers.Identity(name="values")(model.get_layer("head").output))
    with pytest.raises(ValueError, match="expected an encoder, a head, and probabilities or values"):
        te.predict(other, images())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: te.build_text_classifier(tiny_image_encoder(), ["a", "b"]), "use build_image_classifier"),
        (lambda: te.build_image_classifier(tiny_text_encoder(), ["a", "b"]), "use build_text_classifier"),
        (lambda: te.build_text_regressor(tiny_image_encoder()), "use build_image_regressor"),
        (lambda: te.build_image_regressor(tiny_text_encoder()), "use build_text_regressor"),
        (lambda: te.build_text_classifier(tiny_text_encoder(), ["a"]), "at least 2 different names"),
        (lambda: te.build_text_classifier(tiny_text_encoder(), "ab"), "at least 2 different names"),
        (lambda: te.build_text_classifier(tiny_text_encoder(), ["a", "a"]), "at least 2 different names"),
        (lambda: te.build_text_classifier(tiny_text_encoder(), [], multi_label=True), "at least 1 different"),
        (lambda: te.build_image_classifier(tiny_image_encoder(), ["a", "b"], inputs="path"), "'arrays' or 'bytes'"),
    ],
)
def test_what_does_not_fit_is_refused(build, message):
    """Encoders of the other kind, bad class names and unknown inputs are refused, saying what to use."""
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("make", [tiny_text_encoder, tiny_image_encoder])
def test_an_embedder_shares_its_encoder(make, tmp_path):
    """Its embeddings are those of the encoder, of length 1 if wanted; what a classifier has trained is in it."""
    encoder = make()
    raw = tf.constant(["aab", "bba"]) if encoder.spec.kind == "text" else tf.constant(images()[:2])
    embedder, plain = te.build_embedder(encoder), te.build_embedder(encoder, normalize=False)
    before = encoder(raw).numpy()
    np.testing.assert_allclose(plain(raw), before, atol=1e-6)
    np.testing.assert_allclose(embedder(raw), before / np.linalg.norm(before, axis=1, keepdims=True), atol=1e-6)
    variable = encoder.blocks[-1].variables[0]
    variable.assign(variable + 0.5)
    assert np.abs(plain(raw).numpy() - before).max() > 1e-3
    embedder.save(tmp_path / "embedder.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "embedder.keras")(raw), embedder(raw), atol=1e-6)


@pytest.mark.parametrize("names", [7, None, 2.5])
def test_class_names_are_a_list(names):
    """A number of classes in the place of their names is refused in a line that says what is expected."""
    with pytest.raises(ValueError, match=r"class_names=.*expected a list of at least 2 different names, such as data"):
        te.build_text_classifier(tiny_text_encoder(), names)


def test_builders_refuse_what_is_no_encoder_or_head():
    """A handle in the place of an encoder, and a head that was not called, are refused in a line."""
    for build in (lambda: te.build_text_classifier("minilm", ["a", "b"]), lambda: te.build_embedder("minilm")):
        with pytest.raises(ValueError, match=r"The encoder is 'minilm': expected an Encoder, such as te.load_encoder"):
            build()
    with pytest.raises(ValueError, match="The head is <function mlp_head"):
        te.build_text_classifier(tiny_text_encoder(), ["a", "b"], head=te.mlp_head)
