"""Every number of a phase does what it says, against the same training in NumPy or in plain Keras."""

import keras
import numpy as np
import pytest
from test_optimizers import adamw
from test_running import run
from test_supervised_contrastive import by_hand
from test_train import CLASSES, data, images, model_of, phase, snapshot
from tiny_encoders import tiny_image_encoder

import tfembed as te
from tfembed import running
from tfembed.batches import Drawn, order
from tfembed.features import FeatureCache
from tfembed.optimizers import BlockwiseAdamW
from tfembed.predict import parts_of
from tfembed.running import run_phase


def heads(embeddings, labels, head, phase, weights):
    """Train a linear head on all examples at once, in NumPy: cross-entropy and AdamW, one step an epoch."""
    (kernel, bias), smooth = (np.array(values, np.float64) for values in head), phase.label_smoothing
    expected = np.eye(2)[labels] * (1 - smooth) + smooth / 2
    rising = round(phase.warmup * phase.epochs)
    rates = [phase.learning_rate * (min(1.0, i / rising) if rising else 1.0) for i in range(phase.epochs)]
    kernels, biases, starts = [], [], (kernel, bias)
    for step in range(1, phase.epochs + 1):
        logits = embeddings @ kernel + bias
        likely = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        errors = (likely - expected) * weights[:, np.newaxis] / len(labels)
        kernels.append(embeddings.T @ errors)
        biases.append(errors.sum(axis=0))
        pulls = {"weight_decay": phase.weight_decay, "l2_sp": phase.l2_sp}
        kernel, bias = adamw(starts[0], kernels, rates[:step], **pulls), adamw(starts[1], biases, rates[:step])
    return kernel, bias


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.5},
        {"l2_sp": 2.0},
        {"warmup": 0.5},
        {"label_smoothing": 0.3},
        {"learning_rate": 0.02},
        {"epochs": 5},
        {"balanced": True},
    ],
    ids=str,
)
def test_a_head_trains_as_the_same_in_numpy(options):
    """Six steps of a head alone end where AdamW in NumPy ends, with each option of a phase that acts on it."""
    balanced = options.get("balanced", False)
    plain = phase(False, epochs=6, learning_rate=0.1, batch_size=24)
    chosen = te.Phase(**{name: getattr(plain, name) for name in plain.__slots__} | without(options, "balanced"))
    labels = np.array([0] * 18 + [1] * 6)
    dataset = te.Dataset.from_arrays(images(), labels, CLASSES, validation=0, test=0)
    parts = parts_of(model_of(dropout=0.0))
    embeddings, head = parts.encoder(dataset.train.examples).numpy(), parts.head.get_weights()
    run_phase(parts, dataset, chosen, seed=0, balanced=balanced, cache=FeatureCache())
    weights = np.where(dataset.train.labels == 1, 2.0, 2 / 3) if balanced else np.ones(24)
    expected = heads(embeddings, dataset.train.labels, head, chosen, weights)
    for found, value in zip(parts.head.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=2e-5)
    others = heads(embeddings, dataset.train.labels, head, plain, np.ones(24))
    assert not options or np.abs(expected[0] - others[0]).max() > 1e-3


def without(options, name):
    return {key: value for key, value in options.items() if key != name}


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    """A straight line from zero over some steps, then the rate itself."""

    def __init__(self, rate, rising):
        self._rate, self._rising = rate, rising

    def __call__(self, step):
        return self._rate * keras.ops.minimum(1.0, keras.ops.cast(step, "float32") / self._rising)


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 6}, {"weight_decay": 0.5}, {"warmup": 0.5}, {"label_smoothing": 0.3}, {"epochs": 3}],
    ids=str,
)
def test_a_block_trains_as_the_same_in_keras(options):
    """A block and the head end where Keras's own AdamW takes the whole model on the same batches."""
    given = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2, "weight_decay": 0.0} | options
    chosen, dataset = phase(1, **given), data()
    ours, whole = model_of(dropout=0.0), model_of(dropout=0.0)
    run(parts_of(ours), chosen, dataset, seed=3)
    parts_of(whole).encoder.unfreeze(1)
    steps = chosen.epochs * 24 // chosen.batch_size
    rate = Rising(1e-2, round(chosen.warmup * steps)) if chosen.warmup else 1e-2
    optimizer = keras.optimizers.AdamW(rate, weight_decay=chosen.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    logits = keras.Model(whole.input, whole.get_layer("head").output)
    logits.compile(
        optimizer, keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=chosen.label_smoothing)
    )
    rng = np.random.default_rng(3)
    for _ in range(chosen.epochs):
        for rows in order(np.ones(24), chosen.batch_size, rng):
            logits.train_on_batch(dataset.train.examples[rows], np.eye(2)[dataset.train.labels[rows]])
    for a, b in zip(ours.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("unfreeze", [False, 1])
@pytest.mark.parametrize(("batch_size", "steps"), [(24, 1), (7, 4)])
def test_an_epoch_has_a_step_for_each_batch(batch_size, steps, unfreeze, monkeypatch):
    """The optimizer takes as many steps as there are batches in all epochs, of the head alone and of a block."""
    made = []

    def spy(*args, **options):
        made.append(BlockwiseAdamW(*args, **options))
        return made[-1]

    monkeypatch.setattr(running, "BlockwiseAdamW", spy)
    run(parts_of(model_of()), phase(unfreeze, epochs=2, batch_size=batch_size))
    assert [int(optimizer.iterations) for optimizer in made] == [2 * steps]


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_when_patience_ends(patience):
    """As many epochs without a lower validation loss as the phase has patience for, and no more."""
    rng = np.random.default_rng(0)
    noise = te.Dataset.from_arrays(images(40), rng.integers(0, 2, 40), CLASSES, validation=0.4, test=0)
    parts = parts_of(model_of(dropout=0.0))
    losses = run(parts, phase(True, epochs=30, learning_rate=3e-2, patience=patience), noise).history["val_loss"]
    assert len(losses) == int(np.argmin(losses)) + 1 + patience < 30


@pytest.mark.parametrize(("temperature", "steps", "batch_size"), [(0.7, 1, 8), (0.1, 3, 12)])
def test_contrastive_options(temperature, steps, batch_size):
    """The loss of a phase is that of the paper, at its temperature, over its batches, of its size."""
    parts, dataset = parts_of(model_of(dropout=0.0)), data()
    tuned = te.Phase(
        name="contrastive",
        unfreeze=[parts_of(model_of()).encoder.blocks[0].name],
        objective="contrastive",
        learning_rate=1e-12,
        temperature=temperature,
        steps=steps,
        batch_size=batch_size,
        batch_norm="train",
    )
    expected = []
    drawn = Drawn(dataset.train.labels, np.ones(24, int), batch_size, steps, np.random.default_rng(5))
    encoder = tiny_image_encoder(0.0)
    encoder.unfreeze(tuned.unfreeze)
    for rows in drawn:
        embeddings = encoder(dataset.train.examples[rows], training=True).numpy()  # batch norm sees the batch
        expected.append(np.mean(by_hand(dataset.train.labels[rows], embeddings, temperature)))
    found = run(parts, tuned, dataset, seed=5).history["loss"]
    assert found == pytest.approx([np.mean(expected)], rel=1e-4)


def test_a_head_that_was_frozen_trains_again():
    """A phase trains the head, whatever froze it before; after a contrastive phase, in which it rests, too."""
    parts = parts_of(model_of(dropout=0.0))
    parts.head.trainable = False
    for tuned in (phase(False), phase(1), phase(True, objective="contrastive", steps=1), phase(False)):
        head, before = parts.head.get_weights(), snapshot(parts.encoder)
        result = run(parts, tuned)
        is_moved = not np.array_equal(head[0], parts.head.get_weights()[0])
        assert is_moved == (tuned.objective == "labels")
        trained = sum(variable.numpy().size for variable in parts.encoder.trainable_variables)
        assert result.trained_parameters == trained + is_moved * sum(weight.size for weight in head)
        assert parts.head.trainable
        assert tuned.unfreeze or all(
            np.array_equal(a, b) for n in before for a, b in zip(before[n], snapshot(parts.encoder)[n], strict=True)
        )
