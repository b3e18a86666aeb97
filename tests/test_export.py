"""Exports for TF Serving."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_models import write_text_module

import tfembed as te

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
CLASSES = ["a", "ß", "c"]
IMAGES = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
TEXTS = ["hello there", "I want my money back", "?", "ça va ?"]
EXPORT = importlib.import_module("tfembed.export")


@pytest.fixture(scope="module")
def pngs() -> list[bytes]:
    return [tf.io.encode_png(image).numpy() for image in IMAGES]


@pytest.fixture(scope="module")
def fine_tuned() -> keras.Model:
    """An image classifier with the uppermost block of its encoder trained for an epoch."""
    model = te.build_image_classifier(te.load_encoder("glyphs"), CLASSES)
    data = te.Dataset.from_arrays(IMAGES, [0, 1, 2] * 4, CLASSES, validation=0, test=0)
    phase = te.Phase(name="top", unfreeze=1, epochs=1, learning_rate=0.05)
    te.train(model, data, te.Strategy(name="one epoch", phases=(phase,)))
    return model


@pytest.fixture(scope="module")
def exported(fine_tuned: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fine-tuned classifier as version 1."""
    return te.export(fine_tuned, tmp_path_factory.mktemp("models") / "digits")


@pytest.fixture(scope="module")
def served(exported: Path) -> Any:
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="module")
def text_module(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_text_module(tmp_path_factory.mktemp("bag_of_words"))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the fresh process, which takes seconds, where a test is of something else."""
    monkeypatch.setattr(EXPORT, "_check", lambda *_: None)


def _described(signature: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    takes = {name: (spec.dtype, spec.shape.as_list()) for name, spec in signature.structured_input_signature[1].items()}
    gives = {name: (spec.dtype, spec.shape.as_list()) for name, spec in signature.structured_outputs.items()}
    return takes, gives


def test_signatures_of_an_image_classifier(served: Any) -> None:
    """Encoded images in; label, score, all labels and scores out; or the embedding. Names, types, shapes are fixed."""
    assert set(served.signatures) == {"serving_default", "embed"}
    takes, gives = _described(served.signatures["serving_default"])
    assert takes == {"image_bytes": (tf.string, [None])}
    assert gives == {
        "label": (tf.string, [None]),
        "score": (tf.float32, [None]),
        "labels": (tf.string, [None, 3]),
        "scores": (tf.float32, [None, 3]),
    }
    takes, gives = _described(served.signatures["embed"])
    assert takes == {"image_bytes": (tf.string, [None])}
    assert gives == {"embedding": (tf.float32, [None, 192])}


def test_predictions_are_those_of_the_model(fine_tuned: keras.Model, served: Any, pngs: list[bytes]) -> None:
    """The exported model says of encoded images what the model in memory says of the pixels, best class first."""
    expected = te.predict(fine_tuned, IMAGES)
    found = served.signatures["serving_default"](image_bytes=tf.constant(pngs))
    order = np.argsort(-expected.probabilities, axis=1)
    assert [label.decode() for label in found["label"].numpy()] == list(expected.labels)
    assert [[label.decode() for label in row] for row in found["labels"].numpy()] == np.array(CLASSES)[order].tolist()
    wanted = np.take_along_axis(expected.probabilities, order, axis=1)
    np.testing.assert_allclose(found["scores"], wanted, atol=1e-5)
    np.testing.assert_array_equal(found["score"], found["scores"][:, 0])


def test_fine_tuned_values_are_exported(fine_tuned: keras.Model, served: Any, pngs: list[bytes]) -> None:
    """Embeddings are those of the encoder as it was trained, not as it was loaded."""
    found = served.signatures["embed"](image_bytes=tf.constant(pngs))["embedding"]
    np.testing.assert_allclose(found, fine_tuned.layers[-3](IMAGES), atol=1e-4)
    assert np.abs(found - te.load_encoder("glyphs")(IMAGES)).max() > 0.01


@pytest.mark.parametrize("size", [0, 1])
def test_small_batches(size: int, fine_tuned: keras.Model, served: Any, pngs: list[bytes]) -> None:
    """A batch of one image, or of none, gives as many answers."""
    found = served.signatures["serving_default"](image_bytes=tf.constant(pngs[:size], tf.string))
    assert found["label"].shape == found["score"].shape == [size]
    assert found["labels"].shape == found["scores"].shape == [size, 3]
    np.testing.assert_allclose(
        found["score"], te.predict(fine_tuned, IMAGES).probabilities.max(axis=1)[:size], atol=1e-5
    )
    assert served.signatures["embed"](image_bytes=tf.constant(pngs[:size], tf.string))["embedding"].shape == [size, 192]


@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_image_formats_and_sizes(encode: Callable[[Any], tf.Tensor], fine_tuned: keras.Model, served: Any) -> None:
    """Images of different sizes may share a batch, and PNG and JPEG are both taken."""
    sizes = [(5, 9), (40, 33)]
    files = [encode(np.full((*size, 3), 90, np.uint8)).numpy() for size in sizes]
    found = served.signatures["serving_default"](image_bytes=tf.constant(files))
    np.testing.assert_allclose(found["score"], te.predict(fine_tuned, files).probabilities.max(axis=1), atol=1e-5)


def test_labels_and_card(exported: Path) -> None:
    """Beside the graph lie the labels in the order of their indices, and where the encoder is from."""
    assert (exported / "assets.extra" / "labels.txt").read_text(encoding="utf-8") == "a\nß\nc\n"
    card = (exported / "assets.extra" / "tfembed.json").read_text(encoding="utf-8")
    assert '"encoder": "glyphs"' in card
    assert '"licence": "Apache-2.0"' in card


def test_the_card_has_the_strategy(exported: Path) -> None:
    """An export says how it was trained, so that it can be repeated."""
    card = json.loads((exported / "assets.extra" / "tfembed.json").read_text(encoding="utf-8"))
    strategy = te.strategy_from_json(json.dumps(card["strategy"]))
    assert (strategy.name, strategy.phases[0].learning_rate) == ("one epoch", 0.05)


def test_every_variable_is_saved_once(fine_tuned: keras.Model, exported: Path) -> None:
    """The values on disk take the room of the model's variables, and not twice that."""
    size = sum(path.stat().st_size for path in (exported / "variables").glob("variables.data-*"))
    needed = sum(variable.value.numpy().nbytes for variable in fine_tuned.variables)
    assert needed <= size < 1.1 * needed + 20_000


def test_versions_count_up(exported: Path, fine_tuned: keras.Model, unchecked: None) -> None:
    """Each export gets the number above the highest there is; names that are no numbers do not count."""
    base = exported.parent
    assert exported.name == "1"
    assert te.export(fine_tuned, base).name == "2"
    (base / "2").rename(base / "7")
    (base / "30_old").mkdir()
    assert te.export(fine_tuned, base) == base / "8"
    assert sorted(each.name for each in base.iterdir()) == ["1", "30_old", "7", "8"]


def test_a_model_that_disagrees_is_not_published(
    fine_tuned: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the fresh process gives other predictions, the error names input and both answers, and nothing is left."""

    def altered(model: keras.Model, examples: Any) -> te.Predictions:
        right = te.predict(model, examples)
        wrong = right.probabilities.copy()
        wrong[1] = [0.125, 0.25, 0.625]
        return replace(right, probabilities=wrong)

    monkeypatch.setattr(EXPORT, "predict", altered)
    with pytest.raises(te.ExportError) as caught:
        te.export(fine_tuned, tmp_path, examples=IMAGES[:3])
    message = str(caught.value)
    right = te.predict(fine_tuned, IMAGES[:3]).probabilities[1]
    assert r"for the input b'\x89PNG" in message
    assert "[0.125, 0.25, 0.625]" in message
    assert f"{right[0]:.4f}"[:5] in message
    assert message.endswith("Nothing was published.")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_a_fresh_process_cannot_load_is_not_published(
    fine_tuned: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the fresh process fails, its last line is the reason given, and nothing is left."""
    write = EXPORT._write

    def write_and_tear(model: keras.Model, parts: Any, folder: Path) -> None:
        write(model, parts, folder)
        (folder / "saved_model.pb").write_bytes(b"torn")

    monkeypatch.setattr(EXPORT, "_write", write_and_tear)
    with pytest.raises(te.ExportError, match=r"A fresh process cannot use .*Nothing was published\."):
        te.export(fine_tuned, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_crash_while_writing_leaves_nothing(
    error: type[BaseException], fine_tuned: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a model is written there is no folder with a number, and after a crash no folder at all."""
    seen = []

    def torn(_: Any, folder: str, *__: Any) -> None:
        (Path(folder) / "variables").mkdir(parents=True)
        seen.extend(each.name for each in tmp_path.iterdir())
        raise error("the disk is full")

    monkeypatch.setattr(tf.saved_model, "save", torn)
    with pytest.raises(error):
        te.export(fine_tuned, tmp_path)
    assert [name.startswith(".incomplete-") for name in seen] == [True]
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_no_builder_is_refused(tmp_path: Path) -> None:
    """A model without encoder and head is refused before anything is written."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="Make it with build_text_classifier"):
        te.export(model, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_text_classifier(text_module: str, tmp_path: Path) -> None:
    """A text model takes `text`, passes the check in a fresh process, and predicts what the model in memory does."""
    model = te.build_text_classifier(te.load_encoder(text_module), CLASSES)
    served = tf.saved_model.load(str(te.export(model, tmp_path, examples=TEXTS)))
    takes, gives = _described(served.signatures["serving_default"])
    assert takes == {"text": (tf.string, [None])}
    assert set(gives) == {"label", "score", "labels", "scores"}
    found = served.signatures["serving_default"](text=tf.constant(TEXTS))
    expected = te.predict(model, TEXTS)
    assert [label.decode() for label in found["label"].numpy()] == list(expected.labels)
    np.testing.assert_allclose(found["score"], expected.probabilities.max(axis=1), atol=1e-5)
    nothing = served.signatures["serving_default"](text=tf.constant([], tf.string))
    assert nothing["scores"].shape == [0, 3]
    assert served.signatures["embed"](text=tf.constant(TEXTS))["embedding"].shape == [4, 8]


def test_text_regressor(text_module: str, tmp_path: Path, unchecked: None) -> None:
    """A regressor gives `value`, one number for each text, and has no labels."""
    model = te.build_text_regressor(te.load_encoder(text_module))
    folder = te.export(model, tmp_path)
    served = tf.saved_model.load(str(folder))
    _, gives = _described(served.signatures["serving_default"])
    assert gives == {"value": (tf.float32, [None])}
    found = served.signatures["serving_default"](text=tf.constant(TEXTS))["value"]
    np.testing.assert_allclose(found, te.predict(model, TEXTS).probabilities[:, 0], atol=1e-5)
    assert not (folder / "assets.extra" / "labels.txt").exists()


def test_the_check_of_regressors(text_module: str) -> None:
    """The check covers values too, and values that are no numbers: neither is like what the model gives."""
    model = te.build_text_regressor(te.load_encoder(text_module))
    parts, expected = EXPORT.parts_of(model), te.predict(model, ["hi"]).probabilities
    EXPORT._compare(parts, [b"hi"], expected, {"value": expected[:, 0]})
    for wrong in (expected[:, 0] + 0.5, np.array([np.nan], np.float32)):
        with pytest.raises(te.ExportError, match="for the input b'hi'"):
            EXPORT._compare(parts, [b"hi"], expected, {"value": wrong})
