"""Scores that mean what they say."""

from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_models import write_text_module

import tfembed as te
from tfembed import calibration
from tfembed.calibration import calibration_error


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Light and dark images; every fifth label is wrong."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    pixels = (rng.integers(0, 60, (200, 8, 8)) + 150 * labels[:, np.newaxis, np.newaxis]).astype("uint8")
    return pixels, np.where(np.arange(200) % 5 == 0, 1 - labels, labels)


@pytest.fixture
def sure(images: tuple[np.ndarray, np.ndarray]) -> keras.Model:
    """A classifier that is right four times out of five, and thinks it is always right."""
    model = te.build_image_classifier(te.load_encoder("glyphs"), ["0", "1"])
    te.train(model, te.Dataset.from_arrays(*images, validation=0, test=0), te.linear_probe())
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * 20, bias * 20])
    return model


def test_scores_become_the_share_that_is_right(sure: keras.Model, images: tuple[np.ndarray, np.ndarray]) -> None:
    """The temperature lowers scores that were too high, and no label changes."""
    split = te.Split(examples=images[0], labels=images[1])
    before = te.predict(sure, split.examples)
    temperature = te.calibrate(sure, split)
    after = te.predict(sure, split.examples)
    assert temperature > 3
    assert after.labels == before.labels
    errors = [calibration_error(each.probabilities, split.labels) for each in (before, after)]
    assert errors[0] > 0.15
    assert errors[1] < 0.08


def test_few_examples_that_are_all_right_do_not_make_it_certain(
    sure: keras.Model, images: tuple[np.ndarray, np.ndarray]
) -> None:
    """Where nothing is wrong, the likeliest temperature would be 0; a few examples are no reason for that."""
    right = np.array(te.predict(sure, images[0]).probabilities.argmax(axis=1))
    assert te.calibrate(sure, te.Split(examples=images[0][:3], labels=right[:3])) > 0.3


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras reads files so
def test_training_calibrates_on_the_validation_part(images: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """The temperature is that of the validation part, whatever it was before; it is saved with the model."""
    data = te.Dataset.from_arrays(*images, validation=0.4, test=0)
    model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
    te.train(model, data, te.linear_probe())
    found = float(model.layers[-1].temperature)
    assert found != 1
    model.layers[-1].temperature.assign(50.0)
    te.train(model, data, te.linear_probe())
    assert float(model.layers[-1].temperature) == pytest.approx(found, rel=1e-3)
    model.save(tmp_path / "model.keras")
    assert float(keras.models.load_model(tmp_path / "model.keras").layers[-1].temperature) == pytest.approx(
        found, rel=1e-3
    )


def test_without_a_validation_part_scores_stay_as_they_are(images: tuple[np.ndarray, np.ndarray]) -> None:
    """There is nothing to fit a temperature to."""
    model = te.build_image_classifier(te.load_encoder("glyphs"), ["0", "1"])
    te.train(model, te.Dataset.from_arrays(*images, validation=0, test=0), te.linear_probe())
    assert float(model.layers[-1].temperature) == 1


def test_embeddings_are_taken_from_the_cache_that_is_passed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache of the caller is the one that the split's embeddings are looked up in."""
    cache, caches = te.FeatureCache(tmp_path), []

    def predict(_: keras.Model, examples: np.ndarray, cache: te.FeatureCache | None = None) -> te.Predictions:
        caches.append(cache)
        logits = np.zeros((len(examples), 2))
        return te.Predictions(labels=(), probabilities=logits + 0.5, logits=logits)

    monkeypatch.setattr(calibration, "predict_quietly", predict)
    model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
    te.calibrate(model, te.Split(examples=np.zeros([2, 8, 8], "uint8"), labels=np.array([0, 1])), cache=cache)
    assert caches == [cache]


def test_several_labels_are_calibrated_too() -> None:
    """Of several labels each has its own probability; one temperature serves them all."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8)).astype("uint8")
    labels = rng.integers(0, 2, (40, 2)).astype("float32")
    model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"], multi_label=True)
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * 50, bias])
    assert te.calibrate(model, te.Split(examples=images, labels=labels)) > 2


@pytest.mark.parametrize("num_labels", [1, 6])
@pytest.mark.parametrize("factor", [0.2, 8.0])
def test_the_temperature_of_several_labels_is_that_of_all_decisions(
    num_labels: int, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    """It minimizes the log loss summed over examples and labels, plus the prior once, below 1 and above it."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 8, 8)).astype("uint8")
    names = [str(i) for i in range(num_labels)]
    model = te.build_image_classifier(te.load_encoder("glyphs"), names, multi_label=True)
    logits = te.predict(model, pixels).logits.astype("float64")
    logits /= logits.std() / factor
    kernel, bias = model.get_layer("head").get_weights()
    scale = float(logits.std() / te.predict(model, pixels).logits.std())
    model.get_layer("head").set_weights([kernel * scale, bias * scale])
    probabilities = 1 / (1 + np.exp(-logits * min(1.0, 2 / factor)))
    labels = (rng.random(logits.shape) < probabilities).astype("float32")

    def loss(t: float) -> float:
        signed = np.where(labels > 0, logits, -logits) / np.exp(t)
        return -np.log(np.maximum(1 / (1 + np.exp(-signed)), 1e-300)).sum() + t**2 / 2

    grid = np.linspace(-2.5, 3, 3001)
    expected = grid[int(np.argmin([loss(t) for t in grid]))]
    assert np.log(te.calibrate(model, te.Split(examples=pixels, labels=labels))) == pytest.approx(expected, abs=5e-3)
    assert not caplog.records  # it is not at a bound


def test_a_temperature_at_its_bound_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Labels that contradict very high scores ask for more than the bound: it is taken, and a warning names it."""
    pixels = np.random.default_rng(0).integers(0, 256, (400, 8, 8)).astype("uint8")
    model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
    head = model.get_layer("head")
    head.set_weights([weight * 1e3 for weight in head.get_weights()])
    wrong = 1 - te.predict(model, pixels).probabilities.argmax(axis=1)
    with caplog.at_level("WARNING"):
        assert te.calibrate(model, te.Split(examples=pixels, labels=wrong)) == pytest.approx(np.exp(3), rel=1e-2)
    assert "The temperature is at the bound 20.1" in caplog.text


def test_what_cannot_be_calibrated_is_refused(sure: keras.Model, tmp_path: Path) -> None:
    """Regressors have no scores; of nothing, nothing can be learnt."""
    nothing = te.Split(examples=np.zeros([0, 8, 8], "uint8"), labels=np.zeros(0, int))
    with pytest.raises(ValueError, match="The split is empty"):
        te.calibrate(sure, nothing)
    regressor = te.build_text_regressor(te.load_encoder(write_text_module(tmp_path / "module")))
    with pytest.raises(ValueError, match="nothing to calibrate"):
        te.calibrate(regressor, te.Split(examples=np.array(["a"], object), labels=np.array([1.0])))


def expected_error(probabilities: np.ndarray, labels: np.ndarray, num_bins: int) -> float:
    """The expected calibration error as its paper defines it (https://arxiv.org/abs/1706.04599), bin by bin."""
    total = 0.0
    for i in range(num_bins):
        inside = [
            row
            for row in range(len(labels))
            if i / num_bins <= probabilities[row].max() < (i + 1) / num_bins
            or (i == num_bins - 1 and probabilities[row].max() == 1)
        ]
        if inside:
            right = np.mean([probabilities[row].argmax() == labels[row] for row in inside])
            total += len(inside) / len(labels) * abs(right - np.mean([probabilities[row].max() for row in inside]))
    return total


@pytest.mark.parametrize("num_bins", [15, 4])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_calibration_error_is_that_of_its_definition(num_bins: int, num_classes: int) -> None:
    """Of scores on both sides of what is right, by bins of equal width; a score of exactly 1 is in the last one."""
    rng = np.random.default_rng(num_classes)
    probabilities = rng.dirichlet(np.full(num_classes, 0.4), 80)
    probabilities[0] = np.eye(num_classes)[0]
    labels = np.where(rng.random(80) < 0.5, probabilities.argmax(axis=1), rng.integers(0, num_classes, 80))
    found = calibration_error(probabilities, labels, num_bins)
    assert found == pytest.approx(expected_error(probabilities, labels, num_bins))
    assert found != pytest.approx(expected_error(probabilities, labels, 7), abs=1e-3)


def test_the_default_is_fifteen_bins() -> None:
    """The number of bins is that of the paper."""
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)
    assert calibration_error(probabilities, labels) == pytest.approx(expected_error(probabilities, labels, 15))


@pytest.mark.parametrize("factor", [0.1, 0.3, 5.0])
def test_the_temperature_is_below_one_where_scores_are_too_low(
    images: tuple[np.ndarray, np.ndarray], factor: float
) -> None:
    """Logits that are so many times too large give a temperature that many times as high, and a smaller loss."""
    model = te.build_image_classifier(te.load_encoder("glyphs"), ["0", "1"])
    te.train(model, te.Dataset.from_arrays(*images, validation=0, test=0), te.linear_probe())
    split = te.Split(examples=images[0], labels=images[1])
    right = te.calibrate(model, split)
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * factor, bias * factor])
    model.layers[-1].temperature.assign(1.0)
    before = te.evaluate(model, split)
    found = te.calibrate(model, split)
    assert found == pytest.approx(right * factor, rel=0.1)
    assert (found < 1) == (factor < 1)
    after = te.evaluate(model, split)
    assert after["loss"] < before["loss"]
    assert after["accuracy"] == before["accuracy"]
