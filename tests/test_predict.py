"""What is measured of predictions, against scikit-learn."""

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics
from tiny_encoders import pixels, tiny_image_encoder

import tfembed as te
from tfembed.predict import measure


def split(labels):
    return te.Split(examples=pixels(len(labels)), labels=np.asarray(labels))


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [([0, 1, 2, 2, 1], [0, 1, 2, 1, 0]), ([0, 0, 3, 3], [0, 1, 3, 1]), ([1, 1, 1], [0, 0, 0]), ([2, 0], [2, 0])],
)
def test_classes_are_measured_as_scikit_learn_does(labels, chosen):
    """Macro F1 is over the classes that are there or were predicted, the others aside; loss is cross-entropy."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), len(labels)) * 0.3
    probabilities[np.arange(len(labels)), chosen] += 0.7
    found = measure("classification", split(labels), probabilities)
    assert found == {
        "accuracy": pytest.approx(metrics.accuracy_score(labels, chosen)),
        "macro_f1": pytest.approx(metrics.f1_score(labels, chosen, average="macro", zero_division=0)),
        "loss": pytest.approx(metrics.log_loss(labels, probabilities, labels=range(4))),
    }
    per_class = []
    for c in sorted({*labels, *chosen}):
        right = sum(a == b == c for a, b in zip(labels, chosen, strict=True))
        per_class.append(2 * right / (labels.count(c) + chosen.count(c)))
    assert found["macro_f1"] == pytest.approx(np.mean(per_class))


def test_certainty_that_is_wrong_costs_a_finite_loss():
    """A probability of zero counts as one in ten million."""
    found = measure("classification", split([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert found["loss"] == pytest.approx(-np.log(1e-7) / 2)
    several = measure("multi_label", split(np.array([[1.0, 0.0, 0.0]])), np.array([[0.0, 0.0, 1.0]]))
    assert several["loss"] == pytest.approx((-2 * np.log(1e-7) - np.log1p(-1e-7)) / 3, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_several_labels_are_measured_as_scikit_learn_does(seed):
    """A label is said from a probability of 0.5 on; accuracy counts examples with all labels right, micro F1 labels."""
    rng = np.random.default_rng(seed)
    labels, probabilities = rng.integers(0, 2, (12, 3)).astype("float32"), rng.random((12, 3))
    probabilities[0], labels[0] = 0.5, [1, 1, 1]
    chosen = probabilities >= 0.5
    found = measure("multi_label", split(labels), probabilities)
    assert found == {
        "accuracy": pytest.approx(metrics.accuracy_score(labels, chosen)),
        "micro_f1": pytest.approx(metrics.f1_score(labels, chosen, average="micro", zero_division=0)),
        "loss": pytest.approx(np.mean([metrics.log_loss(labels[:, i], probabilities[:, i]) for i in range(3)])),
    }
    assert 0 < found["accuracy"] < found["micro_f1"]


def test_no_labels_at_all():
    """Where none is there and none is said, F1 is 0 and every example is right."""
    found = measure("multi_label", split(np.zeros((3, 2), "float32")), np.full((3, 2), 0.1))
    assert (found["accuracy"], found["micro_f1"]) == (1.0, 0.0)


def test_targets_are_measured_as_scikit_learn_does():
    """Mean absolute error, root of the mean squared one, and r2, which one example alone does not have."""
    rng = np.random.default_rng(0)
    targets, values = rng.normal(3, 5, 9), rng.normal(3, 5, (9, 1))
    found = measure("regression", split(targets), values)
    assert found == {
        "mean_absolute_error": pytest.approx(np.abs(targets - values[:, 0]).mean()),
        "root_mean_squared_error": pytest.approx(np.sqrt(np.square(targets - values[:, 0]).mean())),
        "r2": pytest.approx(1 - np.square(targets - values[:, 0]).sum() / np.square(targets - targets.mean()).sum()),
    }
    alone = measure("regression", split([2.0]), np.array([[1.5]]))
    assert (alone["mean_absolute_error"], alone["root_mean_squared_error"]) == (0.5, 0.5)
    assert np.isnan(alone["r2"])
    two = measure("regression", split([1.0, 3.0]), np.array([[1.0], [3.0]]))
    assert two["r2"] == 1


def test_labels_are_those_of_the_probabilities(glyphs):
    """The likeliest class of each example; of several labels all those of at least 0.5, in the order of the classes."""
    images, names = pixels(12), ["a", "b", "c"]
    single = te.build_image_classifier(glyphs, names)
    found = te.predict(single, images)
    assert found.labels == tuple(names[i] for i in found.probabilities.argmax(axis=1))
    expected = np.exp(found.logits) / np.exp(found.logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    several = te.build_image_classifier(glyphs, names, multi_label=True)
    found = te.predict(several, images)
    np.testing.assert_allclose(found.probabilities, 1 / (1 + np.exp(-found.logits)), rtol=1e-5)
    assert found.labels == tuple(
        tuple(name for name, p in zip(names, row, strict=True) if p >= 0.5) for row in found.probabilities
    )
    assert {len(each) for each in found.labels} > {1}
    regressor = te.build_image_regressor(glyphs)
    found = te.predict(regressor, images)
    assert found.labels == ()
    np.testing.assert_array_equal(found.probabilities, found.logits)
    with pytest.raises(ValueError, match="The split is empty: there is nothing to measure"):
        te.evaluate(single, te.Split(examples=images[:0], labels=np.zeros(0, int)))
    with pytest.raises(ValueError, match="The examples are texts: expected images"):
        te.predict(single, ["a text"])


@pytest.fixture(scope="module")
def image_model():
    return te.build_image_classifier(tiny_image_encoder(), ["a", "b"])


def test_evaluate_takes_a_split(image_model):
    """A whole data set is refused in a line that says which split to measure on, anything else by its type."""
    data = te.Dataset.from_arrays(pixels(4), [0, 1, 0, 1], validation=0, test=0)
    with pytest.raises(ValueError, match=r"was passed a Dataset\. A Dataset has three: pass data.test"):
        te.evaluate(image_model, data)
    with pytest.raises(ValueError, match="evaluate measures a Split, but was passed a ndarray"):
        te.evaluate(image_model, pixels(4))


def test_paths_of_images_may_be_strings(image_model, tmp_path):
    """A model and an encoder of images take the paths of files as strings, as a list or an array of them."""
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file, image in zip(files, pixels(2), strict=True):
        Image.fromarray(image).save(file)
    expected = te.predict(image_model, files).probabilities
    for names in (list(map(str, files)), np.array(list(map(str, files))), tuple(map(str, files))):
        np.testing.assert_array_equal(te.predict(image_model, names).probabilities, expected)
    np.testing.assert_array_equal(te.embed(image_model, list(map(str, files))), te.embed(image_model, files))
    with pytest.raises(ValueError, match=r"nowhere\.png"):
        te.predict(image_model, ["nowhere.png"])
