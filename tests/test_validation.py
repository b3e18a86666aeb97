"""Validation: targets are learnt in standardized units, and what is worse than their mean is not kept."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_encoders import pixels, tiny_image_encoder

import tfembed as te
from tfembed.predict import parts_of
from tfembed.running import run_phase
from tfembed.train import execute

HEADS = {"linear": te.linear_head(), "mlp": te.mlp_head([8], dropout=0.0), "cosine": te.cosine_head()}
BRIGHTNESS = np.random.default_rng(1).uniform(0, 150, 32)
IMAGES = (pixels(32) // 3 + BRIGHTNESS[:, None, None, None]).astype("uint8")
TARGETS = np.round(BRIGHTNESS / 15, 1)
NEW = pixels(5, seed=3)


def data(targets=TARGETS, validation=0.25):
    return te.Dataset.from_arrays(IMAGES, targets.tolist(), task="regression", validation=validation, test=0.25)


def regressor(head="linear"):
    return te.build_image_regressor(tiny_image_encoder(0.0), head=HEADS[head])


def phase(**options):
    return te.Phase(**{"name": "tune", "unfreeze": 1, "epochs": 2, "learning_rate": 1e-2} | options)


def one(**options):
    return te.Strategy(name="one", phases=(phase(**options),))


def values(model, examples=IMAGES):
    return te.predict(model, examples).probabilities[:, 0]


@pytest.fixture(scope="module", params=HEADS)
def head_and_result(request):
    """A head, and what training with it comes to for targets in the unit 1."""
    return request.param, te.train(regressor(request.param), data(), probe_and_tune())


def probe_and_tune():
    # Batches, as Adam's first step on a gradient of zero, which a solved head has on all examples, is rounding error.
    return te.Strategy(name="both", phases=(te.Phase(name="probe", solve=True, epochs=8), phase(batch_size=4)))


@pytest.mark.parametrize(("factor", "offset"), [(1000, 0), (1 / 1000, 0), (1, 1e5)])
def test_the_unit_of_the_targets_changes_nothing(head_and_result, factor, offset):
    """R2 and the history are the same for targets in thousands, in thousandths, and with an offset."""
    head, expected = head_and_result
    result = te.train(regressor(head), data(TARGETS * factor + offset), probe_and_tune())
    resolution = float(np.spacing(np.float32(offset)))  # of targets and predictions, which are float32
    tolerance = 1e-3 + resolution / TARGETS.std()
    assert result.metrics["test"]["r2"] == pytest.approx(expected.metrics["test"]["r2"], abs=tolerance)
    assert result.phases[1].history["val_loss"] == pytest.approx(expected.phases[1].history["val_loss"], rel=1e-2)
    assert result.metrics["test"]["mean_absolute_error"] == pytest.approx(
        factor * expected.metrics["test"]["mean_absolute_error"], rel=1e-2, abs=resolution
    )


@pytest.mark.parametrize(("head", "validation"), [("linear", 0), ("mlp", 0.25), ("cosine", 0.25)])
def test_a_phase_that_is_worse_than_the_mean_is_undone(head, validation):
    """A regressor that never learnt better is set to predict the mean of its training targets, and can learn later."""
    model, dataset = regressor(head), data(TARGETS * 1000, validation)
    before = parts_of(model).encoder.get_weights()
    result = te.train(model, dataset, one(learning_rate=30.0, unfreeze=True))
    assert not result.phases[0].kept
    np.testing.assert_allclose(values(model), dataset.train.labels.mean(), rtol=1e-5)
    assert all(map(np.array_equal, before, parts_of(model).encoder.get_weights()))
    assert result.metrics["train"]["r2"] == pytest.approx(0, abs=1e-5)
    options = {"seed": 0, "balanced": False, "cache": te.FeatureCache()}
    later = run_phase(
        parts_of(model), dataset, phase(unfreeze=False, epochs=60, patience=60, learning_rate=0.05), **options
    )
    assert later.kept
    assert te.evaluate(model, dataset.train)["r2"] > 0.02


@pytest.mark.parametrize("validation", [0.25, 0])
def test_a_phase_that_is_worse_than_the_mean_leaves_a_better_one(validation, caplog):
    """What the probe learnt is put back where fine-tuning ends up worse than the mean."""
    probed, tuned, dataset = regressor(), regressor(), data(TARGETS, validation)
    probe = te.linear_probe().phases[0]
    te.train(probed, dataset, te.linear_probe())
    both = te.Strategy(name="both", phases=(probe, phase(learning_rate=30.0, unfreeze=True)))
    caplog.clear()
    result = te.train(tuned, dataset, both)
    assert [each.kept for each in result.phases] == [True, False]
    np.testing.assert_allclose(values(tuned), values(probed), rtol=1e-5)
    worse = result.phases[1]
    assert (worse.judged_on, worse.judged_by) == (
        ("validation", "earlier weights") if validation else ("training", "mean")
    )
    assert worse.loss > worse.earlier_loss
    told = f"{worse.judged_on} loss {worse.loss:.3g}, {'probe' if validation else 'always predicting the mean'} "
    assert [record.message for record in caplog.records] == [f"{worse.name} undone: {told}{worse.earlier_loss:.3g}"]


def test_a_phase_that_is_kept_tells_both_losses(caplog):
    """Judged by the loss before it, nothing is warned of; what cannot be judged has no loss."""
    dataset = data(TARGETS, 0.25)
    result = te.train(regressor(), dataset, te.linear_probe())
    assert result.phases[0].loss <= result.phases[0].earlier_loss
    assert not caplog.records
    classes = te.Dataset.from_arrays(pixels(8), ["a", "b"] * 4, validation=0, test=0)
    model = te.build_image_classifier(tiny_image_encoder(), classes.class_names)
    first = te.train(model, classes, te.linear_probe()).phases[0]
    assert (first.loss, first.earlier_loss, first.judged_on, first.judged_by) == (None,) * 4


def test_a_first_solution_that_is_worse_than_the_mean_is_undone():
    """A head solved on targets that validation examples contradict is not kept, though it is the first."""
    dataset = data()
    opposite = 2 * dataset.train.labels.mean() - dataset.validation.labels
    dataset = replace(dataset, validation=replace(dataset.validation, labels=opposite))
    model = regressor()
    assert not te.train(model, dataset, te.linear_probe()).phases[0].kept
    np.testing.assert_allclose(values(model), dataset.train.labels.mean(), rtol=1e-5)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_model_that_is_trained_again_begins_as_it_was(head):
    """On data in another unit, what the head has learnt keeps its meaning until the first phase changes it."""
    model, seen = regressor(head), []
    te.train(model, data(), one(epochs=5))
    expected = values(model, NEW)

    cache = te.FeatureCache.in_memory()

    def run(parts, *args, **options):
        seen.append(parts.last(parts.head(parts.encoder(NEW))).numpy()[:, 0])
        return run_phase(parts, *args, balanced=False, cache=cache, **options)

    execute(model, data(TARGETS * 3 + 100), one(), seed=0, run=run, cache=cache)
    np.testing.assert_allclose(seen[0], expected, rtol=1e-3)
    assert parts_of(model).target_scale[0] > 100


@pytest.mark.parametrize("head", HEADS)
def test_equal_targets_are_predicted(head):
    """Targets without a spread have the scale 1; their value is what is predicted."""
    model, dataset = regressor(head), data(np.full(32, 0.1), 0)
    te.train(model, dataset, te.Strategy(name="probe", phases=(te.Phase(name="probe", solve=True, epochs=2),)))
    assert parts_of(model).target_scale == (pytest.approx(0.1), 1.0)
    np.testing.assert_allclose(values(model), 0.1, atol=1e-3)


@pytest.mark.parametrize(("factor", "offset"), [(1, 1e6), (1e30, 0), (1e-30, 0)])
def test_extreme_targets_are_learnt(factor, offset):
    """Neither an offset of a million spreads, nor squares that float32 cannot hold, keep a probe from learning."""
    usual = te.train(regressor(), data(validation=0), te.linear_probe()).metrics["train"]["r2"]
    extreme = te.train(regressor(), data(TARGETS * factor + offset, 0), te.linear_probe()).metrics["train"]["r2"]
    assert usual > 0.5
    assert extreme == pytest.approx(usual, abs=0.01)
