"""Random values of what users put together: heads, phases, encoders, and what of them trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_train import CLASSES, data, moved, phase, snapshot
from tiny_encoders import pixels

import tfembed as te
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.spec import EncoderSpec
from tfembed.features import FeatureCache
from tfembed.head_layers import build_head
from tfembed.predict import parts_of
from tfembed.running import run_phase

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed: pip install 'tfembed[dev]'")
st = pytest.importorskip("hypothesis.strategies", reason="hypothesis is not installed: pip install 'tfembed[dev]'")


def bounded(count):
    """So many examples, always the same ones, however long they take."""
    return hypothesis.settings(max_examples=count, derandomize=True, deadline=None, database=None)


def heads():
    activations, normalizations = st.sampled_from(["relu", "tanh", "gelu"]), st.sampled_from([None, "batch", "layer"])
    dropouts = st.sampled_from([0.0, 0.3])
    mlp = st.builds(
        te.Head,
        kind=st.just("mlp"),
        units=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
        activation=activations,
        normalization=normalizations,
        dropout=dropouts,
    )
    linear = st.builds(te.Head, kind=st.just("linear"), dropout=dropouts)
    return mlp | linear | st.builds(te.Head, kind=st.just("cosine"), scale=st.floats(0.5, 40))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # Keras, saving
@bounded(8)
@hypothesis.given(head=heads(), dim=st.integers(1, 7), num_outputs=st.integers(1, 4))
def test_any_head_is_saved_and_read(tmp_path_factory, head, dim, num_outputs):
    """A head of any value says the same once it is read back, and drops nothing when it predicts."""
    built = build_head(head, dim, num_outputs)
    rng = np.random.default_rng(0)
    built.set_weights([rng.uniform(0.1, 1, value.shape).astype(value.dtype) for value in built.get_weights()])
    file, inputs = tmp_path_factory.mktemp("heads") / "head.keras", rng.normal(size=(5, dim)).astype("float32")
    logits = built(inputs, training=False).numpy()
    assert logits.shape == (5, num_outputs)
    np.testing.assert_array_equal(built(inputs, training=False), logits)
    built.save(file)
    read = keras.models.load_model(file)
    np.testing.assert_array_equal(read(inputs, training=False), logits)
    assert [layer.get_config() for layer in read.layers] == [layer.get_config() for layer in built.layers]


def phases():
    names, share = st.text(max_size=8), st.floats(0, 0.99)
    selectors = (
        st.booleans()
        | st.integers(0, 9)
        | st.lists(st.text(min_size=1, max_size=5) | st.integers(-3, 9), min_size=1, max_size=3).map(tuple)
        | st.text(min_size=1, max_size=5)
    )
    numbers = {name: st.integers(1, 99) for name in ("epochs", "steps", "batch_size", "patience")}
    numbers |= {name: st.floats(1e-9, 1e9) for name in ("learning_rate", "temperature")}
    numbers |= {name: st.floats(0, 1e9) for name in ("weight_decay", "l2_sp")}
    flags = {name: st.booleans() for name in ("solve", "mixed_precision", "jit_compile")}
    return st.builds(
        te.Phase,
        name=names,
        unfreeze=selectors,
        layer_decay=st.floats(0.01, 1),
        warmup=share,
        label_smoothing=share,
        **numbers,
        **flags,
    )


@bounded(25)
@hypothesis.given(name=st.text(max_size=8), parts=st.lists(phases(), min_size=1, max_size=3).map(tuple))
def test_any_strategy_survives_json(name, parts):
    """What to_json writes is read back as the same value, to the last digit and type."""
    strategy = te.Strategy(name=name, phases=parts)
    read = te.strategy_from_json(strategy.to_json())
    assert read == strategy
    assert repr(read) == repr(strategy)  # True is not 1
    assert hash(read) == hash(strategy)


def random_encoder(seed):
    """Blocks of dense layers, each of the last value and perhaps an earlier one, some with a norm."""
    rng, layers = np.random.default_rng(seed), keras.layers
    image = keras.Input((8, 8, 3), name="image")
    values = [layers.Flatten()(layers.Rescaling(1 / 255)(image))]  # so that no tanh is at its end
    for i in range(int(rng.integers(2, 5))):
        earlier, kind = values[int(rng.integers(0, i + 1))], rng.choice(["joined", "added", "last"])
        x = values[-1]
        if kind == "joined" and earlier is not x:
            x = layers.Concatenate()([x, earlier])
        x = layers.Dense(4, name=f"block_{i}_dense")(x)
        if rng.random() < 0.5:
            x = layers.LayerNormalization(name=f"block_{i}_norm")(x)
        x = layers.Activation("tanh")(x)
        if kind == "added" and i:
            x = layers.Add()([x, values[int(rng.integers(1, i + 1))]])
        values.append(x)
    body = keras.Model(image, layers.Concatenate()([values[-1], values[1]]), name="random")
    for weight in body.weights:
        weight.assign(rng.normal(0.05, 0.7, weight.shape) / np.sqrt(weight.shape[0]))
    spec = EncoderSpec(name="random", handle=f"random{seed}", kind="image", image_size=(8, 8))
    encoder = Encoder(spec, body, ImagePreprocessing((8, 8), scale=1.0))
    encoder.unfreeze(False)
    return encoder


def gradients(run, variables):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(run()) * tf.range(1.0, 9.0))
    return [np.asarray(each) for each in tape.gradient(loss, [v.value for v in variables])]


@pytest.mark.parametrize("seed", range(4))
def test_a_random_encoder_is_cut_everywhere(seed):
    """At each cut, embeddings and the gradients of what is behind it are those of the whole."""
    encoder, images = random_encoder(seed), pixels(5)
    encoder.unfreeze(True)
    for cut in range(len(encoder.blocks)):
        prefix, suffix = encoder.cut(cut)
        features = prefix(images)
        np.testing.assert_allclose(suffix(features), encoder(images), atol=1e-6)
        behind = [variable for block in encoder.blocks[cut:] for variable in block.variables if variable.trainable]
        whole = gradients(lambda: encoder(images), behind)
        for ours, theirs in zip(
            gradients(lambda suffix=suffix, features=features: suffix(features), behind), whole, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert all(np.abs(each).max() > 0 for each in whole)


@pytest.mark.parametrize("seed", range(3))
def test_only_what_is_selected_of_a_random_encoder_moves(seed):
    """After a phase with any selector, what it names has moved, and everything else is the same, bit for bit."""
    rng, encoder = np.random.default_rng(100 + seed), random_encoder(seed)
    blocks = [block.name for block in encoder.blocks]
    names = {v.path: (block.name, v.path) for block in encoder.blocks for v in block.variables}
    some = tuple(rng.choice(blocks, size=int(rng.integers(1, len(blocks))), replace=False).tolist())
    top = int(rng.integers(1, len(blocks) + 1))
    selections = [
        (some, lambda block, path: block in some),
        (top, lambda block, path: block in blocks[-top:]),
        ("biases", lambda block, path: path.endswith(("bias", "beta"))),
        (r"block_[02].*kernel", lambda block, path: block in ("block_0", "block_2") and path.endswith("kernel")),
        (False, lambda block, path: False),
    ]
    model = te.build_image_classifier(encoder, CLASSES)
    for selector, is_chosen in selections:
        before = snapshot(encoder)
        run_phase(parts_of(model), data(), phase(selector, epochs=1), seed=seed, balanced=False, cache=FeatureCache())
        changes = moved(before, snapshot(encoder))
        found = {
            v.path for b in encoder.blocks for v, is_moved in zip(b.variables, changes[b.name], strict=True) if is_moved
        }
        assert found == {path for path, (block, _) in names.items() if is_chosen(block, path)}, selector
