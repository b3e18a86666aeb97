"""Heads, and the linear one solved to its optimum."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression, RidgeCV

import tfembed as te
from tfembed.heads import build_head, is_linear, solve_linear


def blobs(classes, count=60):
    x, y = make_blobs(count, 5, centers=classes, cluster_std=4.0, random_state=0)
    x /= np.sqrt(np.mean(np.sum(np.square(x), axis=1)))  # so that solve_linear leaves the scale as it is
    return x.astype("float32"), y.astype("int32")


def probabilities(x, solved):
    kernel, bias = solved
    return tf.nn.softmax(x @ kernel + bias).numpy()


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_classification_is_solved_to_the_optimum(classes, balanced):
    """Two classes or more: the probabilities are those of scikit-learn's optimum for one of the penalties."""
    x, y = blobs(classes)
    keep = np.concatenate([np.flatnonzero(y > 0), np.flatnonzero(y == 0)[:6]])
    x, y = x[keep], y[keep]
    solved = solve_linear(x, y, task="classification", seed=0, balanced=balanced)
    assert solved[0].shape == (5, classes)
    assert solved[1].shape == (classes,)
    assert solved[0].dtype == solved[1].dtype == np.float32
    scale = np.sqrt(np.mean(np.sum(np.square(x), axis=1)))
    differences = []
    for strength in (0.1, 1.0, 10.0, 100.0):
        model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-9, class_weight="balanced" if balanced else None)
        expected = model.fit(x / scale, y).predict_proba(x / scale)
        differences.append(np.abs(expected - probabilities(x, solved)).max())
    assert min(differences) < 3e-4


def test_the_scale_of_embeddings_does_not_matter():
    """A thousand times the embeddings give the same probabilities."""
    x, y = blobs(3)
    solve = {"task": "classification", "seed": 0, "balanced": False}
    found = probabilities(x * 1000, solve_linear(x * 1000, y, **solve))
    np.testing.assert_allclose(found, probabilities(x, solve_linear(x, y, **solve)), atol=1e-2)


def test_balanced_counts_every_class_the_same():
    """Where one class is rare, balancing finds more of it."""
    x, y = blobs(2, 200)
    keep = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:8]])
    x, y = x[keep] + np.random.default_rng(0).normal(0, 0.5, (len(keep), 5)).astype("float32"), y[keep]
    found = [
        probabilities(x, solve_linear(x, y, task="classification", seed=0, balanced=balanced))[y == 1, 1].mean()
        for balanced in (False, True)
    ]
    assert found[1] > found[0] + 0.1


def test_several_labels_are_solved_one_by_one():
    """Each label's probability follows its own examples; one that all or none have is nearly certain."""
    x, y = blobs(3)
    labels = np.stack([y == 0, y != 1, np.ones_like(y), np.zeros_like(y)], axis=1).astype("float32")
    kernel, bias = solve_linear(x, labels, task="multi_label", seed=0, balanced=False)
    assert kernel.shape == (5, 4)
    found = tf.sigmoid(x @ kernel + bias).numpy()
    single = probabilities(x, solve_linear(x, (y == 0).astype("int32"), task="classification", seed=0, balanced=False))
    np.testing.assert_allclose(found[:, 0], single[:, 1], atol=1e-4)
    assert found[:, 2].min() > 0.98
    assert found[:, 3].max() < 0.02


def test_a_regression_is_solved_to_the_optimum():
    """Targets are solved by ridge regression; an exact line is found."""
    x, _ = blobs(3)
    y = (x @ np.arange(5.0) + 7.0).astype("float32")
    kernel, bias = solve_linear(x, y, task="regression", seed=0, balanced=False)
    assert (kernel.shape, bias.shape) == ((5, 1), (1,))
    np.testing.assert_allclose((x @ kernel + bias)[:, 0], y, atol=1e-2)
    noisy = y + np.random.default_rng(0).normal(0, 1, len(y)).astype("float32")
    kernel, bias = solve_linear(x, noisy, task="regression", seed=0, balanced=False)
    expected = RidgeCV(alphas=np.logspace(-4, 3, 15)).fit(x, noisy).predict(x)
    np.testing.assert_allclose((x @ kernel + bias)[:, 0], expected, atol=1e-3)


def test_one_example_of_each_class_is_enough():
    """Where nothing can be held out, a penalty is taken as it is, and the examples are told apart."""
    x, y = np.eye(3, 5, dtype="float32"), np.arange(3)
    kernel, bias = solve_linear(x, y, task="classification", seed=0, balanced=False)
    assert (x @ kernel + bias).argmax(axis=1).tolist() == [0, 1, 2]


def test_embeddings_of_zeros_are_solved():
    """Embeddings that are all zero say nothing: the classes are equally likely, and nothing is NaN."""
    solved = solve_linear(
        np.zeros([4, 3], "float32"), np.array([0, 0, 1, 1]), task="classification", seed=0, balanced=False
    )
    np.testing.assert_allclose(probabilities(np.zeros([1, 3]), solved), [[0.5, 0.5]], atol=1e-6)


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


def test_cosine_logits_are_within_the_scale():
    """A vector's logit is the scale for its own direction, and does not grow with its length."""
    head = build_head(te.cosine_head(scale=10.0), 4, 2)
    own = head.layers[-1].kernel.numpy()[:, 0]
    found = head(np.stack([own, own * 100, -own])).numpy()[:, 0]
    np.testing.assert_allclose(found, [10.0, 10.0, -10.0], rtol=1e-4)


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
