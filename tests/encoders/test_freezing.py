"""What trains inside an encoder, saved by position and put back."""

from pathlib import Path

import keras
import pytest
from tiny_encoders import tiny_image_encoder
from tiny_presets import write_preset

import tfembed as te
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.freezing import trained_as_before, trained_positions
from tfembed.encoders.low_rank import low_rank

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def flags(encoder: Encoder) -> list[bool]:
    layers = [layer for layer in encoder._flatten_layers() if layer.weights]
    return [layer.trainable for layer in layers] + [v.trainable for v in encoder.weights]


def _freeze_and_fail(encoder: Encoder) -> None:
    encoder.unfreeze(1, batch_norm="train")
    encoder.unfreeze(False)
    encoder.unfreeze(["missing"])


def test_what_trained_before_trains_again_in_the_same_mode() -> None:
    """After any change in between, and after an error."""
    for encoder, selector in ((tiny_image_encoder(), "gamma"), (te.load_encoder("glyphs"), 2)):
        encoder.unfreeze(selector, batch_norm="inference")
        before = flags(encoder), encoder.parts.trains_batch_norm
        fixed = getattr(encoder.body, "fixed_statistics", None)
        with pytest.raises(ValueError, match="no blocks"), trained_as_before(encoder):
            _freeze_and_fail(encoder)
        assert (flags(encoder), encoder.parts.trains_batch_norm) == before
        assert encoder.batch_norm == "inference"
        assert getattr(encoder.body, "fixed_statistics", None) is fixed


def test_an_encoder_without_weights_is_frozen_again_too() -> None:
    """Only the flag of the encoder itself says so."""
    image = keras.Input((8, 8, 3))
    encoder = te.load_encoder(keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)))
    with trained_as_before(encoder):
        encoder.unfreeze(True)
    assert not encoder.trainable


def test_a_layer_that_has_less_than_its_config_says_is_refused() -> None:
    """As another version of a library may make it; the message names what to do."""
    encoder = tiny_image_encoder()
    encoder.unfreeze(True)
    config = encoder.get_config()
    config["trained"] = {**config["trained"], "variables": [99]}
    with pytest.raises(
        ValueError, match=r"number 99 of its variables trains, but it has 15\. Load it with the versions"
    ):
        Encoder.from_config(config)


def test_a_config_that_does_not_say_what_trains_is_of_a_frozen_encoder() -> None:
    """As files of earlier versions, whose flags are not known: nothing trains unasked."""
    encoder = tiny_image_encoder()
    encoder.unfreeze(1)
    config = encoder.get_config()
    del config["trained"]
    assert not Encoder.from_config(config).trainable_variables


def test_additions_of_a_low_rank_do_not_shift_what_trains(tmp_path: Path) -> None:
    """Keras saves weights with the additions added to them: the copy has none, and no other weight trains instead."""
    write_preset("bert", tmp_path / "bert")
    encoder = te.load_encoder(str(tmp_path / "bert"))
    encoder.unfreeze(1)
    expected = flags(encoder)
    with low_rank(encoder, 2):
        copied = Encoder.from_config(encoder.get_config())
        assert encoder.trainable_variables
        assert not copied.trainable_variables
        assert len(copied.weights) < len(encoder.weights)
    assert flags(encoder) == expected


def test_positions_are_of_layers_with_weights() -> None:
    """Flags of layers inside layers and of single variables are seen; an activation has none."""
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Activation("tanh")])
    model = keras.Sequential([inner, keras.layers.Dense(1)])
    inner.trainable = False
    model.layers[1].bias.trainable = False
    assert trained_positions(model) == {"layers": [0, 3], "variables": [2]}
