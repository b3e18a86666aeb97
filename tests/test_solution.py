"""The linear head, solved to its optimum."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import LeaveOneOut, StratifiedKFold, cross_val_score
from threadpoolctl import threadpool_limits

from tfembed.data import Split
from tfembed.data.draws import draw_folds
from tfembed.solution import solve_linear


def spread(x):
    """Root mean square distance from the mean."""
    return np.sqrt(np.mean(np.sum(np.square(x - x.mean(axis=0)), axis=1)))


def blobs(classes, count=60):
    x, y = make_blobs(count, 5, centers=classes, cluster_std=4.0, random_state=0)
    x /= spread(x)  # so that solve_linear leaves the scale as it is
    return x.astype("float32"), y.astype("int32")


def probabilities(x, solved):
    return tf.nn.softmax(x @ solved.kernel + solved.bias).numpy()


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_classification_is_solved_to_the_optimum(classes, balanced):
    """Two classes or more: the probabilities are those of scikit-learn's optimum for one of the penalties."""
    x, y = blobs(classes)
    keep = np.concatenate([np.flatnonzero(y > 0), np.flatnonzero(y == 0)[:6]])
    x, y = x[keep], y[keep]
    solved = solve_linear(x, y, task="classification", seed=0, balanced=balanced)
    assert solved.kernel.shape == (5, classes)
    assert solved.bias.shape == (classes,)
    assert solved.kernel.dtype == solved.bias.dtype == np.float32
    scale = spread(x)
    differences = []
    for strength in (0.1, 1.0, 10.0, 100.0, 1000.0):
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


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_mean_of_embeddings_does_not_matter(task):
    """Embeddings 300 spreads away from the origin give the predictions of the same embeddings around it."""
    x, y = blobs(3)
    solve = {"task": task, "seed": 0, "balanced": False}
    labels = y if task == "classification" else y.astype("float32")
    far = (x.astype("float64") + 300.0 / np.sqrt(5)).astype("float32")
    near, moved = solve_linear(x, labels, **solve), solve_linear(far, labels, **solve)
    np.testing.assert_allclose(far @ moved.kernel + moved.bias, x @ near.kernel + near.bias, atol=2e-2)


@pytest.mark.parametrize("value", [0.1, 1e4])
def test_equal_embeddings_are_solved(value):
    """Embeddings that are all the same, but for rounding, say nothing: the classes are equally likely."""
    x = np.full([4, 3], value, "float32")
    x[0] = np.nextafter(x[0], np.float32(np.inf))
    solved = solve_linear(x, np.array([0, 0, 1, 1]), task="classification", seed=0, balanced=False)
    np.testing.assert_allclose(probabilities(x, solved), np.full([4, 2], 0.5), atol=1e-3)


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
    solved = solve_linear(x, labels, task="multi_label", seed=0, balanced=False)
    kernel, bias = solved.kernel, solved.bias
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
    solved = solve_linear(x, y, task="regression", seed=0, balanced=False)
    kernel, bias = solved.kernel, solved.bias
    assert (kernel.shape, bias.shape) == ((5, 1), (1,))
    np.testing.assert_allclose((x @ kernel + bias)[:, 0], y, atol=1e-2)
    noisy = y + np.random.default_rng(0).normal(0, 1, len(y)).astype("float32")
    solved = solve_linear(x, noisy, task="regression", seed=0, balanced=False)
    kernel, bias = solved.kernel, solved.bias
    expected = RidgeCV(alphas=np.logspace(-4, 3, 15)).fit(x / spread(x), noisy).predict(x / spread(x))
    np.testing.assert_allclose((x @ kernel + bias)[:, 0], expected, atol=1e-3)


def test_few_long_embeddings_are_solved_like_many_short_ones():
    """Fewer examples than dimensions: the probabilities are those of scikit-learn's optimum all the same."""
    x, y = np.random.default_rng(0).normal(size=(12, 40)).astype("float32"), np.arange(12) % 3
    found = probabilities(x, solve_linear(x, y, task="classification", seed=0, balanced=False))
    scaled = x / spread(x)
    fitted = [
        LogisticRegression(C=c, tol=1e-9, max_iter=10_000).fit(scaled, y) for c in (0.1, 1.0, 10.0, 100.0, 1000.0)
    ]
    assert min(np.abs(model.predict_proba(scaled) - found).max() for model in fitted) < 3e-4


def test_the_loss_is_that_of_the_examples_left_out():
    """Classes that lie apart are told apart in every fold; labels by chance cost more than no knowledge at all."""
    x, y = blobs(3)
    apart = np.eye(3, 5, dtype="float32")[y] + x / 100
    chance = np.random.default_rng(0).permutation(y)
    losses = [solve_linear(apart, z, task="classification", seed=0, balanced=False).loss for z in (y, chance)]
    assert losses[0] < 0.1
    assert losses[1] > np.log(3) - 0.1
    assert solve_linear(apart[:3], np.arange(3), task="classification", seed=0, balanced=False).loss is None


def test_the_strength_is_found_beyond_where_the_search_for_it_begins():
    """Of labels by chance it is the least of the grid, so that they cost no more than no knowledge at all."""
    x, y = blobs(2)
    chance = np.random.default_rng(0).permutation(y)
    loss = solve_linear(x, chance, task="classification", seed=0, balanced=False).loss
    assert loss < np.log(2)  # 0.707 where the search ends with what it began with


def test_one_example_of_each_class_is_enough():
    """Where nothing can be held out, a penalty is taken as it is, and the examples are told apart."""
    x, y = np.eye(3, 5, dtype="float32"), np.arange(3)
    solved = solve_linear(x, y, task="classification", seed=0, balanced=False)
    kernel, bias = solved.kernel, solved.bias
    assert (x @ kernel + bias).argmax(axis=1).tolist() == [0, 1, 2]


def test_embeddings_of_zeros_are_solved():
    """Embeddings that are all zero say nothing: the classes are equally likely, and nothing is NaN."""
    solved = solve_linear(
        np.zeros([4, 3], "float32"), np.array([0, 0, 1, 1]), task="classification", seed=0, balanced=False
    )
    np.testing.assert_allclose(probabilities(np.zeros([1, 3]), solved), [[0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize("task", ["classification", "multi_label", "regression"])
def test_copies_do_not_make_the_loss_look_better(task):
    """Of noise with copies, the loss of what is left out is no lower than of the noise alone, if groups are named."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 20)).astype("float32"), rng.integers(0, 2, 40)
    labels = {"classification": y, "multi_label": np.eye(2)[y], "regression": rng.normal(size=40)}[task]
    copies = np.concatenate([x, *(x + 0.01 * rng.normal(size=x.shape) for _ in range(3))]).astype("float32")
    tiled = np.concatenate([labels] * 4)
    solve = {"task": task, "seed": 0, "balanced": False}
    marks = {"groups": np.tile(np.arange(40), 4), "is_derived": np.arange(160) >= 40}
    alone, leaking, grouped = (
        solve_linear(x, labels, **solve).loss,
        solve_linear(copies, tiled, **solve).loss,
        solve_linear(copies, tiled, **solve, **marks).loss,
    )
    assert leaking < 0.75 * alone
    assert grouped > 0.9 * alone


@pytest.mark.parametrize("task", ["classification", "multi_label", "regression"])
def test_derived_rows_are_not_measured(task):
    """Descriptions that are easy to tell apart do not make the loss of what is left out look better."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    labels = {"classification": y, "multi_label": np.eye(2)[y], "regression": 2.0 * y - 1}[task]
    chance = np.concatenate([np.repeat(np.arange(10), 2)] * 2)  # the first half has both labels for each embedding
    x = np.concatenate([np.eye(12)[chance[:20]], np.eye(12)[10 + y[20:]]]).astype("float32")
    solved = solve_linear(
        x + rng.normal(0, 1e-3, x.shape).astype("float32"),
        labels,
        task=task,
        seed=0,
        balanced=False,
        is_derived=np.arange(40) >= 20,
    )
    assert solved.loss > (0.95 if task == "regression" else 0.95 * np.log(2))


def test_a_fold_may_lack_a_class():
    """Left out groups that have none of a class count like any: the loss is that of scikit-learn's models."""
    rng = np.random.default_rng(50)
    labels, groups = rng.permutation(np.repeat([0, 1, 2], 10)), rng.integers(0, 8, 30) ** 2 // 6
    x = rng.normal(0, 0.5, (30, 3)).astype("float32") + np.eye(3, dtype="float32")[labels]
    split = Split(examples=x, labels=labels, groups=groups)
    folds = draw_folds(split, "classification", 5, 0)
    assert min(len(np.unique(labels[held])) for _, held in folds) < 3
    solved = solve_linear(x, labels, task="classification", seed=0, balanced=False, groups=groups)
    scaled, losses = (x - x.mean(axis=0)) / spread(x), []
    for strength in GRID:
        models = [LogisticRegression(C=strength, max_iter=10_000).fit(scaled[a], labels[a]) for a, _ in folds]
        said = [
            m.predict_log_proba(scaled[b])[np.arange(len(b)), labels[b]]
            for m, (_, b) in zip(models, folds, strict=True)
        ]
        losses.append(-np.mean([row.mean() for row in said]))
    assert solved.loss == pytest.approx(min(losses), abs=5e-3)


@pytest.mark.parametrize(("task", "labels"), [("classification", [0, 0, 1, 1]), ("regression", [0.0, 1.0, 2.0, 3.0])])
def test_groups_too_few_to_leave_out_give_no_loss(task, labels):
    """Two groups that hold all of a class each, or one group of all, leave nothing to choose a penalty by."""
    groups = np.array([0, 0, 1, 1] if task == "classification" else [0, 0, 0, 0])
    solved = solve_linear(
        np.eye(4, dtype="float32"), np.array(labels), task=task, seed=0, balanced=False, groups=groups
    )
    assert solved.loss is None
    assert np.isfinite(solved.kernel).all()


def test_groups_of_single_rows_change_nothing():
    """Named one by one, rows are solved as rows without groups."""
    x, y = blobs(3)
    solve = {"task": "classification", "seed": 0, "balanced": False}
    named = solve_linear(x, y, **solve, groups=np.arange(len(y))[::-1], is_derived=np.zeros(len(y), bool))
    np.testing.assert_array_equal(named.kernel, solve_linear(x, y, **solve).kernel)


GRID = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)


def centred(classes=3, count=60, rare=None):
    """Blobs around zero with a mean length of 1, which every way of scaling leaves as they are; few of one class."""
    x, y = blobs(classes, count)
    rows = np.concatenate([np.flatnonzero(y > 0), np.flatnonzero(y == 0)[:rare]])
    x, y = x[rows], y[rows]
    x = x - x.mean(axis=0)
    return (x / np.sqrt(np.mean(np.sum(np.square(x), axis=1)))).astype("float32"), y


def left_out_losses(x, y, seed, balanced):
    """The log loss of what each of five folds leaves out, by strength."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    weight = "balanced" if balanced else None
    models = [LogisticRegression(C=c, class_weight=weight, max_iter=10_000, tol=1e-5) for c in GRID]
    with threadpool_limits(1):  # several threads wait for each other longer than they compute
        return np.array([-cross_val_score(m, x, y, cv=folds, scoring="neg_log_loss").mean() for m in models])


@pytest.mark.parametrize(
    ("labels", "balanced", "seed"),
    [("chance", False, 0), ("some", False, 0), ("some", False, 3), ("some", True, 0), ("apart", False, 0)],
)
def test_the_head_has_the_strength_that_leaves_out_best(labels, balanced, seed):
    """Of all strengths, the head is fitted with the one whose left-out loss is lowest, and tells that loss."""
    x, y = centred(rare=6 if balanced else None)
    rng = np.random.default_rng(0)
    if labels == "chance":
        y = rng.permutation(y)
    if labels == "apart":
        x = (np.eye(3, 5)[y] - np.eye(3, 5).mean(axis=0) + rng.normal(0, 0.05, x.shape)).astype("float32")
        x -= x.mean(axis=0)
        x /= np.sqrt(np.mean(np.sum(np.square(x), axis=1)))
    losses = left_out_losses(x, y, seed, balanced)
    solved = solve_linear(x, y, task="classification", seed=seed, balanced=balanced)
    weight = "balanced" if balanced else None
    models = [LogisticRegression(C=c, class_weight=weight, max_iter=10_000, tol=1e-9).fit(x, y) for c in GRID]
    kernel = (solved.kernel - solved.kernel.mean(axis=1, keepdims=True)).T
    differences = [np.abs(model.coef_ - kernel).max() / np.abs(model.coef_).max() for model in models]
    assert int(np.argmin(differences)) == int(np.argmin(losses))
    assert np.argmin(losses) in {"chance": [0], "some": [1, 2, 3], "apart": [5]}[labels]
    assert min(differences) < 0.02 < 0.1 < np.sort(differences)[1]
    bias = solved.bias - solved.bias.mean()
    np.testing.assert_allclose(bias, models[int(np.argmin(losses))].intercept_, atol=0.02)
    assert solved.loss == pytest.approx(losses.min(), abs=5e-3)


def test_each_label_has_a_strength_of_its_own():
    """Of several labels, one by chance and one that follows the embedding have what each alone would have."""
    x, y = centred()
    labels = np.stack([np.random.default_rng(0).permutation(y) == 0, y == 0], axis=1).astype("float32")
    solved = solve_linear(x, labels, task="multi_label", seed=1, balanced=False)
    losses = [left_out_losses(x, labels[:, i].astype(int), 1, False) for i in range(2)]
    strengths = [GRID[int(np.argmin(each))] for each in losses]
    assert strengths[0] < strengths[1]
    for i, strength in enumerate(strengths):
        model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-9).fit(x, labels[:, i])
        found = tf.sigmoid(x @ solved.kernel[:, i] + solved.bias[i]).numpy()
        np.testing.assert_allclose(found, model.predict_proba(x)[:, 1], atol=1e-3)
    assert solved.loss == pytest.approx(np.mean([each.min() for each in losses]), abs=5e-3)


def test_targets_have_the_penalty_that_leaves_out_best():
    """Ridge regression has the penalty whose squared error, leaving out one example at a time, is lowest."""
    x, _ = centred(count=30)
    y = (x @ np.arange(5.0) + np.random.default_rng(0).normal(0, 4, 30)).astype("float32")
    penalties = np.logspace(-4, 3, 15)
    scores = [
        -cross_val_score(Ridge(alpha=a), x, y, cv=LeaveOneOut(), scoring="neg_mean_squared_error").mean()
        for a in penalties
    ]
    assert 0 < np.argmin(scores) < 14
    solved = solve_linear(x, y, task="regression", seed=0, balanced=False)
    expected = Ridge(alpha=penalties[int(np.argmin(scores))]).fit(x, y)
    np.testing.assert_allclose(solved.kernel[:, 0], expected.coef_, rtol=1e-4)
    np.testing.assert_allclose(solved.bias[0], expected.intercept_, rtol=1e-4)
    assert solved.loss == pytest.approx(min(scores), rel=1e-3)
