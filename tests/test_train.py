"""Training: only what is unfrozen moves, the cache changes nothing, and the seed settles the result."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.batches import Epochs, order
from tfembed.head_layers import build_head, draw_untrained_head
from tfembed.predict import parts_of
from tfembed.running import run_phase

CLASSES = ["dark", "bright"]


def images(count=24):
    return (pixels(count) // 2 + (np.arange(count) % 2)[:, None, None, None] * 60).astype("uint8")


def data(validation=0.0, test=0.0, count=24):
    labels = np.arange(count) % 2
    return te.Dataset.from_arrays(images(count), labels, CLASSES, validation=validation, test=test)


def model_of(name="tiny", **options):
    encoder = te.load_encoder("glyphs") if name == "glyphs" else tiny_image_encoder(**options)
    return te.build_image_classifier(encoder, CLASSES)


def phase(unfreeze=1, **options):
    how = {"epochs": 2, "learning_rate": 1e-2, "batch_size": 8, "batch_norm": "train"}
    return te.Phase(**{"name": "tune", "unfreeze": unfreeze} | how | options)


def one(**options):
    return te.Strategy(name="one", phases=(phase(**options),))


def snapshot(encoder):
    return {block.name: [np.asarray(v.numpy()).copy() for v in block.variables] for block in encoder.blocks}


def moved(before, after):
    return {name: [not np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True)] for name in before}


@pytest.mark.parametrize(("name", "first"), [("tiny", None), ("tiny", True), ("tiny", "norms"), ("glyphs", True)])
def test_only_unfrozen_weights_move(name, first):
    """Weights and moving statistics of frozen blocks stay, bit for bit, also after a phase that unfroze more."""
    model, cache = model_of(name), te.FeatureCache()
    parts, smooth = parts_of(model), {"label_smoothing": 0.2}  # without it, what is learnt by heart has no gradient
    blocks = [block.name for block in parts.encoder.blocks]
    if first is not None:
        before = snapshot(parts.encoder)
        run_phase(parts, data(), phase(first, **smooth), seed=0, balanced=False, cache=cache)
        changes = moved(before, snapshot(parts.encoder))
        assert all(any(changes[block]) for block in blocks)
    for unfreeze, trained in [(1, blocks[-1:]), ([blocks[1]], blocks[1:2]), (2, blocks[-2:]), (False, [])]:
        before, head = snapshot(parts.encoder), parts.head.get_weights()
        result = run_phase(parts, data(), phase(unfreeze, **smooth), seed=0, balanced=False, cache=cache)
        for block, changes in moved(before, snapshot(parts.encoder)).items():
            assert all(changes) if block in trained else not any(changes), (unfreeze, block, changes)
        assert all(not np.array_equal(a, b) for a, b in zip(head, parts.head.get_weights(), strict=True))
        assert result.num_frozen == (blocks.index(trained[0]) if trained else len(blocks))


@pytest.mark.parametrize("selector", ["norms", "biases", "conv|kernel"])
def test_only_selected_weights_move(selector):
    """Where single weights are selected, no other weight that could be trained moves."""
    model = model_of()
    encoder = parts_of(model).encoder
    encoder.unfreeze(selector)
    chosen = {id(v) for v in encoder.trainable_variables}
    encoder.unfreeze(True)
    weights = [(v, v.numpy()) for v in encoder.trainable_variables]
    te.train(model, data(), one(unfreeze=selector))
    assert 0 < len(chosen) < len(weights)
    for variable, before in weights:
        assert np.array_equal(variable.numpy(), before) == (id(variable) not in chosen), variable.path


@pytest.mark.parametrize("unfreeze", [1, 2])
def test_the_cache_changes_nothing(unfreeze):
    """Twenty-one steps from the cache end in the weights of twenty-one steps of the whole model on the same batches."""
    strategy, dataset = one(unfreeze=unfreeze, epochs=7, learning_rate=1e-3), data()
    cached, whole = model_of(dropout=0.0), model_of(dropout=0.0)
    te.train(cached, dataset, strategy, seed=3)
    parts = parts_of(whole)
    parts.encoder.unfreeze(unfreeze)
    draw_untrained_head(parts.head, 3)
    logits = keras.Model(whole.input, whole.get_layer("head").output)
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.0)
    logits.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(3)
    for _ in range(7):
        for rows in order(np.ones(24), 8, rng):
            logits.train_on_batch(dataset.train.examples[rows], dataset.train.labels[rows])
    start = model_of(dropout=0.0)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(start.get_weights(), whole.get_weights(), strict=True))
    for a, b in zip(cached.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_measuring_from_the_cache_changes_nothing():
    """After phases of different depths, examples trained on are measured from the last cut, to the same result."""
    model, dataset = model_of(), data(0.3)
    strategy = te.Strategy(name="two", phases=(phase(2), phase(1), *te.linear_probe().phases))
    cache = te.FeatureCache.in_memory()
    found = te.train(model, dataset, strategy, cache=cache).metrics["validation"]
    expected = te.evaluate(model, dataset.validation)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["accuracy"] == expected["accuracy"]
    encoder = parts_of(model).encoder
    assert encoder.frozen_while_trained_on(dataset.validation.examples) == 2
    assert encoder.frozen_while_trained_on(dataset.validation.examples.copy()) == 0


def test_the_same_seed_gives_the_same_result():
    """Order, dropout and folds are settled by the seed: metrics, history and weights are equal; another's are not."""
    strategy, dataset = te.Strategy(name="two", phases=(*te.linear_probe().phases, phase(2))), data(0, 0.2, 40)

    def run(seed):
        model = model_of()
        result = te.train(model, dataset, strategy, seed=seed)
        weights = [w for w in model.get_weights() if w.dtype == np.float32]
        return result, weights

    (first, a), (second, b), (other, c) = run(1), run(1), run(2)
    assert first.metrics == second.metrics
    assert [p.history for p in first.phases] == [p.history for p in second.phases]
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert first.seed == 1
    assert [p.history for p in first.phases] != [p.history for p in other.phases]
    assert not all(np.array_equal(x, y) for x, y in zip(a, c, strict=True))


def plain_text_model(encoder, head):
    texts = keras.Input((), dtype="string")
    tokens = encoder.preprocessing(texts)
    real = keras.ops.expand_dims(keras.ops.cast(tokens["padding_mask"], "float32"), -1)
    return keras.Model(texts, head(keras.ops.sum(encoder.body(tokens) * real, 1) / keras.ops.sum(real, 1)))


def test_texts_in_chunks_learn_what_plain_keras_learns():
    """Batches in chunks of like length, from the cache, end in the validation losses and weights of plain Keras.

    The peer has the same initial weights and batches, and is otherwise what a tutorial writes: the whole encoder,
    padded to one length, under Keras's own AdamW.
    """
    texts = [("a" if i % 2 else "b") * (2 + i % 5) + chr(99 + i // 3) for i in range(50)]  # none twice
    dataset = te.Dataset.from_arrays(texts, [i % 2 for i in range(50)], CLASSES, validation=0.2, test=0)
    seed, epochs, encoder, peer = 3, 3, tiny_text_encoder(), tiny_text_encoder()
    model = te.build_text_classifier(encoder, CLASSES)
    tuned = one(epochs=epochs, patience=epochs, batch_size=16)
    history = te.train(model, dataset, tuned, seed=seed).phases[0].history

    peer.unfreeze(1)
    head = build_head(te.linear_head(), peer.dim, 2)
    draw_untrained_head(head, seed)
    plain = plain_text_model(peer, head)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.0), loss)
    lengths = np.array([len(text) for text in dataset.train.examples])
    batches = Epochs(lengths, 16, np.random.default_rng(seed), parts=2)
    losses = []
    for _ in range(epochs):
        for rows in batches:
            plain.train_on_batch(tf.constant(dataset.train.examples[rows].tolist()), dataset.train.labels[rows])
        validation = tf.constant(dataset.validation.examples.tolist())
        losses.append(plain.evaluate(validation, dataset.validation.labels, verbose=0))
    np.testing.assert_allclose(history["val_loss"], losses, rtol=1e-4)
    assert np.argmin(losses) == epochs - 1  # so that the weights of the last epoch are those that are kept
    for block, other in zip(encoder.blocks, peer.blocks, strict=True):
        for ours, theirs in zip(block.variables, other.variables, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)


def test_the_best_epoch_is_kept():
    """Training stops when the validation loss no longer falls, and the weights are those of its lowest value."""
    rng = np.random.default_rng(0)
    dataset = te.Dataset.from_arrays(pixels(40), rng.integers(0, 2, 40), CLASSES, validation=0.4, test=0)  # mere noise
    model = model_of(dropout=0.0)
    strategy = one(unfreeze=True, epochs=30, learning_rate=3e-2, patience=2)
    result = te.train(model, dataset, strategy)
    losses = result.phases[0].history["val_loss"]
    assert len(losses) < 30
    assert len(losses) == int(np.argmin(losses)) + 3
    model.layers[-1].temperature.assign(1.0)  # as it was in training
    np.testing.assert_allclose(te.evaluate(model, dataset.validation)["loss"], min(losses), rtol=1e-4)


def test_without_validation_all_epochs_are_run():
    """Without a validation part there is nothing to stop by."""
    history = te.train(model_of(), data(), one(epochs=9)).phases[0].history
    assert len(history["loss"]) == 9
    assert "val_loss" not in history


def test_a_result_says_what_was_done():
    """Metrics of the parts that are there, parameters that could change, and JSON values."""
    result = te.train(model_of(), data(0, 0.25), te.Strategy(name="two", phases=(*te.linear_probe().phases, phase(1))))
    assert set(result.metrics) == {"train", "test"}
    assert [p.num_frozen for p in result.phases] == [3, 2]
    assert result.phases[0].trained_parameters == 24  # 4 + 4 + 3 features and a bias, for each of two classes
    assert result.trained_parameters == 24 + 4 * 4 * 9 + 8
    assert [*result.phases[0].history] == ["cross_validation_loss"]
    assert result.to_dict()["strategy"]["name"] == "two"


def test_texts_are_trained():
    """Texts of different lengths train at every cut: letters tell the classes apart."""
    texts = [("a" if i % 2 else "b") * (1 + i % 5) for i in range(20)]
    dataset = te.Dataset.from_arrays(texts, [i % 2 for i in range(20)], ["b", "a"], validation=0, test=0)
    for unfreeze in (0, 1, 2, True):
        model = te.build_text_classifier(tiny_text_encoder(), dataset.class_names)
        result = te.train(model, dataset, one(unfreeze=unfreeze, epochs=20, learning_rate=3e-2))
        assert result.metrics["train"]["accuracy"] == 1.0
        assert te.predict(model, ["aaa", "b"]).labels == ("a", "b")


def test_several_labels_and_targets_are_trained():
    """A probe and a fine-tuning learn several labels, and targets."""
    dark = np.arange(24) % 2
    labels = [["bright"] if i else ["dark", "any"] for i in dark]
    several = te.Dataset.from_arrays(images(), labels, validation=0, test=0)
    targets = te.Dataset.from_arrays(images(), dark * 2.5 - 1.0, validation=0, test=0)
    strategy = te.Strategy(name="two", phases=(*te.linear_probe().phases, phase(1, learning_rate=1e-3)))
    model = te.build_image_classifier(tiny_image_encoder(0.0), several.class_names, multi_label=True)
    assert te.train(model, several, strategy).metrics["train"]["micro_f1"] > 0.9
    model = te.build_image_regressor(tiny_image_encoder(0.0))
    assert te.train(model, targets, strategy).metrics["train"]["r2"] > 0.5


@pytest.mark.parametrize("solve", [True, False])
def test_balanced_training_finds_more_of_a_rare_class(solve):
    """With every class counting the same, more of the rare class is found, solved or in epochs."""
    rng, labels = np.random.default_rng(0), np.array([0] * 40 + [1] * 5)
    noisy = np.clip(rng.normal(100, 60, (45, 8, 8, 3)) + labels[:, None, None, None] * 6, 0, 255).astype("uint8")
    dataset = te.Dataset.from_arrays(noisy, labels, CLASSES, validation=0, test=0)
    found = []
    for balanced in (False, True):
        model = model_of(dropout=0.0)
        te.train(model, dataset, one(unfreeze=False, solve=solve, epochs=5), balanced=balanced)
        found.append(te.predict(model, noisy).probabilities[:, 1].mean())
    assert found[1] > found[0] + 0.1


@pytest.mark.parametrize("task", ["regression", "multi_label"])
def test_balance_without_classes_that_exclude_each_other_is_refused(task):
    """Targets and several labels have no class to weigh: it is said before anything is trained."""
    labels = np.linspace(0, 1, 6) if task == "regression" else np.eye(2, dtype=int)[[0, 1] * 3]
    dataset = te.Dataset.from_arrays(images(6), labels, None if task == "regression" else CLASSES, task=task)
    model = (
        te.build_image_regressor(tiny_image_encoder())
        if task == "regression"
        else te.build_image_classifier(tiny_image_encoder(), CLASSES, multi_label=True)
    )
    before = [weight.copy() for weight in model.get_weights()]
    with pytest.raises(ValueError, match=f"balanced=True weighs classes .* the data are for {task}: leave it out"):
        te.train(model, dataset, te.linear_probe(), balanced=True)
    assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: te.build_image_classifier(tiny_image_encoder(), ["bright", "dark"]), "the same in the same order"),
        (lambda: te.build_text_classifier(tiny_text_encoder(), CLASSES), "The data are images .* of texts"),
        (lambda: te.build_image_regressor(tiny_image_encoder()), "a classification; the model is one .* regression"),
        (lambda: te.build_image_classifier(tiny_image_encoder(), CLASSES, multi_label=True), "multi_label"),
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "Make it with build_text_classifier"),
    ],
)
def test_data_and_models_that_do_not_fit_are_refused(make, message):
    """Other classes, another order of them, another kind or task are refused before anything is trained."""
    with pytest.raises(ValueError, match=message):
        te.train(make(), data(), te.linear_probe())


@pytest.mark.parametrize("strategy", [te.lp_ft(9), te.gradual(9), te.lora(2)])
def test_what_is_not_there_is_refused_before_anything_is_trained(strategy):
    """A later phase that unfreezes what there is not says so at once, and the model is what it was."""
    model = model_of()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"there are 3|no layers of attention"):
        te.train(model, data(), strategy)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_a_solved_head_predicts_what_the_model_predicts():
    """After a probe, Keras and predict agree, and evaluate counts the same."""
    model, dataset = model_of(), data(0, 0.5)
    result = te.train(model, dataset, te.linear_probe())
    expected = model.predict(dataset.test.examples, verbose=0)
    found = te.predict(model, dataset.test.examples)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(tf.nn.softmax(found.logits), expected, atol=1e-5)
    assert result.metrics["test"]["accuracy"] == np.mean(expected.argmax(axis=1) == dataset.test.labels)
    assert te.evaluate(model, dataset.test) == result.metrics["test"]


def test_a_strategy_may_be_a_text():
    """`train` takes the text of the command line; a strategy that was not called, or none, is refused in a line."""
    found = te.train(model_of(), data(), "linear_probe", seed=1)
    assert found.strategy == te.linear_probe()
    assert te.accelerate("lp_ft:1", jit_compile=True) == te.accelerate(te.lp_ft(1), jit_compile=True)
    with pytest.raises(ValueError, match=r"of type function. Call it: te.lp_ft\(...\)"):
        te.train(model_of(), data(), te.lp_ft)
    with pytest.raises(ValueError, match=r"of type int\. Expected a Strategy"):
        te.train(model_of(), data(), 3)


@pytest.mark.parametrize("function", ["train", "search"])
def test_what_learns_takes_a_whole_data_set(function, tmp_path):
    """A split or an array in the place of the data set is refused in a line that says what is expected."""

    def call(given):
        if function == "train":
            te.train(model_of(), given, te.linear_probe())
        else:
            te.search("glyphs", given, directory=tmp_path / "study")

    with pytest.raises(ValueError, match=f"{function} takes a Dataset, but was passed a Split. Pass the whole"):
        call(data().train)
    with pytest.raises(ValueError, match=f"{function} takes a Dataset, but was passed a ndarray. te.load_text"):
        call(images())
