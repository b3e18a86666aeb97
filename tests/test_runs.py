"""Runs on disk."""

from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import tiny_image_encoder

import tfembed as te

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
RECORD = {"data": "images", "encoder": "glyphs", "class_names": ["a", "ß"]}


@pytest.fixture(scope="module")
def model() -> object:
    """An image classifier whose head is as it was drawn."""
    return te.build_image_classifier(te.load_encoder("glyphs"), ["a", "ß"])


@pytest.fixture(scope="module")
def result() -> te.Result:
    """What a training might have come to."""
    metrics = {"test": {"accuracy": 0.75}}
    return te.Result(metrics=metrics, seconds=1.5, trained_parameters=386, seed=3, strategy=te.lp_ft(2), phases=())


def test_round_trip(model: object, result: te.Result, tmp_path: Path) -> None:
    """A run gives back a model that predicts the same, and the record, from a folder whose parents were missing."""
    folder = te.save_run(tmp_path / "runs" / "first", model, result, RECORD)
    read, record = te.load_run(folder)
    before, after = te.predict(model, IMAGES), te.predict(read, IMAGES)
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    assert after.labels == before.labels
    assert {name: record[name] for name in RECORD} == RECORD
    assert record["result"]["metrics"] == result.metrics
    assert record["result"]["strategy"]["name"] == "lp_ft(2)"
    assert [each.name for each in folder.parent.iterdir()] == ["first"]


def test_a_run_is_as_frozen_as_the_model_was(result: te.Result, tmp_path: Path) -> None:
    """Of a probe only the head trains; of a phase with gradients, what the phase unfroze."""
    for selector, count in ((False, 2), ("gamma", 5)):
        model = te.build_image_classifier(tiny_image_encoder(), ["a", "ß"])
        model.get_layer("encoder").unfreeze(selector)
        read, _ = te.load_run(te.save_run(tmp_path / str(count), model, result, RECORD))
        assert len(model.trainable_variables) == len(read.trainable_variables) == count


def test_a_regressor_is_read_in_its_unit(tmp_path: Path) -> None:
    """A regressor that was saved and read predicts in the unit of its targets."""
    targets = (np.arange(5) * 200.0 + 1e4).tolist()
    data = te.Dataset.from_arrays(IMAGES, targets, task="regression", validation=0, test=0)
    model = te.build_image_regressor(te.load_encoder("glyphs"), head=te.cosine_head())
    one_epoch = te.Strategy(name="one epoch", phases=(te.Phase(name="head", epochs=1),))
    read, _ = te.load_run(te.save_run(tmp_path / "run", model, te.train(model, data, one_epoch), {}))
    values = te.predict(read, IMAGES).probabilities
    np.testing.assert_array_equal(values, te.predict(model, IMAGES).probabilities)
    assert abs(values - 1e4).max() < 5000
    assert values.mean() == pytest.approx(1e4, rel=0.1)


def test_a_run_may_move(model: object, result: te.Result, tmp_path: Path) -> None:
    """A run is the folder and nothing else: it can be read after it was moved, and trained further."""
    folder = te.save_run(tmp_path / "here", model, result, RECORD).rename(tmp_path / "there")
    read, _ = te.load_run(folder)
    read.layers[-3].unfreeze(1)
    assert read.trainable_variables


def test_an_existing_folder_is_refused(model: object, result: te.Result, tmp_path: Path) -> None:
    """No run is written over another, nor into any folder that exists."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        te.save_run(tmp_path, model, result, RECORD)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("files", [(), ("model.keras",), ("run.json",)])
def test_not_a_run(files: tuple[str, ...], tmp_path: Path) -> None:
    """A folder without model or record is no run, and the message says what makes one."""
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=r"is no run: expected model\.keras and run\.json"):
        te.load_run(tmp_path)


def test_no_half_run_is_visible(model: object, result: te.Result, tmp_path: Path) -> None:
    """If writing fails after the model was written, nothing is left behind, and the name is free."""
    with pytest.raises(TypeError, match="JSON"):
        te.save_run(tmp_path / "run", model, result, RECORD | {"oops": object()})
    assert list(tmp_path.iterdir()) == []
    te.save_run(tmp_path / "run", model, result, RECORD)
