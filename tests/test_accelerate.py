"""Faster training where a device is made for it: in bfloat16, and compiled by XLA."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_train import data, model_of
from tiny_encoders import pixels, tiny_image_encoder

import tfembed as te
from tfembed.encoders.encoder import Encoder, Suffix
from tfembed.encoders.mixed_precision import mixed_precision
from tfembed.predict import parts_of

STRATEGY = te.Strategy(name="two", phases=(te.Phase(name="tune", unfreeze=2, epochs=2, learning_rate=1e-2),))


@pytest.fixture
def computed_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The types that each layer of convolution was given, by its name."""
    seen: dict[str, set[str]] = {}
    call = keras.layers.Conv2D.call

    def spy(self: Any, inputs: Any) -> Any:
        seen.setdefault(self.name, set()).add(keras.backend.standardize_dtype(inputs.dtype))
        return call(self, inputs)

    monkeypatch.setattr(keras.layers.Conv2D, "call", spy)
    return seen


def _trained(**how: bool) -> tuple[Encoder, dict[str, np.ndarray]]:
    model = model_of(dropout=0.0)
    te.train(model, data(), te.accelerate(STRATEGY, **how))
    encoder = parts_of(model).encoder
    return encoder, {v.path: v.numpy() for block in encoder.blocks for v in block.variables}


def test_mixed_precision_trains_in_bfloat16(computed_in: dict[str, set[str]]) -> None:
    """What is behind the cut computes in bfloat16, weights stay float32, and they come close to those of float32."""
    _, exact = _trained()
    assert set().union(*computed_in.values()) == {"float32"}
    computed_in.clear()
    encoder, low = _trained(mixed_precision=True)
    assert computed_in["block_2_conv"] >= {"bfloat16"}
    assert computed_in.get("block_1_conv", {"float32"}) == {"float32"}
    assert {value.dtype.name for value in low.values()} == {"float32"}
    assert any(np.any(low[path] != exact[path]) for path in exact)
    for path in exact:
        np.testing.assert_allclose(low[path], exact[path], atol=0.05, err_msg=path)
    computed_in.clear()
    encoder(pixels(2))
    assert set().union(*computed_in.values()) == {"float32"}


def test_layers_compute_as_before_after_a_failure() -> None:
    """A phase that ends with an error leaves no layer in bfloat16."""
    encoder = tiny_image_encoder()
    found = []

    def fail() -> None:
        with mixed_precision(encoder, True):
            found.extend(layer.compute_dtype for layer in encoder.body.layers)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert set(found) == {"bfloat16"}
    assert {layer.compute_dtype for layer in encoder.body.layers} == {"float32"}


def test_a_saved_model_refuses_mixed_precision() -> None:
    """Its types were settled when it was written; the message says what to do."""
    with pytest.raises(ValueError, match=r"mixed_precision=True: encoder 'glyphs' is a SavedModel.*Leave it out"):
        te.train(model_of("glyphs"), data(), te.accelerate(te.lp_ft(1, epochs=1), mixed_precision=True))


@pytest.mark.parametrize("name", ["tiny", "glyphs"])
def test_what_trains_is_compiled(name: str) -> None:
    """Keras layers and a SavedModel behind a cut: the same result and gradients from XLA."""
    encoder = tiny_image_encoder(dropout=0.0) if name == "tiny" else te.load_encoder(name)
    encoder.unfreeze(1)
    features = encoder.cut(encoder.num_frozen)[0](pixels(4))
    found = []
    for jit_compile in (False, True):
        suffix = Suffix(encoder, encoder.num_frozen, jit_compile)

        @tf.function
        def step(given: Any, suffix: Any = suffix) -> Any:
            with tf.GradientTape() as tape:
                embedding = suffix(given, training=True)
                loss = tf.reduce_sum(embedding**2)
            return embedding, tape.gradient(loss, [v.value for v in encoder.trainable_variables])

        nodes = step.get_concrete_function(features).graph.as_graph_def().node
        assert any(node.attr["_XlaMustCompile"].b for node in nodes) == jit_compile
        found.append(tf.nest.flatten(step(features)))
    assert len(found[0]) > 2
    for plain, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-4)


def test_training_compiled_comes_to_the_same_weights() -> None:
    """Without dropout, what XLA compiles is trained as what it does not."""
    (_, plain), (_, compiled) = _trained(), _trained(jit_compile=True)
    for path in plain:
        np.testing.assert_allclose(compiled[path], plain[path], atol=2e-3, err_msg=path)


def test_strategies_keep_what_they_ask_for() -> None:
    """A phase that asks for it does so without the option, also after a way through JSON."""
    asked = te.accelerate(te.lp_ft(1), jit_compile=True)
    again = te.accelerate(te.strategy_from_json(asked.to_json()), mixed_precision=True)
    assert [(phase.jit_compile, phase.mixed_precision) for phase in again.phases] == [
        (False, False),
        (True, True),
        (False, False),
    ]
