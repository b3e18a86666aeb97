"""Heads: their layers, and how they begin."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfembed as te
from tfembed.head_layers import (
    build_head,
    draw_untrained_head,
    is_linear,
    is_untrained,
    renew_directions,
    rescale_outputs,
    zero_outputs,
)


@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        (te.linear_head(), ["Dense"]),
        (te.linear_head(dropout=0.5), ["Dropout", "Dense"]),
        (te.mlp_head([8], dropout=0.0), ["Dense", "Activation", "Dense"]),
        (te.mlp_head([8], normalization="batch"), ["Dense", "BatchNormalization", "Activation", "Dropout", "Dense"]),
        (te.mlp_head([8], normalization="layer"), ["Dense", "LayerNormalization", "Activation", "Dropout", "Dense"]),
        (te.cosine_head(), ["Cosine"]),
    ],
)
def test_heads_have_the_layers_they_say(head, kinds):
    """A head becomes its layers; the last gives one logit for each output."""
    built = build_head(head, 5, 3)
    assert [type(layer).__name__ for layer in built.layers] == kinds
    assert built(np.ones([2, 5], "float32")).shape == (2, 3)
    assert built.layers[-1].name == "logits"
    assert is_linear(built) == (head.kind == "linear")


def test_heads_begin_the_same_way():
    """Two heads of the same value have the same weights, whatever was drawn between them."""
    first = build_head(te.mlp_head([4, 4]), 5, 3)
    keras.utils.set_random_seed(9)
    second = build_head(te.mlp_head([4, 4]), 5, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@pytest.mark.parametrize("head", [te.linear_head(), te.mlp_head([5]), te.cosine_head()])
def test_each_seed_draws_other_initial_weights(head):
    """Every kernel depends on the seed, seed 0 is what a head begins with, and a trained head is left alone."""
    layers = build_head(head, 4, 3)
    kernels = [i for i, weight in enumerate(layers.get_weights()) if weight.ndim == 2]
    initial = layers.get_weights()
    draws = []
    for seed in (1, 2, 1, 0):
        draw_untrained_head(layers, seed)
        assert is_untrained(layers)
        draws.append(layers.get_weights())
    for i in kernels:
        assert not np.array_equal(draws[0][i], draws[1][i])
        np.testing.assert_array_equal(draws[0][i], draws[2][i])
        np.testing.assert_array_equal(draws[3][i], initial[i])
    reread = keras.Sequential.from_config(layers.get_config())
    reread.set_weights(layers.get_weights())
    assert is_untrained(reread)
    layers.get_layer("logits").kernel.assign_add(np.ones(layers.get_layer("logits").kernel.shape))
    trained = layers.get_weights()
    draw_untrained_head(layers, 3)
    assert all(np.array_equal(a, b) for a, b in zip(trained, layers.get_weights(), strict=True))


def test_cosine_logits_are_within_the_scale():
    """A vector's logit is the scale for its own direction, and does not grow with its length."""
    head = build_head(te.cosine_head(scale=10.0), 4, 2)
    own = head.layers[-1].kernel.numpy()[:, 0]
    found = head(np.stack([own, own * 100, -own])).numpy()[:, 0]
    np.testing.assert_allclose(found, [10.0, 10.0, -10.0], rtol=1e-4)


@pytest.mark.parametrize("head", [te.linear_head(), te.mlp_head([5]), te.cosine_head()])
def test_a_head_that_learnt_is_told_from_one_that_did_not(head):
    """As it is made it is untrained; with other weights in its last layer, it is not."""
    layers = build_head(head, 4, 3)
    assert is_untrained(layers)
    last = layers.get_layer("logits")
    last.set_weights([weight + 1 for weight in last.get_weights()])
    assert not is_untrained(layers)


@pytest.mark.parametrize("head", [te.linear_head(), te.mlp_head([5], dropout=0.0), te.cosine_head()])
def test_a_head_of_zeros_has_gradients(head):
    """A head may be set to give 0 for every input; its gradients are finite there, also for an input of zeros."""
    inputs = np.concatenate([np.zeros([1, 4]), np.random.default_rng(0).normal(size=(15, 4))]).astype("float32")
    layers = build_head(head, 4, 1)
    zero_outputs(layers)
    assert not layers(inputs).numpy().any()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((layers(inputs) - inputs[:, :1]) ** 2)
    gradients = tape.gradient(loss, layers.trainable_variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert any(np.any(gradient) for gradient in gradients)


def test_a_cosine_head_of_zeros_has_its_first_directions_again():
    """Before it is trained its vectors need a direction; other heads learn from zeros, and vectors that learnt stay."""
    linear, cosine = (build_head(head, 4, 1) for head in (te.linear_head(), te.cosine_head()))
    for layers in (linear, cosine):
        zero_outputs(layers)
        renew_directions(layers)
    assert is_untrained(cosine)
    assert not linear.get_layer("logits").kernel.numpy().any()
    cosine.get_layer("logits").kernel.assign([[1], [0], [0], [0]])
    renew_directions(cosine)
    assert not is_untrained(cosine)


def test_outputs_are_rescaled():
    """Outputs of a dense last layer become `factor * output + offset`; those of cosines are bounded, and stay."""
    inputs = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    for head in (te.linear_head(), te.mlp_head([5])):
        layers = build_head(head, 4, 1)
        before = layers(inputs).numpy()
        rescale_outputs(layers, 2.0, -3.0)
        np.testing.assert_allclose(layers(inputs), 2 * before - 3, atol=1e-6)
    layers = build_head(te.cosine_head(), 4, 1)
    before = layers(inputs).numpy()
    rescale_outputs(layers, 2.0, -3.0)
    np.testing.assert_array_equal(layers(inputs), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: te.linear_head(dropout=1.0), "Dropout 1.0 is no share: pass a number from 0 to below 1"),
        (lambda: te.linear_head(dropout=-0.5), "Dropout -0.5"),
        (lambda: te.mlp_head(normalization="group"), "'group': pass one of"),
        (lambda: te.mlp_head([8, 0]), r"\[8, 0\] units: each needs at least 1"),
    ],
)
def test_heads_are_checked(make, message):
    """A value that makes no sense is refused, saying what to pass."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_kind_that_there_is_not_is_refused():
    """A head made by hand, or read from a file of later versions, is no dense layer under another name."""
    with pytest.raises(ValueError, match=r"^Unknown kind of head 'linaer': pass one of linear, mlp, cosine\.$"):
        te.Head(kind="linaer")


def test_a_hidden_layer_may_be_a_number():
    """One number is one hidden layer; what is no number of units is refused in a line."""
    assert te.mlp_head(64) == te.mlp_head([64])
    with pytest.raises(ValueError, match=r"Hidden layers of \['64'\] units: expected whole numbers"):
        te.mlp_head(["64"])
    with pytest.raises(ValueError, match="Dropout half"):
        te.linear_head(dropout="half")
