"""What works for one encoder works for those of every source: blocks, cuts, keys, training, files, exports."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import plain_modules
import pytest
import tensorflow as tf
import tiny_vectors
import torch_recipe
from safetensors.numpy import save_file
from spared_gate import spared_gate
from tiny_encoders import tiny_text_encoder, write_module_of_same_names
from tiny_presets import TEXTS, copy_folder, write_preset, write_towers

import tfembed as te
from tfembed.features.key import encoder_key
from tfembed.saved_model.blocks import select_variables, variable_name

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SENTENCES = ["where is my card", "again and again", "The fox, isn't it? Ça va", "quick brown fox", "my cafe", "naive"]

# A ResNet of TorchVision's form, small enough to train in a moment.
RESNET = {
    "conv1": (8, 3, 7, 7),
    **{f"layer{stage}.0.conv{part}": (8, 8, 3, 3) for stage in range(1, 5) for part in (1, 2)},
    **{f"layer{stage}.0.downsample.0": (8, 8, 1, 1) for stage in range(2, 5)},
}
NORMS = {name: name.replace("downsample.0", "downsample.1").replace("conv", "bn") for name in RESNET}


def write_resnet(folder: Path) -> str:
    shapes = {f"{name}.weight": shape for name, shape in RESNET.items()}
    for name, norm in NORMS.items():
        shapes |= {f"{norm}.{part}": RESNET[name][:1] for part in ("weight", "bias", "running_mean", "running_var")}
    folder.mkdir()
    save_file(torch_recipe.state_dict(shapes), folder / "model.safetensors")
    config = {"architecture": "resnet10", "pretrained_cfg": {"input_size": [3, 32, 32], "crop_pct": 1.0}}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def write_words(folder: Path) -> str:
    folder.mkdir()
    return f"glove:{tiny_vectors.write_text(folder / 'words.txt')}"


def write_module(folder: Path) -> str:
    return plain_modules.write(plain_modules.Images(), folder)


def write_keras(folder: Path) -> str:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="maps")(image)
    folder.mkdir()
    keras.Model(image, keras.layers.Dense(3, name="vector")(keras.layers.Flatten()(x))).save(folder / "own.keras")
    return str(folder / "own.keras")


def write_opaque(folder: Path) -> str:
    """A module whose numbers of rows depend on the values, so that it cannot be cut."""
    module, kernels = tf.train.Checkpoint(), [tf.Variable(tf.eye(3) + 0.1 * i, name=f"kernel_{i}") for i in range(2)]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)], autograph=False)
    def call(images: tf.Tensor) -> tf.Tensor:
        rows = tf.map_fn(lambda image: tf.reduce_mean(image, (0, 1)) @ kernels[0][:, :3], images[:, None])
        return tf.tanh(rows[:, 0] @ kernels[1])

    module.__call__, module.variables, module.trainable_variables = call, kernels, kernels
    tf.saved_model.save(module, str(folder))
    return str(folder)


def write_hub_inside(folder: Path) -> Any:
    image = keras.Input((8, 8, 3))
    module = te.HubLayer(write_module_of_same_names(folder), name="module")
    return keras.Model(image, keras.layers.Dense(3, name="top")(module(image)))


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an encoder comes from, and what it should be.

    Attributes:
        write: Writes its files into a folder that is not there; returns its handle.
        kind: Of what.
        blocks: From input to output; None where another test names them.
        options: Of `load_encoder`.
    """

    write: Callable[[Path], Any]
    kind: str = "text"
    blocks: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


LAYERS = ("embeddings", "layer_0", "layer_1")
PRESETS = {
    "bert": LAYERS,
    "distil_bert": LAYERS,
    "roberta": LAYERS,
    "albert": ("embeddings", "group_0_inner_layer_0"),
    "deberta_v3": LAYERS,
    "electra": LAYERS,
    "xlm_roberta": LAYERS,
    "resnet": ("stem", "stack0_block0", "stack1_block0", "stack1_block1"),
    "vgg": ("block1", "block2"),
    "mobilenet": ("stem", "block_0", "block_1", "block_2", "block_3"),
    "efficientnet": ("stem", "block1", "block2", "top"),
    "densenet": ("stem", "stack1_block1", "stack2_block1", "stack2_block2"),
    "vit": ("embeddings", "block_1", "block_2"),
    "dinov2": LAYERS,
}
FOLDERS = {
    **dict.fromkeys(("bert", "distilbert", "electra", "mpnet", "roberta", "xlm_roberta"), LAYERS),
    **dict.fromkeys(("albert", "deberta_v3", "vit", "dinov2_registers"), LAYERS),
    "sentences_cls_dense": (*LAYERS, "dense_0"),
}


def preset(name: str, blocks: tuple[str, ...]) -> Source:
    def write(folder: Path) -> Path:
        write_preset(name, folder)
        return folder

    return Source(write=write, kind="text" if name in TEXTS else "image", blocks=blocks)


def towers(name: str, kind: str) -> Source:
    def write(folder: Path) -> Path:
        write_towers(name, folder)
        return folder

    last = "head" if name == "siglip" else "projection"
    return Source(write=write, kind=kind, blocks=(*LAYERS, last), options={"kind": kind})


def transformers(name: str, blocks: tuple[str, ...]) -> Source:
    kind = "image" if name in ("vit", "dinov2_registers") else "text"
    return Source(write=partial(copy_folder, name), kind=kind, blocks=blocks)


def application(handle: str) -> Source:
    return Source(write=lambda _: f"applications:{handle}", kind="image", options={"weights": None})


SOURCES = {
    **{f"KerasHub {name}": preset(name, blocks) for name, blocks in PRESETS.items()},
    **{f"KerasHub {name} {kind}": towers(name, kind) for name in ("clip", "siglip") for kind in ("text", "image")},
    **{f"transformers {name}": transformers(name, blocks) for name, blocks in FOLDERS.items()},
    "keras.applications MobileNet": application("MobileNet?alpha=0.25&size=32"),
    "keras.applications VGG16": application("VGG16?size=32"),
    "timm resnet": Source(write=write_resnet, kind="image"),
    "word vectors": Source(write=write_words, blocks=("embeddings",)),
    "a tf.Module": Source(write=write_module, kind="image", blocks=("stem", "top")),
    "signatures": Source(write=plain_modules.write_keras_export, kind="image", blocks=("stem", "top")),
    "a Keras model": Source(write=write_keras, kind="image", blocks=("maps", "vector")),
}
# Encoders whose blocks and cuts have tests of their own.
OTHERS = {
    "glyphs": Source(write=lambda _: "glyphs", kind="image"),
    "a SavedModel whose variables share names": Source(write=write_module_of_same_names, kind="image"),
    "a SavedModel that shows one block": Source(write=write_opaque, kind="image"),
    "an exported module": Source(write=lambda folder: te.export_module(tiny_text_encoder(), folder)),
    "a Keras model with a SavedModel inside": Source(write=write_hub_inside, kind="image"),
}
# Keys, training and files take seconds: of each kind of body and of preprocessing one, with what is unfrozen.
TRAINED = {
    "KerasHub deberta_v3": True,
    "KerasHub efficientnet": 1,
    **{f"KerasHub {name} {kind}": True for name in ("clip", "siglip") for kind in ("text", "image")},
    "transformers mpnet": True,
    "transformers roberta": 1,
    "transformers albert": True,
    "transformers sentences_cls_dense": True,
    "transformers dinov2_registers": True,
    "keras.applications MobileNet": 1,
    "timm resnet": 1,
}
# All selectors take seconds too: of each kind of body one.
COPIED = (
    "KerasHub bert",
    "timm resnet",
    "word vectors",
    "signatures",
    "glyphs",
    "a SavedModel whose variables share names",
    "a Keras model with a SavedModel inside",
)
# Whether the export goes through the gate, which takes seconds more.
EXPORTED = {
    "KerasHub deberta_v3": True,
    "KerasHub efficientnet": False,
    "KerasHub clip text": False,
    "KerasHub clip image": False,
    "KerasHub siglip text": False,
    "KerasHub siglip image": False,
    "transformers roberta": False,
    "transformers albert": False,
    "transformers dinov2_registers": False,
    "timm resnet": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


def load(name: str, folder: Path) -> Any:
    """An encoder, and examples for it."""
    source = (SOURCES | OTHERS)[name]
    keras.utils.set_random_seed(0)
    encoder = te.load_encoder(source.write(folder / f"{len(list(folder.iterdir()))}_files"), **source.options)
    pictures = np.random.default_rng(0).integers(0, 256, (6, 20, 28, 3)).astype("uint8")
    return encoder, np.array(SENTENCES, object) if source.kind == "text" else pictures


@pytest.mark.parametrize("name", SOURCES)
def test_every_cut_gives_the_same_embeddings(name: str, folder: Path) -> None:
    """Blocks have the names that people know and hold every weight once; the suffix of the prefix is the whole."""
    encoder, examples = load(name, folder)
    blocks = tuple(block.name for block in encoder.blocks)
    assert SOURCES[name].blocks in (None, blocks)
    inside = [id(variable) for block in encoder.blocks for variable in block.variables]
    assert len(inside) == len(set(inside))
    assert {id(variable) for variable in encoder.body.weights if "seed" not in variable.path} == set(inside)
    examples = tf.constant(examples.tolist()) if examples.dtype == object else tf.constant(examples)
    whole = encoder(examples).numpy()
    close = {"atol": 2e-5 * np.abs(whole).max(), "rtol": 1e-4}
    for k in range(len(blocks) + 1):
        prefix, suffix = encoder.cut(k)
        np.testing.assert_allclose(suffix(prefix(examples)), whole, **close, err_msg=f"cut {k}")
    k = len(blocks) // 2
    features = encoder.traced(k, padded=encoder.spec.kind == "text")(encoder.prepare(examples))
    np.testing.assert_allclose(encoder.cut(k)[1](features), whole, **close, err_msg=f"cut {k}, in one graph")


@pytest.mark.parametrize("name", [*TRAINED, "KerasHub mobilenet", "KerasHub vit"])  # layers inside layers
def test_an_encoder_that_is_loaded_again_has_its_key(name: str, folder: Path) -> None:
    """The key of features is the same for the same files, whatever was loaded in between."""
    assert encoder_key(load(name, folder)[0]) == encoder_key(load(name, folder)[0])


@pytest.fixture(scope="module", params=TRAINED)
def trained(request: pytest.FixtureRequest, folder: Path) -> Any:
    """A classifier whose encoder trained for a step or two, which blocks moved, the examples, and a name."""
    encoder, examples = load(request.param, folder)
    data = te.Dataset.from_arrays(examples, [0, 1, 0, 1, 0, 1], validation=0, test=0)
    build = te.build_text_classifier if encoder.spec.kind == "text" else te.build_image_classifier
    model = build(encoder, data.class_names)
    before = [[variable.numpy() for variable in block.variables] for block in encoder.blocks]
    phase = te.Phase(name="one", unfreeze=TRAINED[request.param], epochs=1, learning_rate=1e-2, batch_size=3)
    te.train(model, data, te.Strategy(name="one epoch", phases=(phase,)))
    moved = [
        any(not np.array_equal(a, b.numpy()) for a, b in zip(values, block.variables, strict=True))
        for values, block in zip(before, encoder.blocks, strict=True)
    ]
    return model, moved, examples, request.param


def test_the_blocks_that_train_move(trained: Any) -> None:
    """And no others: what is frozen stays, statistics of batch norm among it."""
    _, moved, _, name = trained
    assert moved == ([True] * len(moved) if TRAINED[name] is True else [False] * (len(moved) - 1) + [True])


def test_the_export_predicts_the_same(trained: Any, tmp_path: Path) -> None:
    """A SavedModel from raw texts, or from images of any size."""
    model, _, examples, name = trained
    if name not in EXPORTED:
        pytest.skip("its preprocessing and layers are those of others that are exported")
    texts = examples.dtype == object
    raw = examples.tolist() if texts else [tf.io.encode_png(each).numpy() for each in examples]
    with nullcontext() if EXPORTED[name] else spared_gate():
        target = te.export(model, tmp_path / "export", examples=raw)
    serve = tf.saved_model.load(str(target)).signatures["serving_default"]
    answers = serve(**{"text" if texts else "image_bytes": tf.constant(raw)})
    expected = np.sort(te.predict(model, examples).probabilities, axis=1)[:, ::-1]
    # Alone or in a batch, a pixel that was resized may be rounded otherwise.
    np.testing.assert_allclose(answers["scores"].numpy(), expected, atol=1e-4 if texts else 1e-3)


def test_a_trained_model_is_saved(trained: Any, folder: Path) -> None:
    """As a `.keras` file, which the next test reads."""
    model, _, examples, name = trained
    model.save(folder / f"{name}.keras")
    examples = examples.astype(str) if examples.dtype == object else examples
    np.savez(folder / f"{name}.npz", examples=examples, expected=model(examples))


def selectors(encoder: te.Encoder) -> Iterator[Any]:
    """Selectors of every form that fit an encoder; those that cut through blocks and layers last."""
    variable = select_variables(encoder.blocks, True)[-1]
    yield from (True, False, 1, [encoder.blocks[0].name], re.split("[/.]", variable_name(variable))[-1])
    for kind in ("norms", "biases"):
        with suppress(ValueError):  # it has none
            yield select_variables(encoder.blocks, kind) and kind


def flags(model: keras.Model) -> Any:
    """All that says what trains, and how: of the model, of its layers, and of every variable of every block."""
    encoder = model.get_layer("encoder")
    layers = [layer for layer in encoder.body._flatten_layers() if layer.weights]
    of_layers = [(layer.trainable, getattr(layer, "runs_fixed", None)) for layer in layers]
    of_blocks = {block.name: [variable.trainable for variable in block.variables] for block in encoder.blocks}
    return len(model.trainable_variables), encoder.trainable, encoder.batch_norm, of_layers, of_blocks


def classifier(name: str, folder: Path) -> tuple[keras.Model, Any]:
    """A model for two classes, and examples for it."""
    encoder, examples = load(name, folder)
    build = te.build_text_classifier if encoder.spec.kind == "text" else te.build_image_classifier
    return build(encoder, ["a", "b"]), examples


def same(values: Iterable[Any], others: Iterable[Any]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(values, others, strict=True))


def random_states(model: keras.Model) -> list[Any]:
    """What dropout draws from, which Keras saves of no layer."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


@pytest.mark.parametrize("name", [*SOURCES, *OTHERS])
def test_what_is_frozen_stays_frozen_in_a_file(name: str, folder: Path, tmp_path: Path) -> None:
    """With the selector that cuts through most; the state of the optimizer comes out of the file too."""
    model, _ = classifier(name, folder)
    encoder = model.get_layer("encoder")
    encoder.unfreeze([*selectors(encoder)][-1], batch_norm="inference")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    for i, variable in enumerate(model.optimizer.variables):
        variable.assign(keras.ops.full(variable.shape, i, variable.dtype))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert flags(again) == flags(model)
    assert same(model.optimizer.variables, again.optimizer.variables)


@pytest.mark.parametrize("name", COPIED)
def test_every_selector_outlasts_every_way_to_copy(name: str, folder: Path) -> None:
    """A config of the encoder or of the model, a clone, and a deep copy train the same variables in the same mode."""
    model, _ = classifier(name, folder)
    encoder = model.get_layer("encoder")
    ways = (keras.models.clone_model, copy.deepcopy, lambda whole: keras.Model.from_config(whole.get_config()))
    for selector, batch_norm, way in zip(selectors(encoder), cycle(("inference", "train")), cycle(ways), strict=False):
        encoder.unfreeze(selector, batch_norm=batch_norm)
        assert flags(way(model)) == flags(model), (selector, way)


@pytest.mark.parametrize("name", COPIED)
def test_training_goes_on_from_a_file(name: str, folder: Path, tmp_path: Path) -> None:
    """The next step gives the weights that it gives to the model that was never saved."""
    model, examples = classifier(name, folder)
    encoder = model.get_layer("encoder")
    encoder.unfreeze([*selectors(encoder)][-1])
    batch = tf.constant(examples.tolist() if examples.dtype == object else examples), np.arange(6) % 2
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(*batch)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for old, new in zip(random_states(model), random_states(again), strict=True):
        new.assign(old)
    before = [weight.numpy() for weight in model.weights]
    for each in (model, again):
        each.train_on_batch(*batch)
    assert not same(before, model.weights)
    assert same(model.weights, again.weights)
    assert same(model.optimizer.variables, again.optimizer.variables)


READ_BACK = """
import json, pathlib, sys
import keras, numpy as np, tfembed as te
differences = {}
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.npz")):
    stored = np.load(file)
    found = keras.models.load_model(file.with_suffix(".keras"))(stored["examples"])
    differences[file.stem] = float(np.abs(found - stored["expected"]).max())
print(json.dumps(differences))
"""


def test_a_fresh_process_needs_only_the_file(folder: Path) -> None:
    """Every file that was saved above is read where neither the sources nor this process are."""
    names = {path.stem for path in folder.glob("*.npz")}
    if not names:
        pytest.skip("the tests that save the files were not run")
    for place in folder.glob("*_files"):
        place.rename(folder / f"gone_{place.name}")
    run = subprocess.run([sys.executable, "-c", READ_BACK, str(folder)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    differences = json.loads(run.stdout.splitlines()[-1])
    assert set(differences) == names
    assert {name: value for name, value in differences.items() if not value < 1e-5} == {}
