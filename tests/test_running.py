"""Phases of every kind: what they train, what they leave, and what they undo."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_train import CLASSES, data, images, model_of, moved, one, phase, snapshot
from tiny_encoders import tiny_text_encoder

import tfembed as te
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.spec import EncoderSpec
from tfembed.features import FeatureCache
from tfembed.head_layers import is_untrained
from tfembed.predict import parts_of
from tfembed.running import run_phase


def attention_encoder() -> Encoder:
    """Letters, and two layers of attention with names as KerasHub has them; frozen."""
    tiny = tiny_text_encoder()
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = keras.layers.Embedding(128, 8, name="token_embedding")(ids)
    for i in range(2):
        allowed = keras.ops.expand_dims(mask, 1)
        x = x + keras.layers.MultiHeadAttention(2, 4, dropout=0.1, name=f"layer_{i}_attention")(
            x, x, attention_mask=allowed
        )
    spec = EncoderSpec(name="attention", handle="attention", kind="text", pooling="mean")
    encoder = Encoder(spec, keras.Model({"token_ids": ids, "padding_mask": mask}, x), tiny.preprocessing)
    encoder.unfreeze(False)
    return encoder


def letters(count=24):
    texts = [("ab" if i % 2 else "ba") * (1 + i % 3) + "xyz"[: i % 4] for i in range(count)]
    return te.Dataset.from_arrays(texts, [i % 2 for i in range(count)], ["ba", "ab"], validation=0, test=0)


def run(parts, phase, dataset=None, seed=0):
    return run_phase(parts, dataset or data(), phase, seed=seed, balanced=False, cache=FeatureCache())


def test_one_block_alone_moves():
    """only_block names a block by its place or its name; no other block moves, above or below."""
    for block in (0, "block_1", -3):
        model = model_of()
        before = snapshot(parts_of(model).encoder)
        te.train(model, data(), te.only_block(block, epochs=2, learning_rate=1e-2))
        changes = moved(before, snapshot(parts_of(model).encoder))
        assert {name for name, each in changes.items() if any(each)} == {"block_1"}
    with pytest.raises(ValueError, match=r"There are no blocks \[7\]: from input to output there are \['block_1'"):
        te.train(model_of(), data(), te.only_block(7))


def test_gradual_unfreezing_goes_down_block_by_block():
    """Each phase has one block more, and the cut moves down with it."""
    result = te.train(model_of(), data(), te.gradual(3, epochs=1))
    assert [each.num_frozen for each in result.phases] == [3, 2, 1, 0, 3]
    assert [each.name for each in result.phases] == ["probe", "top 1", "top 2", "top 3", "solve"]


def test_lower_blocks_learn_at_lower_rates():
    """After one step of Adam from rest, each weight has moved by its block's learning rate."""
    model = model_of(dropout=0.0)
    parts = parts_of(model)
    before = snapshot(parts.encoder)
    run(parts, phase(True, epochs=1, batch_size=24, learning_rate=1e-3, layer_decay=0.5))
    after = snapshot(parts.encoder)
    steps = [np.abs(after[f"block_{i}"][0] - before[f"block_{i}"][0]).max() for i in (1, 2, 3)]
    np.testing.assert_allclose(steps, [0.25e-3, 0.5e-3, 1e-3], rtol=0.02)


def network_of_norms():
    """A frozen Keras encoder with both kinds of norms, attention's biases of two dimensions, and `alphabeta`."""
    layers, image = keras.layers, keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(name="block_1_batch")(layers.Conv2D(4, 3, name="block_1_conv")(image))
    x = layers.LayerNormalization(name="block_2_layer")(layers.Reshape((36, 4))(x))
    x = layers.MultiHeadAttention(2, 2, name="block_2_attention")(x, x)
    x = layers.Dense(4, name="alphabeta")(layers.GlobalAveragePooling1D()(x))
    spec = EncoderSpec(name="norms", handle="norms", kind="image", image_size=(8, 8))
    encoder = Encoder(spec, keras.Model(image, x), ImagePreprocessing((8, 8)))
    encoder.unfreeze(False)
    return encoder


def module_of_norms(folder):
    """A frozen SavedModel with a scale `(1, 5)` under a name with a point, and one kernel in `alphabeta`."""
    module = tf.train.Checkpoint()
    names = {"alphabeta/kernel": (3, 5), "dense.bias": (1, 5), "norm.scale": (1, 5), "top/kernel": (5, 4)}
    variables = [tf.Variable(tf.ones(shape), name=name) for name, shape in names.items()]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)], autograph=False)
    def call(inputs):
        kernel, bias, scale, top = variables
        return tf.tanh((tf.reduce_mean(inputs, (1, 2)) @ kernel + bias) * scale) @ top

    module.__call__, module.variables, module.trainable_variables = call, variables, variables
    tf.saved_model.save(module, str(folder))
    return te.load_encoder(str(folder))


def pulled(make_encoder, epochs, pull):
    """Names of the variables that a pull acts on within so many steps, and of all that train."""
    ends = []
    for options in ({}, pull):
        head = te.mlp_head(units=[4], dropout=0.0, normalization="layer")
        model = te.build_image_classifier(make_encoder(), CLASSES, head=head)
        parts = parts_of(model)
        parts.encoder.unfreeze(True)
        trained = [*parts.encoder.trainable_variables, *parts.head.trainable_variables]
        rng = np.random.default_rng(0)
        for variable in trained:
            variable.assign(rng.uniform(0.2, 0.6, variable.shape))
        run(parts, phase(True, epochs=epochs, batch_size=24, learning_rate=1e-2, **options))
        ends.append([np.asarray(variable) for variable in trained])
    names = [variable.path for variable in trained]
    return {n for n, a, b in zip(names, *ends, strict=True) if np.abs(a - b).max() > 1e-6}, set(names)


# The steps until a pull shows, and before it has changed any gradient: at first, L2-SP has nothing to take back.
@pytest.mark.parametrize(("epochs", "pull"), [(1, {"weight_decay": 0.3}), (2, {"l2_sp": 0.3})])
def test_weight_decay_and_l2_sp_pull_at_kernels_alone(epochs, pull, tmp_path):
    """Biases and norms are left alone, under whatever names, and of whatever shape, those of the head included."""
    folders = iter(range(2))
    names, trained = pulled(lambda: te.load_encoder("glyphs"), epochs, pull)
    assert names == {name for name in trained if name.endswith("kernel")}
    assert any(name.endswith("norm.scale") for name in trained)
    names, trained = pulled(network_of_norms, epochs, pull)
    assert names == {name for name in trained if name.endswith("kernel")}
    assert "alphabeta/kernel" in names
    assert {name.rpartition("/")[2] for name in trained} == {"kernel", "bias", "gamma", "beta"}
    names, trained = pulled(lambda: module_of_norms(tmp_path / str(next(folders))), epochs, pull)
    assert names == {name for name in trained if name.endswith("kernel")}
    assert {"dense.bias", "norm.scale"} < trained


def test_contrastive_training_draws_classes_apart():
    """The loss on batches drawn by class falls, the head rests, and frozen blocks stay."""
    model = model_of(dropout=0.0)
    parts = parts_of(model)
    before, head = snapshot(parts.encoder), parts.head.get_weights()
    tuned = te.contrastive(1, steps=30, learning_rate=1e-2).phases[0]
    embeddings = parts.encoder(images()).numpy()
    result = run(parts, tuned)
    changes = moved(before, snapshot(parts.encoder))
    assert [any(changes[name]) for name in before] == [False, False, True]
    assert all(np.array_equal(a, b) for a, b in zip(head, parts.head.get_weights(), strict=True))
    assert result.trained_parameters == 4 * 4 * 9 + 8

    def gap(vectors):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines, same = unit @ unit.T, np.arange(24)[:, None] % 2 == np.arange(24)[None] % 2
        return cosines[same].mean() - cosines[~same].mean()

    assert gap(parts.encoder(images()).numpy()) > gap(embeddings) + 0.01


def test_contrastive_training_needs_classes():
    """Targets, and several labels an example, have no classes to draw batches by: they are refused at once."""
    for labels in (np.arange(24) * 0.5, [["dark", "any"] if i % 2 else ["bright"] for i in range(24)]):
        dataset = te.Dataset.from_arrays(images(), labels, validation=0, test=0)
        encoder = parts_of(model_of()).encoder
        if dataset.task == "regression":
            model = te.build_image_regressor(encoder)
        else:
            model = te.build_image_classifier(encoder, dataset.class_names, multi_label=True)
        with pytest.raises(ValueError, match=f"draws batches by class, and the data are for a {dataset.task}"):
            te.train(model, dataset, te.contrastive(1))


def test_contrastive_training_needs_two_of_a_class():
    """With one example a class there is nothing to bring together: refused, not trained to no effect."""
    with pytest.raises(ValueError, match="each class has only one to train on"):
        te.train(model_of(), data().few_shot(1), te.contrastive(1))


def test_low_rank_additions_end_up_in_the_weights():
    """LoRA moves nothing but the attention's query and value weights, by a change of its rank, and leaves no trace."""
    encoder = attention_encoder()
    model = te.build_text_classifier(encoder, ["ba", "ab"])
    names, before = [v.path for v in model.variables], {v.path: v.numpy() for v in encoder.variables}
    strategy = te.lora(1, epochs=5, learning_rate=1e-2)
    result = te.train(model, letters(), strategy)
    assert [v.path for v in model.variables] == names
    changed = {path for path, value in before.items() if not np.array_equal(value, dict_of(encoder)[path])}
    kernels = {path for path in before if path.endswith(("query/kernel", "value/kernel"))}
    assert len(kernels) == 4
    assert changed - {path for path in before if "seed" in path} == kernels
    for path in kernels:
        change = (dict_of(encoder)[path] - before[path]).reshape(-1, before[path].shape[-1])
        assert np.linalg.matrix_rank(change, tol=1e-5) == 1
    assert result.phases[1].num_frozen == 1
    assert result.phases[1].trained_parameters == 4 * (8 * 2 + 4) + 2 * 8 + 2
    text = ["abab", "baba"]
    reread = keras.Model.from_config(model.get_config())
    reread.set_weights(model.get_weights())
    np.testing.assert_allclose(te.predict(reread, text).logits, te.predict(model, text).logits, atol=1e-5)


def test_what_was_unfrozen_before_low_rank_additions_is_unfrozen_after_them():
    """The layers that had them, and those that had none."""
    model = te.build_text_classifier(attention_encoder(), ["ba", "ab"])
    encoder = parts_of(model).encoder
    encoder.unfreeze(1)
    expected = [variable.path for variable in encoder.trainable_variables]
    run(parts_of(model), te.lora(1, num_unfrozen=1, epochs=1).phases[1], letters())
    assert [variable.path for variable in encoder.trainable_variables] == expected


def test_low_rank_additions_that_made_it_worse_are_undone():
    """What they did to the attention's weights is judged, and taken back."""
    model = te.build_text_classifier(attention_encoder(), ["ba", "ab"])
    dataset = replace(letters(), validation=letters().train)
    parts = parts_of(model)
    assert run(parts, te.linear_probe().phases[0], dataset).kept
    before = model.get_weights()
    worse = run(parts, te.lora(1, epochs=1, learning_rate=30.0).phases[1], dataset)
    assert not worse.kept
    kernels = [(a, b) for a, b in zip(before, model.get_weights(), strict=True) if a.ndim > 1]
    assert all(np.array_equal(a, b) for a, b in kernels)


def dict_of(encoder):
    return {variable.path: variable.numpy() for variable in encoder.variables}


def test_encoders_without_attention_refuse_low_rank_additions():
    """Where nothing can have them, LoRA says so."""
    with pytest.raises(ValueError, match="no layers of attention for LoRA"):
        te.train(model_of(), data(), te.lora(2))


def test_a_phase_that_made_it_worse_is_undone():
    """A phase with a higher validation loss than it began with leaves the weights as they were, and says so."""
    dataset = data(0.3, 0, 40)
    model = model_of(dropout=0.0)
    parts = parts_of(model)
    assert run(parts, te.linear_probe().phases[0], dataset).kept
    before = model.get_weights()
    worse = run(parts, phase(True, epochs=1, learning_rate=3.0), dataset)
    assert not worse.kept
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("before", [[], [phase(1, objective="contrastive", steps=2, learning_rate=1e-6)]])
def test_a_first_solution_is_not_given_up_for_chance(before):
    """A head that is solved on few examples may be surer than it is right: it is kept all the same, since a head that
    never learnt is no better; from then on, phases are compared with it.
    """
    dataset = data(0.3, 0, 40)
    doubtful = dataset.validation.labels.copy()
    doubtful[::2] = (doubtful[::2] + 1) % len(CLASSES)
    dataset = replace(dataset, validation=replace(dataset.validation, labels=doubtful))
    parts = parts_of(model_of(dropout=0.0))
    for each in [*before, te.linear_probe().phases[0]]:
        assert run(parts, each, dataset).kept
    assert not is_untrained(parts.head)
    assert not run(parts, phase(True, epochs=1, learning_rate=3.0), dataset).kept


def test_features_of_several_depths_are_joined():
    """A probe on depths sees each depth's pooled features before the embedding; a later strategy goes back."""
    model = model_of()
    parts = parts_of(model)
    alone = parts.encoder(images()).numpy()
    result = te.train(model, data(0, 0.25), te.linear_probe(depths=(1, 2)))
    joined = parts.encoder(images()).numpy()
    assert parts.encoder.dim == joined.shape[1] > alone.shape[1] == 11
    np.testing.assert_allclose(joined[:, -11:], unit(alone), atol=1e-5)
    prefix, _ = parts.encoder.cut(2)
    pooled = [np.asarray(tensor).mean(axis=(1, 2)) for _, tensor in sorted(prefix(images()).items())]
    assert any(
        np.allclose(joined[:, i : i + 4], unit(p), atol=1e-5) for p in pooled for i in range(joined.shape[1] - 3)
    )
    found = te.predict(model, images()).probabilities
    np.testing.assert_allclose(model.predict(images(), verbose=0), found, atol=1e-5)
    assert result.phases[0].num_frozen == 3
    te.train(model, data(), te.linear_probe())
    assert parts.encoder.dim == 11
    assert model.get_layer("head").input_shape == (None, 11)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # Keras, saving
def test_a_model_with_joined_depths_is_saved_and_read(tmp_path):
    """The depths and the wider head are part of the file."""
    model = te.build_text_classifier(attention_encoder(), ["ba", "ab"])
    te.train(model, letters(), te.linear_probe(depths=(1, 2)))
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(te.predict(read, ["ab"]).logits, te.predict(model, ["ab"]).logits, atol=1e-5)


def test_a_long_embedding_does_not_hide_joined_depths():
    """The first block tells the classes apart, the embedding is noise of 100 times its length: a probe finds them."""
    count = 80
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    pixels = rng.integers(0, 256, (count, 8, 8, 3)).astype("uint8")
    pixels[:, 0, 0, 0] = labels * 255  # one pixel says the class
    inputs = keras.Input((8, 8, 3))
    first = keras.layers.Dense(4, use_bias=False, name="block_0")(keras.layers.Flatten()(inputs))
    noise = keras.layers.Dense(20, use_bias=False, name="block_1")(
        keras.layers.Concatenate()([first, keras.layers.Flatten()(inputs)])
    )
    body = keras.Model(inputs, noise)
    kernel = np.zeros([192, 4])
    kernel[0, 0], kernel[1, 1] = 1.0, 0.5
    body.get_layer("block_0").set_weights([kernel])
    loud = rng.normal(size=[196, 20]) * 100
    loud[[0, 4]] = 0
    body.get_layer("block_1").set_weights([loud])
    spec = EncoderSpec(name="noise", handle="noise", kind="image", image_size=(8, 8))
    model = te.build_image_classifier(Encoder(spec, body, ImagePreprocessing((8, 8))), CLASSES)
    dataset = te.Dataset.from_arrays(pixels, labels, CLASSES, validation=0, test=0.5)
    assert te.train(model, dataset, te.linear_probe()).metrics["test"]["accuracy"] < 0.75
    assert te.train(model, dataset, te.linear_probe(depths=(1,))).metrics["test"]["accuracy"] > 0.95


def test_repeated_depths_count_once():
    """Depths are a set: the name, the phase and the length of the embedding are those of each depth once."""
    assert te.linear_probe(depths=(2, 1, 2)) == te.linear_probe(depths=(1, 2))
    encoder = parts_of(model_of()).encoder
    assert encoder.join((1, 1)) == encoder.join((1,))


def test_depths_that_are_not_there_are_refused():
    """The error says which depths there are."""
    with pytest.raises(ValueError, match=r"depths \[3\]: the encoder has 3 blocks, pass depths from 1 to 2"):
        te.train(model_of(), data(), te.linear_probe(depths=(1, 3)))


def test_the_head_is_solved_again_after_fine_tuning():
    """Behind its last phase, the head is the optimum on the features that fine-tuning left."""
    model, dataset = model_of(dropout=0.0), data()
    te.train(model, dataset, te.lp_ft(1, epochs=2))
    parts = parts_of(model)
    left = parts.head.get_weights()
    run(parts, te.linear_probe().phases[0], dataset, seed=2)
    for a, b in zip(left, parts.head.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_classes_without_an_example_are_named():
    """A class that no training example has is refused by its name, before anything is trained."""
    dataset = replace(data(), class_names=(*CLASSES, "grey"))
    model = te.build_image_classifier(parts_of(model_of()).encoder, dataset.class_names)
    with pytest.raises(ValueError, match=r"Classes without a training example: \['grey'\]"):
        te.train(model, dataset, one())


def test_a_trained_encoder_knows_its_strategy():
    """The strategy is kept with the encoder, so that a run or an export can say how it was trained."""
    model = model_of()
    assert parts_of(model).encoder.trained_with is None
    te.train(model, data(), te.lp_ft(1, epochs=1))
    assert te.strategy_from_json(parts_of(model).encoder.trained_with) == te.lp_ft(1, epochs=1)
