"""What works for the encoders that come with tfembed works for one's own: word vectors, Keras models, modules."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder
from tiny_vectors import write_fasttext, write_text, write_word2vec

import tfembed as te
from tfembed.features.key import encoder_key

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
TEXTS = ["The king is a man", "do not hug the tree, woman!", "queen", "e-mail the king", "the tree", "is the queen"]
FRESH = (
    "import sys, keras, numpy as np, tfembed as te\n"
    "te.build_text_classifier  # its import registers what is in the file\n"
    "for folder in sys.argv[1:]:\n"
    "    model = keras.models.load_model(folder + '/model.keras')\n"
    "    examples = np.load(folder + '/examples.npy')\n"
    "    texts = examples.dtype.kind == 'U'\n"
    "    answer = te.predict(model, examples.tolist() if texts else examples).probabilities\n"
    "    np.save(folder + '/answer.npy', answer)\n"
)


def image_model(folder: Path, channels: int = 3) -> str:
    """Two convolutions with batch norm, and a dense layer, in a `.keras` file."""
    image = keras.Input((8, 8, channels))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(image)
    x = keras.layers.Conv2D(4, 3, activation="tanh", name="block_1_conv")(x)
    x = keras.layers.BatchNormalization(name="block_1_norm")(x)
    x = keras.layers.Conv2D(5, 3, activation="tanh", name="block_2_conv")(x)
    x = keras.layers.Dense(3, name="classes")(keras.layers.GlobalAveragePooling2D(name="pooled")(x))
    keras.Model(image, x, name="shapes").save(folder / "shapes.keras")
    return str(folder / "shapes.keras")


def text_model(folder: Path) -> str:
    """Texts to words, vectors and their mean inside of one `.keras` file."""
    words = keras.layers.TextVectorization(output_sequence_length=6, vocabulary=["the", "king", "queen", "tree"])
    text = keras.Input((1,), dtype="string")
    x = keras.layers.Embedding(6, 5, name="embeddings")(words(text))
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(4, activation="tanh", name="layer_1_mix")(x))
    keras.Model(text, x, name="letters").save(folder / "letters.keras")
    return str(folder / "letters.keras")


def module(folder: Path, encoder: te.Encoder) -> str:
    return str(te.export_module(encoder, folder / "module"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    make: Callable[[Path], str]
    kind: str = "text"
    options: dict[str, Any] = field(default_factory=dict)
    blocks: tuple[str, ...] = ("embeddings",)


SOURCES = {
    "GloVe": Source(make=lambda folder: f"glove:{write_text(folder / 'words.txt')}"),
    "Word2Vec, max": Source(
        make=lambda folder: f"word2vec:{write_word2vec(folder / 'words.bin.gz')}", options={"pooling": "max"}
    ),
    "fastText, sif": Source(
        make=lambda folder: f"fasttext:{write_fasttext(folder / 'words.bin')}", options={"pooling": "sif"}
    ),
    "a model of images": Source(
        make=image_model, kind="image", options={"output": "pooled"}, blocks=("block_1", "block_2")
    ),
    "a model of grey images": Source(
        make=lambda folder: image_model(folder, 1), kind="image", blocks=("block_1", "block_2", "classes")
    ),
    "a model of texts": Source(make=text_model, blocks=("embeddings", "layer_1")),
    "a module of images": Source(
        make=lambda folder: module(folder, tiny_image_encoder()),
        kind="image",
        blocks=("block_1", "block_2", "block_3"),
    ),
    "a module of texts": Source(
        make=lambda folder: module(folder, tiny_text_encoder()), blocks=("embeddings", "layer_0", "layer_1")
    ),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Source:
    keras.utils.set_random_seed(0)
    return SOURCES[request.param]


@pytest.fixture
def encoder(source: Source, tmp_path: Path) -> te.Encoder:
    """The encoder of a source, whose files are gone by now."""
    return load(source, tmp_path)


def load(source: Source, parent: Path) -> te.Encoder:
    folder = parent / "source"
    folder.mkdir(parents=True)
    handle = source.make(folder)
    encoder = te.load_encoder(handle, **source.options)
    if not Path(handle).is_dir():
        shutil.rmtree(folder)
    return encoder


def examples_for(source: Source) -> Any:
    return TEXTS if source.kind == "text" else pixels(6)


def dataset(source: Source) -> te.Dataset:
    return te.Dataset.from_arrays(examples_for(source), [0, 1] * 3, ["a", "b"], validation=0, test=0)


def build(encoder: te.Encoder) -> keras.Model:
    make = te.build_text_classifier if encoder.spec.kind == "text" else te.build_image_classifier
    return make(encoder, ["a", "b"])


def test_blocks_and_cuts(source: Source, encoder: te.Encoder) -> None:
    """Blocks have names that people know; at each cut the suffix of the prefix is the whole; the key is lasting."""
    examples = examples_for(source)
    assert tuple(block.name for block in encoder.blocks) == source.blocks
    assert encoder.trainable_variables == []
    whole = encoder(examples).numpy()
    assert whole.shape == (6, encoder.dim)
    assert np.ptp(whole, axis=0).max() > 1e-3
    for k in range(len(encoder.blocks) + 1):
        prefix, suffix = encoder.cut(k)
        np.testing.assert_allclose(suffix(prefix(examples)), whole, atol=1e-5, err_msg=f"cut {k}")


def test_the_key_is_lasting(source: Source, tmp_path: Path) -> None:
    """The same encoder loaded twice has the same key, so that features are found again."""
    handle = source.make(tmp_path)
    first, second = (te.load_encoder(handle, **source.options) for _ in range(2))
    assert encoder_key(first) == encoder_key(second)
    second.blocks[0].variables[0].assign(second.blocks[0].variables[0].numpy() + 1.0)
    assert encoder_key(first) != encoder_key(second)


def test_training_moves_what_is_unfrozen(source: Source, encoder: te.Encoder) -> None:
    """A phase moves the top block, and no other; the cut is where the frozen blocks end."""
    model, data = build(encoder), dataset(source)
    # seeds of dropout are no weights: a module's belong to its first block
    weights = [[v for v in block.variables if tf.as_dtype(v.dtype).is_floating] for block in encoder.blocks]
    before = [[variable.numpy() for variable in block] for block in weights]
    phase = te.Phase(name="top", unfreeze=1, epochs=3, learning_rate=0.05)
    result = te.train(model, data, te.Strategy(name="top", phases=(phase,)))
    assert result.phases[0].not_cut is None
    assert result.phases[0].num_frozen == len(encoder.blocks) - 1
    after = [[variable.numpy() for variable in block] for block in weights]
    moved = [
        any(not np.array_equal(a, b) for a, b in zip(old, new, strict=True))
        for old, new in zip(before, after, strict=True)
    ]
    assert moved == [False] * (len(encoder.blocks) - 1) + [True]


def test_saved_models_need_no_original(tmp_path: Path) -> None:
    """A `.keras` file predicts the same in a fresh process, where there is nothing else."""
    expected = {}
    for i, (name, source) in enumerate(SOURCES.items()):
        keras.utils.set_random_seed(0)
        folder, examples = tmp_path / str(i), examples_for(source)
        encoder = load(source, folder)
        model = build(encoder)
        encoder.blocks[-1].variables[0].assign(encoder.blocks[-1].variables[0].numpy() * 1.5)
        expected[name] = te.predict(model, examples).probabilities
        model.save(folder / "model.keras")
        shutil.rmtree(folder / "source", ignore_errors=True)
        np.save(folder / "examples.npy", np.array(examples))
    folders = [str(tmp_path / str(i)) for i in range(len(SOURCES))]
    run = subprocess.run([sys.executable, "-c", FRESH, *folders], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    for folder, (name, wanted) in zip(folders, expected.items(), strict=True):
        np.testing.assert_allclose(np.load(f"{folder}/answer.npy"), wanted, atol=1e-5, err_msg=name)


def test_exports_pass_the_gate(source: Source, encoder: te.Encoder, tmp_path: Path) -> None:
    """What is exported predicts the same without tfembed, with ops that TensorFlow Serving has."""
    model, examples = build(encoder), examples_for(source)
    folder = te.export(model, tmp_path / "models", examples=examples)
    assert folder.name == "1"


def test_modules_are_what_the_encoder_was(source: Source, encoder: te.Encoder, tmp_path: Path) -> None:
    """`export_module` and back: the same embeddings and blocks, cut and trained as before."""
    examples = examples_for(source)
    again = te.load_encoder(te.export_module(encoder, tmp_path / "again"))
    np.testing.assert_allclose(again(examples), encoder(examples), atol=1e-5)
    assert [block.name for block in again.blocks] == [block.name for block in encoder.blocks]
    whole = again(examples)
    for k in range(len(again.blocks) + 1):
        prefix, suffix = again.cut(k)
        np.testing.assert_allclose(suffix(prefix(examples)), whole, atol=1e-5, err_msg=f"cut {k}")
    again.unfreeze(1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(again(examples, training=True)))
    gradients = tape.gradient(loss, [variable.value for variable in again.trainable_variables])
    assert gradients
    assert all(np.abs(tf.convert_to_tensor(gradient)).max() > 0 for gradient in gradients)
