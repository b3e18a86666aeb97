"""What every source of encoders must be able to do: blocks, cuts, training, files, exports, and keys of features."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_presets import TEXTS, copy_folder, write_preset

import tfembed as te
from tfembed.features.key import encoder_key

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SENTENCES = ["where is my card", "again and again", "The fox, isn't it? Ça va", "quick brown fox", "my cafe", "naive"]
LAYERS = ["embeddings", "layer_0", "layer_1"]
# The blocks of each, from input to output.
PRESETS = {
    "bert": LAYERS,
    "distil_bert": LAYERS,
    "roberta": LAYERS,
    "albert": ["embeddings", "group_0_inner_layer_0"],
    "deberta_v3": LAYERS,
    "electra": LAYERS,
    "xlm_roberta": LAYERS,
    "resnet": ["stem", "stack0_block0", "stack1_block0", "stack1_block1"],
    "vgg": ["block1", "block2"],
    "mobilenet": ["stem", "block_0", "block_1", "block_2", "block_3"],
    "efficientnet": ["stem", "block1", "block2", "top_bn"],
    "densenet": ["stem", "stack1_block1", "stack2_block1", "stack2_block2"],
    "vit": ["embeddings", "block_1", "block_2"],
    "dinov2": LAYERS,
}
FOLDERS = {
    "bert": LAYERS,
    "distilbert": LAYERS,
    "electra": LAYERS,
    "mpnet": LAYERS,
    "roberta": LAYERS,
    "xlm_roberta": LAYERS,
    "albert": LAYERS,
    "deberta_v3": LAYERS,
    "sentences_cls_dense": [*LAYERS, "dense_0"],
    "vit": LAYERS,
    "dinov2_registers": LAYERS,
}
SOURCES = [*(f"KerasHub {name}" for name in PRESETS), *(f"transformers {name}" for name in FOLDERS)]
# Training and saving take seconds: of each kind of body and of each kind of preprocessing, one.
TRAINED = [
    "KerasHub albert",
    "KerasHub deberta_v3",
    "KerasHub electra",
    "KerasHub efficientnet",
    "KerasHub vit",
    "KerasHub dinov2",
    "transformers mpnet",
    "transformers roberta",
    "transformers sentences_cls_dense",
    "transformers dinov2_registers",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sources")


@pytest.fixture(scope="module", params=SOURCES)
def source(request, folder):
    """Where a source lies, its blocks, and examples for it."""
    return written(request.param, folder)


def written(source, folder):
    library, name = source.split()
    place = folder / source.replace(" ", "_")
    if not place.exists():
        (write_preset if library == "KerasHub" else copy_folder)(name, place)
    blocks = (PRESETS if library == "KerasHub" else FOLDERS)[name]
    return (
        place,
        blocks,
        examples_for(name in TEXTS or (library != "KerasHub" and name not in ("vit", "dinov2_registers"))),
    )


def examples_for(is_text):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 20, 28, 3)).astype("uint8")
    return np.array(SENTENCES, object) if is_text else pictures


@pytest.fixture(scope="module")
def encoder(source):
    return te.load_encoder(source[0])


def test_blocks_are_named_and_total(source, encoder):
    """Blocks from input to output, under names that a person recognises; each weight of the body is in one."""
    assert [block.name for block in encoder.blocks] == source[1]
    inside = [id(variable) for block in encoder.blocks for variable in block.variables]
    weights = [weight for weight in encoder.body.weights if "seed_generator" not in weight.path]
    assert len(inside) == len(set(inside))
    assert set(inside) == {id(weight) for weight in weights}


def test_the_cut_equals_the_whole(source, encoder):
    """At every cut the suffix of the prefix gives what the encoder gives, in one graph too."""
    examples = tf.constant(source[2].tolist()) if source[2].dtype == object else tf.constant(source[2])
    whole = encoder(examples).numpy()
    close = {"atol": 2e-5 * np.abs(whole).max(), "rtol": 1e-4}
    prepared = encoder.prepare(examples)
    for k in range(len(encoder.blocks) + 1):
        prefix, suffix = encoder.cut(k)
        np.testing.assert_allclose(suffix(prefix(examples)), whole, **close, err_msg=f"cut {k}")
        features = encoder.traced(k, padded=encoder.spec.kind == "text")(prepared)
        np.testing.assert_allclose(suffix(features), whole, **close, err_msg=f"cut {k}, traced")


def test_an_encoder_that_is_loaded_again_has_its_key(source, encoder):
    """The key of features is the same for the same files, whatever was loaded in between."""
    assert encoder_key(te.load_encoder(source[0])) == encoder_key(encoder)


@pytest.fixture(scope="module", params=TRAINED)
def trained(request, folder):
    """A classifier whose encoder was trained whole for a step or two, which weights moved, the examples, and a name."""
    place, _, examples = written(request.param, folder)
    encoder = te.load_encoder(place)
    data = te.Dataset.from_arrays(examples, [0, 1, 0, 1, 0, 1], validation=0, test=0)
    build = te.build_text_classifier if encoder.spec.kind == "text" else te.build_image_classifier
    model = build(encoder, data.class_names)
    before = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    te.train(
        model, data, te.Strategy(name="all", phases=(te.Phase(name="all", unfreeze=True, epochs=2, batch_size=3),))
    )
    after = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    return model, moved, examples, place.name


def test_every_block_trains(trained):
    """Unfrozen whole, weights of every block move."""
    model, moved, *_ = trained
    flags = iter(moved)
    for block in model.get_layer("encoder").blocks:
        assert sum(next(flags) for _ in block.variables) > 0, block.name


def test_what_is_saved_predicts_the_same(trained, folder):
    """A `.keras` file read again gives the predictions of the model in memory; the next test reads it elsewhere."""
    model, _, examples, name = trained
    model.save(folder / f"{name}.keras")
    expected = te.predict(model, examples).probabilities
    again = keras.models.load_model(folder / f"{name}.keras")
    np.testing.assert_allclose(te.predict(again, examples).probabilities, expected, atol=1e-5)
    np.savez(
        folder / f"{name}.npz", examples=examples.astype(str) if examples.dtype == object else examples, p=expected
    )


def test_the_export_predicts_the_same(trained, folder, monkeypatch):
    """A SavedModel from raw texts or encoded images; the gate, which takes seconds, is for two of them only."""
    model, _, examples, name = trained
    if name not in ("KerasHub_deberta_v3", "transformers_dinov2_registers"):
        monkeypatch.setattr(importlib.import_module("tfembed.export.exporting"), "check", lambda *_: None)
    texts = examples.dtype == object
    raw = examples.tolist() if texts else [tf.io.encode_png(each).numpy() for each in examples]
    target = te.export(model, folder / f"{name}_export", examples=raw)
    serve = tf.saved_model.load(str(target)).signatures["serving_default"]
    answers = serve(**{"text" if texts else "image_bytes": tf.constant(raw)})
    expected = np.sort(te.predict(model, examples).probabilities, axis=1)[:, ::-1]
    # Alone or in a batch, a pixel that was resized may be rounded otherwise.
    np.testing.assert_allclose(answers["scores"].numpy(), expected, atol=1e-4 if texts else 1e-3)


def test_a_fresh_process_needs_only_the_file(folder):
    """Every file that was saved above is read where neither the sources nor this process are."""
    names = sorted(path.stem for path in folder.glob("*.npz"))
    if not names:
        pytest.skip("the tests that save the files were not run")
    for place in [each for each in folder.iterdir() if (each / "config.json").exists()]:
        place.rename(folder / f"{place.name}_gone")
    program = f"""
import keras, numpy as np, tfembed as te
te.Encoder
differences = {{}}
for name in {names!r}:
    stored = np.load({str(folder)!r} + f"/{{name}}.npz")
    examples = stored["examples"]
    found = te.predict(keras.models.load_model({str(folder)!r} + f"/{{name}}.keras"), examples).probabilities
    differences[name] = float(np.abs(found - stored["p"]).max())
import json
print(json.dumps(differences))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
    assert run.returncode == 0, run.stderr[-2000:]
    differences = json.loads(run.stdout.splitlines()[-1])
    assert {name: value for name, value in differences.items() if not value < 1e-5} == {}
    assert set(differences) == set(names)
    assert Path(folder).exists()
