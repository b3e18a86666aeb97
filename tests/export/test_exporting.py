"""Exports for TF Serving."""

import hashlib
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image
from spared_gate import spared_gate
from tensorflow_serving.apis import prediction_log_pb2
from tiny_models import write_text_module

import tfembed as te
from tfembed.export.by_length import embed_by_length
from tfembed.export.gate import _compare
from tfembed.export.signatures import _serve, signatures

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
CLASSES = ["a", "ß", "c"]
IMAGES = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
TEXTS = ["hello there", "I want my money back", "?", "ça va ?"]
EXPORT = importlib.import_module("tfembed.export.exporting")


@pytest.fixture(scope="module")
def pngs() -> list[bytes]:
    return [tf.io.encode_png(image).numpy() for image in IMAGES]


@pytest.fixture(scope="module")
def fine_tuned() -> keras.Model:
    """An image classifier with the uppermost block of its encoder trained for an epoch."""
    model = te.build_image_classifier(te.load_encoder("glyphs"), CLASSES)
    data = te.Dataset.from_arrays(IMAGES, [0, 1, 2] * 4, CLASSES, validation=0, test=0)
    phase = te.Phase(name="top", unfreeze=1, epochs=1, learning_rate=0.02, batch_norm="train")
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
def unchecked() -> Iterator[None]:
    with spared_gate():
        yield


def _described(signature: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    takes = {name: (spec.dtype, spec.shape.as_list()) for name, spec in signature.structured_input_signature[1].items()}
    gives = {name: (spec.dtype, spec.shape.as_list()) for name, spec in signature.structured_outputs.items()}
    return takes, gives


def test_signatures_of_an_image_classifier(served: Any) -> None:
    """Encoded images in; label, score, all labels and scores out; or the embedding. Names, types, shapes are fixed."""
    assert set(served.signatures) == {"serving_default", "embed", "classify"}
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
    takes, gives = _described(served.signatures["classify"])
    assert takes == {"inputs": (tf.string, [None])}
    assert gives == {"classes": (tf.string, [None, 3]), "scores": (tf.float32, [None, 3])}


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


def test_joined_depths_are_exported(tmp_path: Path, pngs: list[bytes], unchecked: None) -> None:
    """Embeddings of a probe on several depths are joined in an export as in the model, each of length 1."""
    model = te.build_image_classifier(te.load_encoder("glyphs"), CLASSES)
    dim = model.layers[-3].dim
    data = te.Dataset.from_arrays(IMAGES, [0, 1, 2] * 4, CLASSES, validation=0, test=0)
    te.train(model, data, te.linear_probe(depths=(2, 3)))
    served = tf.saved_model.load(str(te.export(model, tmp_path / "joined")))
    found = served.signatures["embed"](image_bytes=tf.constant(pngs))["embedding"].numpy()
    np.testing.assert_allclose(found, model.layers[-3](IMAGES), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found[:, -dim:], axis=1), 1, atol=1e-5)


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


def test_photos_are_served_upright(served: Any) -> None:
    """A photo with an EXIF orientation has the embedding of the same photo upright."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.fromarray(np.rot90(IMAGES[0])).save(file, "PNG", exif=tags)
    upright = tf.io.encode_png(IMAGES[0]).numpy()
    first, second = served.signatures["embed"](image_bytes=tf.constant([file.getvalue(), upright]))["embedding"]
    np.testing.assert_allclose(first, second, atol=1e-5)


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
    assert (strategy.name, strategy.phases[0].learning_rate) == ("one epoch", 0.02)


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

    monkeypatch.setattr(EXPORT, "predict_quietly", altered)
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
    write = EXPORT.write_contents

    def write_and_tear(folder: Path, parts: Any, about: Any) -> None:
        write(folder, parts, about)
        (folder / "saved_model.pb").write_bytes(b"torn")

    monkeypatch.setattr(EXPORT, "write_contents", write_and_tear)
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
    assert seen
    assert all(name.startswith(".incomplete-") for name in seen)
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


def test_bytes_that_are_no_text(text_module: str, tmp_path: Path) -> None:
    """The example is named, and nothing is written."""
    model = te.build_text_classifier(te.load_encoder(text_module), ["a", "b"])
    with pytest.raises(ValueError, match=r"examples\[1\]: b'\\xff' is no UTF-8"):
        te.export(model, tmp_path / "m", examples=[b"hello", b"\xff"])
    assert not (tmp_path / "m").exists()


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


def test_a_regressor_passes_the_gate(text_module: str, tmp_path: Path) -> None:
    """The gate compares values too, and the signature `regress`, which takes tf.Examples."""
    model = te.build_text_regressor(te.load_encoder(text_module))
    served = tf.saved_model.load(str(te.export(model, tmp_path, examples=TEXTS)))
    _, gives = _described(served.signatures["regress"])
    assert gives == {"outputs": (tf.float32, [None])}


@pytest.mark.parametrize(("unit", "offset"), [(1000.0, 0.0), (0.001, 0.0), (1.0, 1e5)])
def test_a_regressor_is_exported_in_its_unit(text_module: str, tmp_path: Path, unit: float, offset: float) -> None:
    """All signatures give values in the unit of the training targets, the size of which is no matter to the gate."""
    model = te.build_text_regressor(te.load_encoder(text_module), head=te.cosine_head())
    targets = (np.array([0.5, 2.0, 4.0, 7.5]) * unit + offset).tolist()
    data = te.Dataset.from_arrays(TEXTS, targets, task="regression", validation=0, test=0)
    te.train(model, data, te.Strategy(name="two epochs", phases=(te.Phase(name="head", epochs=2),)))
    folder = te.export(model, tmp_path, examples=TEXTS)
    served = tf.saved_model.load(str(folder))
    expected = te.predict(model, TEXTS).probabilities[:, 0]
    allowed = 1e-4 * unit + 1e-7 * offset
    value = served.signatures["serving_default"](text=tf.constant(TEXTS))["value"]
    np.testing.assert_allclose(value, expected, rtol=0, atol=allowed)
    examples = [
        tf.train.Example(features=tf.train.Features(feature={"text": _bytes_feature(text)})).SerializeToString()
        for text in TEXTS
    ]
    outputs = served.signatures["regress"](inputs=tf.constant(examples))["outputs"]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=allowed)
    assert abs(expected - np.mean(targets)).max() < 20 * unit
    record = json.loads((folder / "assets.extra" / "tfembed.json").read_text("utf-8"))
    assert record["target_scale"]["mean"] == pytest.approx(np.mean(targets))
    assert record["target_scale"]["scale"] == pytest.approx(np.std(targets))
    assert "- mean and standard deviation of the training targets: " in (
        folder / "assets.extra" / "model_card.md"
    ).read_text("utf-8")


def _bytes_feature(text: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))


@pytest.mark.parametrize("mean", [0.0, -1000.0])
@pytest.mark.parametrize("scale", [1000.0, 0.001])
def test_the_gate_compares_values_in_their_unit(text_module: str, mean: float, scale: float) -> None:
    """What passes is a share of the targets' spread, however large or small their unit."""
    model = te.build_text_regressor(te.load_encoder(text_module))
    model.get_layer("values").set_weights([np.float64(mean), np.float64(scale)])
    parts, expected = EXPORT.parts_of(model), np.array([[mean]])
    _compare(parts, [b"hi"], expected, expected + 5e-5 * scale, "batch")
    with pytest.raises(te.ExportError, match="for the input b'hi'"):
        _compare(parts, [b"hi"], expected, expected + 2e-4 * scale + 1e-6 * abs(mean), "batch")


def test_values_that_are_no_numbers_do_not_pass(text_module: str) -> None:
    """Neither another value nor one that is no number is like what the model gives."""
    parts = EXPORT.parts_of(te.build_text_regressor(te.load_encoder(text_module)))
    expected = np.array([[1.0]], np.float32)
    _compare(parts, [b"hi"], expected, expected + 1e-6, "batch")
    for wrong in (expected + 0.5, np.full([1, 1], np.nan, np.float32)):
        with pytest.raises(te.ExportError, match="for the input b'hi' alone"):
            _compare(parts, [b"hi"], expected, wrong, "single")


def test_a_graph_that_calls_python_is_not_published(
    fine_tuned: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its function is in this process alone: what went wrong in the fresh one is told, and at which op."""

    def calling_python(parts: Any, reject_below: Any) -> Any:
        def serve(raw: Any) -> Any:
            outputs = _serve(parts, embed_by_length(parts.encoder, raw), None)
            return outputs | {
                "score": tf.ensure_shape(tf.py_function(lambda x: x, [outputs["score"]], tf.float32), [None])
            }

        found = signatures(parts, reject_below)
        spec = tf.TensorSpec([None], tf.string, name="image_bytes")
        return found | {"serving_default": tf.function(serve, input_signature=[spec]).get_concrete_function()}

    monkeypatch.setattr(EXPORT, "signatures", calling_python)
    with pytest.raises(
        te.ExportError, match=r"Could not find callback with key=\w+ in the registry \(at EagerPyFunc\)\. No"
    ):
        te.export(fine_tuned, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_warmup_requests(exported: Path, served: Any) -> None:
    """There is a request for each example, one of several, and one for the embedding; each is answered."""
    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    requests = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]
    assert [request.model_spec.signature_name for request in requests] == ["serving_default"] * 5 + ["embed"]
    for request in requests:
        images = tf.make_ndarray(request.inputs["image_bytes"])
        assert images.ndim == 1
        served.signatures[request.model_spec.signature_name](image_bytes=tf.constant(images.tolist()))


def test_what_is_below_the_threshold_is_rejected(fine_tuned: keras.Model, tmp_path: Path, pngs: list[bytes]) -> None:
    """The label is __none__ where the best score is lower; scores and labels stay."""
    scores = te.predict(fine_tuned, IMAGES).probabilities.max(axis=1)
    threshold = float(np.median(scores))
    served = tf.saved_model.load(str(te.export(fine_tuned, tmp_path, reject_below=threshold)))
    found = served.signatures["serving_default"](image_bytes=tf.constant(pngs))
    rejected = [label == b"__none__" for label in found["label"].numpy()]
    assert rejected == (found["score"].numpy() < np.float32(threshold)).tolist()
    assert 0 < sum(rejected) < len(rejected)
    assert b"__none__" not in found["labels"].numpy()


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_thresholds_are_scores(threshold: float, fine_tuned: keras.Model, tmp_path: Path) -> None:
    """A threshold outside [0, 1] is refused before anything is written."""
    with pytest.raises(ValueError, match="expected a score"):
        te.export(fine_tuned, tmp_path / "models", reject_below=threshold)
    assert not (tmp_path / "models").exists()


def test_checksums(exported: Path) -> None:
    """Every file but the record itself is in the record, with its checksum."""
    record = json.loads((exported / "assets.extra" / "tfembed.json").read_text(encoding="utf-8"))
    files = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert set(record["sha256"]) == files - {"assets.extra/tfembed.json"}
    assert record["sha256"]["saved_model.pb"] == hashlib.sha256((exported / "saved_model.pb").read_bytes()).hexdigest()


def test_the_model_card(fine_tuned: keras.Model, tmp_path: Path, unchecked: None) -> None:
    """It tells a reader what the model does, how to call it, where it comes from, and how well it did."""
    about = {"data": "letters.csv", "metrics": {"test": {"accuracy": 0.75}}}
    card = (te.export(fine_tuned, tmp_path, about=about) / "assets.extra" / "model_card.md").read_text("utf-8")
    for line in ("Tells 3 classes apart: a, ß, c.", "- data: letters.csv", "- strategy: one epoch", "| test | 0.75 |"):
        assert line in card
    assert '"instances": [{"b64": "..."}]' in card


KILLED = """
import os, signal, sys
from pathlib import Path
import tfembed as te
model, base = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"]), Path(sys.argv[1])
left, visible = int(sys.argv[2]), []
def watch(event, arguments):
    global left
    if left and str(base / ".incomplete-") in "".join(map(str, arguments)):
        numbered = [path for path in base.iterdir() if path.name.isdecimal()]
        visible.append([path for path in numbered if not (path / "assets.extra" / "tfembed.json").is_file()])
        left -= 1
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
te.export(model, base)
left = 0
print(len(visible), any(visible))
"""


def test_an_export_that_is_killed_leaves_no_version(tmp_path: Path) -> None:
    """Whenever it touches a file, TF Serving sees no version, or a whole one; what a killed one left is cleaned up."""
    base = tmp_path / "models"
    for point in (2, 15, 10**6):
        command = [sys.executable, "-c", KILLED, str(base), str(point)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == (0 if point == 10**6 else -9), run.stderr[-500:]
        left = sorted(path.name for path in base.iterdir())
        assert len(left) > 0
        assert (left == ["1"]) == (point == 10**6)
    touched, was_visible = run.stdout.split()
    assert int(touched) > 20
    assert was_visible == "False"


@pytest.mark.parametrize(("kind", "share"), [("bfloat16", 0.55), ("int8-weights", 0.32)])
def test_quantized_weights(kind: str, share: float, fine_tuned: keras.Model, tmp_path: Path) -> None:
    """They take half or a quarter of the room; what that costs is measured, written down, and small."""
    split = te.Dataset.from_arrays(IMAGES, [0, 1, 2] * 4, CLASSES, validation=0, test=0).train
    plain, folder = te.export(fine_tuned, tmp_path / "a", examples=split), tmp_path / "b"
    folder = te.export(fine_tuned, folder, examples=split, quantize=kind)
    sizes = [sum(file.stat().st_size for file in (each / "variables").iterdir()) for each in (plain, folder)]
    assert sizes[1] < share * sizes[0]
    record = json.loads((folder / "assets.extra" / "tfembed.json").read_text("utf-8"))["quantization"]
    right = np.mean(te.predict(fine_tuned, IMAGES).probabilities.argmax(1) == split.labels)
    assert (record["kind"], record["score"], record["num_examples"]) == (kind, "accuracy", 12)
    assert record["before"] == pytest.approx(right)
    assert record["bytes_after"] < share * record["bytes_before"]
    assert f"- quantized: {kind}; accuracy" in (folder / "assets.extra" / "model_card.md").read_text("utf-8")


def test_quantized_weights_are_close(fine_tuned: keras.Model, served: Any, tmp_path: Path, pngs: list[bytes]) -> None:
    """Embeddings differ by what rounding to 255 steps does, and not by nothing."""
    folder = te.export(fine_tuned, tmp_path, examples=pngs, quantize="int8-weights")
    quantized = tf.saved_model.load(str(folder))
    plain, small = (each.signatures["embed"](tf.constant(pngs))["embedding"].numpy() for each in (served, quantized))
    assert 0 < np.abs(plain - small).max() < 0.1 * np.abs(plain).max()


def test_quantization_that_costs_too_much_is_not_published(
    fine_tuned: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the weights come back as is measured: where labels change, the error says how many, and nothing is left."""
    monkeypatch.setattr(importlib.import_module("tfembed.export.quantization"), "_INT8", 1)
    with pytest.raises(
        te.ExportError, match=r"agreement 1\.0000 before, 0\.\d+ after, on 12 examples: more than 0\.01"
    ):
        te.export(fine_tuned, tmp_path / "a", examples=IMAGES, quantize="int8-weights")
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize(("kind", "why"), [("int4", "pass one of bfloat16, int8-weights"), ("bfloat16", "no examples")])
def test_quantization_needs_a_kind_and_examples(kind: str, why: str, fine_tuned: keras.Model, tmp_path: Path) -> None:
    """An unknown kind, or nothing to measure on, is refused before anything is written."""
    with pytest.raises(ValueError, match=why):
        te.export(fine_tuned, tmp_path / "a", quantize=kind)
    assert not (tmp_path / "a").exists()


def test_a_quantized_text_module_keeps_its_tables(text_module: str, tmp_path: Path) -> None:
    """Variables of a SavedModel in a HubLayer are left out, its lookup tables are not; the gate passes."""
    model = te.build_text_classifier(te.load_encoder(text_module), CLASSES)
    folder = te.export(model, tmp_path, examples=TEXTS, quantize="bfloat16")
    assert json.loads((folder / "assets.extra" / "tfembed.json").read_text("utf-8"))["quantization"]["after"] == 1.0


def test_a_parent_that_cannot_be_written_to_does_not_undo_an_export(
    fine_tuned: keras.Model, tmp_path: Path, unchecked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is out; that models.config is not written is a warning which says so."""
    te.export(fine_tuned, tmp_path / "a")
    (tmp_path / "models.config").mkdir()  # renaming a file to it fails
    with pytest.warns(UserWarning, match=r"models\.config could not be written"):
        assert te.export(fine_tuned, tmp_path / "b").is_dir()


def test_a_model_that_was_never_trained_is_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What an untrained head says is chance: exporting it is a warning, exporting a trained one none."""
    model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
    data = te.Dataset.from_arrays(np.arange(256, dtype="uint8").reshape(4, 8, 8), ["a", "b"] * 2, validation=0, test=0)
    with spared_gate():
        te.export(model, tmp_path / "untrained")
        assert "The head was never trained: what the exported model says is chance" in caplog.text
        caplog.clear()
        te.train(model, data, te.linear_probe())
        te.export(model, tmp_path / "trained")
    assert "never trained" not in caplog.text
