"""Round trips: what a `.keras` file, a weights file and an export keep of a module, and where they can be read."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfembed.saved_model.layer import HubLayer

# Keras writes its own layers' values with a call that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

COLUMN = np.array([[1.0], [2.0]], np.float32)
WORDS = tf.constant(["flight", "book", "sesame"])


@pytest.fixture
def own(tmp_path: Path):
    """Copies a module to a folder that the test may remove."""
    return lambda folder: str(shutil.copytree(folder, tmp_path / "own_copy"))


def _column_model(*layers: keras.layers.Layer) -> keras.Model:
    inputs = outputs = keras.Input((1,))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def _fine_tuned(folder: str) -> keras.Model:
    model = _column_model(HubLayer(folder, trainable=True), keras.layers.Dense(2))
    model.compile(keras.optimizers.Adam(0.1), "mean_squared_error")
    model.fit(COLUMN, np.zeros((2, 2)), epochs=2, verbose=0)
    return model


def _in_new_process(code: str) -> str:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "2"}
    code = f"import json, sys, warnings; warnings.simplefilter('error', UserWarning)\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_keras_file_keeps_fine_tuned_values_and_optimizer_state(half_plus_one, tmp_path):
    model = _fine_tuned(half_plus_one)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(COLUMN), model(COLUMN))
    for each in (model, again):
        each.fit(COLUMN, np.zeros((2, 2)), verbose=0)
    np.testing.assert_array_equal(again(COLUMN), model(COLUMN))
    np.testing.assert_allclose(again.losses, model.losses)


def test_a_keras_file_loads_elsewhere_without_the_handle(vocabulary, own, tmp_path):
    """In a new process, from another folder, in safe mode: the module, its table, assets and string variable."""
    folder = own(vocabulary)
    layer = HubLayer(folder, trainable=True)
    inputs = keras.Input((), dtype="string")
    outputs = layer(inputs)
    model = keras.Model(inputs, [keras.layers.Dense(2)(outputs["embedding"]), outputs["greeting"]])
    layer.resolved_object.variables[1].assign([b"other\x00", b"", b"words"])
    layer.trainable_weights[0].assign(np.arange(8).reshape(4, 2))
    expected, greeting = model(WORDS)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(tmp_path / "model.keras", moved / "renamed.keras")
    output = _in_new_process(f"""
import keras, tensorflow as tf
import tfembed.saved_model.layer
model = keras.models.load_model({str(moved / "renamed.keras")!r})
features, greeting = model(tf.constant({[word.decode() for word in WORDS.numpy()]}))
module = model.layers[1].resolved_object
words = tf.io.read_file(module.words.asset_path).numpy().decode().split()
model.save({str(moved / "again.keras")!r})
model.export({str(moved / "exported")!r}, verbose=False)
print(json.dumps([features.numpy().tolist(), [each.decode() for each in greeting.numpy()], words]))
""")
    found, found_greeting, words = json.loads(output)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found_greeting == [each.decode() for each in greeting.numpy()]
    assert words == ["book", "flight", "refund"]
    shutil.rmtree(moved / "exported" / "assets.extra", ignore_errors=True)
    exported = tf.saved_model.load(str(moved / "exported"))  # long after the other process and its copy are gone
    np.testing.assert_allclose(exported.serve(WORDS)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(keras.models.load_model(moved / "again.keras")(WORDS)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("tf1_half_plus_one", {}),
        ("batch_norm", {}),
        ("plus_one", {"signature": "serving_default", "output_key": "output_0", "output_shape": [1]}),
        ("linear_arguments", {"arguments": {"b": 2.0}}),
    ],
)
def test_every_kind_of_module_comes_out_of_the_file(module, options, own, tmp_path, request):
    folder = own(request.getfixturevalue(module))
    model = _column_model(HubLayer(folder, **options))
    expected = model(COLUMN)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(COLUMN), expected)
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
    again.save(tmp_path / "again.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "again.keras")(COLUMN), expected)


def test_nests_come_out_of_the_file(lists_in_dict, own, tmp_path):
    folder = own(lists_in_dict)
    inputs = [keras.Input((1,)), {"scale": keras.Input((1,), name="scale")}]
    outputs = HubLayer(folder)(inputs)
    model = keras.Model(inputs, [outputs["layers"][1], outputs["pooled"]])
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again([COLUMN, {"scale": COLUMN}])[0], COLUMN**2)


def test_a_model_that_is_no_graph_of_layers_comes_out_of_the_file(half_plus_one, own, tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Twice(keras.Model):
        def __init__(self, embed: HubLayer, **options: object) -> None:
            super().__init__(**options)
            self.embed = embed

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return self.embed(inputs) + self.embed(inputs)

        def get_config(self) -> dict:
            return {**super().get_config(), "embed": keras.saving.serialize_keras_object(self.embed)}

        @classmethod
        def from_config(cls, config: dict) -> "Twice":
            return cls(**{**config, "embed": keras.saving.deserialize_keras_object(config["embed"])})

    folder = own(half_plus_one)
    model = Twice(HubLayer(folder))
    expected = model(COLUMN)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(COLUMN), expected)


def test_the_file_wins_over_another_module_at_the_handle(half_plus_one, batch_norm, own, tmp_path):
    folder = own(half_plus_one)
    model = _fine_tuned(folder)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    shutil.copytree(batch_norm, folder)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(COLUMN), model(COLUMN))


def test_the_file_wins_over_another_version_with_the_same_variables(half_plus_one, own, tmp_path):
    folder = own(half_plus_one)
    model = _fine_tuned(folder)
    model.save(tmp_path / "model.keras")
    module = tf.saved_model.load(folder)
    changed = tf.train.Checkpoint(of=module)
    changed.__call__ = tf.function(lambda x: 0.0 * module(x), input_signature=[tf.TensorSpec([None, 1])])
    changed.variables, changed.trainable_variables = module.variables, module.trainable_variables
    shutil.rmtree(folder)
    tf.saved_model.save(changed, folder)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(COLUMN), model(COLUMN))


def test_a_module_whose_folder_is_gone_is_exported_again(vocabulary, own, tmp_path):
    folder = own(vocabulary)
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, HubLayer(folder)(inputs))
    expected = model(WORDS)
    Path(folder, "saved_model.pb").unlink()
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    again = keras.models.load_model(tmp_path / "model.keras")(WORDS)
    np.testing.assert_array_equal(again["embedding"], expected["embedding"])
    np.testing.assert_array_equal(again["greeting"], expected["greeting"])


def test_a_config_alone_waits_for_its_module_and_says_so(half_plus_one, own, tmp_path):
    folder = own(half_plus_one)
    config = json.loads(json.dumps(HubLayer(folder).get_config()))
    shutil.move(folder, tmp_path / "away")
    layer = HubLayer.from_config(config)
    with pytest.raises(ValueError, match=r"module is not here: Handle .*own_copy' does not exist.*load_model"):
        layer(COLUMN)
    shutil.move(tmp_path / "away", folder)
    np.testing.assert_array_equal(layer(COLUMN), COLUMN / 2 + 1)


def test_a_config_refuses_a_handle_with_other_variables(half_plus_one, batch_norm, own):
    folder = own(half_plus_one)
    config = HubLayer(folder).get_config()
    shutil.rmtree(folder)
    shutil.copytree(batch_norm, folder)
    with pytest.raises(ValueError, match="not the one that the config was written for: it has 4 variables, expected 3"):
        HubLayer.from_config(config)(COLUMN)


def test_values_given_before_the_module_arrives_stay(half_plus_one, own, tmp_path):
    folder = own(half_plus_one)
    config = HubLayer(folder).get_config()
    shutil.move(folder, tmp_path / "away")
    layer = HubLayer.from_config(config)
    layer.set_weights([np.array([[2.0]]), np.array([[1.0]]), np.array([5.0])])
    shutil.move(tmp_path / "away", folder)
    np.testing.assert_array_equal(layer(COLUMN), 2 * COLUMN + 5)


def test_a_file_without_the_module_is_refused(half_plus_one, own, tmp_path):
    folder = own(half_plus_one)
    _fine_tuned(folder).save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    with zipfile.ZipFile(tmp_path / "model.keras") as source, zipfile.ZipFile(tmp_path / "cut.keras", "w") as target:
        for name in source.namelist():
            if not name.startswith("assets/"):
                target.writestr(name, source.read(name))
    model = keras.models.load_model(tmp_path / "cut.keras")
    with pytest.raises(ValueError, match="module is not here"):
        model(COLUMN)


def test_a_weights_file_keeps_values_strings_among_them(vocabulary, tmp_path):
    def build() -> keras.Model:
        inputs = keras.Input((), dtype="string")
        return keras.Model(inputs, HubLayer(vocabulary, trainable=True)(inputs))

    model, other = build(), build()
    layer = model.layers[-1]
    layer.trainable_weights[0].assign(np.arange(8).reshape(4, 2))
    layer.resolved_object.variables[1].assign(["a", "b", "c"])
    layer.resolved_object.variables[2].assign(b"sail\x00")
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(WORDS)["embedding"], model(WORDS)["embedding"])
    np.testing.assert_array_equal(other(WORDS)["greeting"], model(WORDS)["greeting"])
    assert other.layers[-1].resolved_object.variables[2].numpy() == b"sail\x00"


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras, on its way to raising
def test_weights_of_another_module_are_refused(half_plus_one, batch_norm, tmp_path):
    _column_model(HubLayer(half_plus_one)).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match="are of another module: 3 variables, expected 4"):
        _column_model(HubLayer(batch_norm)).load_weights(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("how", ["export", "tf.saved_model.save"])
def test_a_saved_model_keeps_fine_tuned_values(half_plus_one, own, tmp_path, how):
    folder = own(half_plus_one)
    model = _fine_tuned(folder)
    if how == "export":
        model.export(tmp_path / "exported", verbose=False)
    else:
        tf.saved_model.save(model, str(tmp_path / "exported"))
    shutil.rmtree(folder)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    outputs = exported.signatures["serving_default"](tf.constant(COLUMN))
    np.testing.assert_allclose(next(iter(outputs.values())), model(COLUMN), rtol=1e-6)


def test_lookup_tables_and_assets_are_exported(vocabulary, own, tmp_path):
    folder = own(vocabulary)
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, HubLayer(folder)(inputs)["embedding"])
    model.export(tmp_path / "exported", verbose=False)
    shutil.rmtree(folder)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_array_equal(exported.serve(WORDS), [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])


def test_a_ragged_model_is_exported_by_a_traced_function(ragged_mean, tmp_path):
    inputs = keras.Input((None,), ragged=True)
    model = keras.Model(inputs, HubLayer(ragged_mean)(inputs)["mean"])
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", tf.function(model, input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)]))
    archive.write_out(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_array_equal(exported.serve(tf.ragged.constant([[1.0, 2.0], [3.0]])), [[1.5], [3.0]])
