"""The key of features: everything that their values depend on, the same in every process."""

import hashlib
import json
from dataclasses import asdict

import keras
import numpy as np

from tfembed.data import fingerprint
from tfembed.encoders.composition import consists_of, hash_array, settings_of
from tfembed.encoders.encoder import Encoder

# Goes up with every change of what features are or how they lie on disk.
_FORMAT = 2
_PROSE = (
    *("licence", "source", "good_for", "name", "handle", "max_length", "dim", "parameters", "weights", "compute"),
    *("both", "twin"),
)


def feature_key(encoder: Encoder, examples: np.ndarray, cut: int) -> str:
    """A name for the features of examples at a cut: 40 hexadecimal digits.

    It covers the examples' bytes in their order, the encoder's spec, sequence length and compute type, its
    preprocessing with weights and vocabulary, its graph, the weights in front of the cut, the cut, and the format of
    the store. Weights behind the cut do not count, nor do names and flags.

    Of a layer that cannot say what it consists of, such as one around a Python function, features are known by the
    object itself: they are found again in this process only.

    Args:
        encoder: The encoder as it is now.
        examples: As in `Split.examples`.
        cut: Number of frozen blocks.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder, images = load_encoder("glyphs"), np.zeros([2, 8, 8], "uint8")
        >>> feature_key(encoder, images, 1) == feature_key(encoder, images, 2)
        False
    """
    blocks = encoder.blocks[:cut]
    parts = {
        "format": _FORMAT,
        "spec": {name: value for name, value in asdict(encoder.spec).items() if name not in _PROSE},
        "compute": encoder.compute,
        "sequence_length": encoder.sequence_length,
        "preprocessing": consists_of(encoder.preprocessing, with_weights=True),
        "body": consists_of(encoder.body, with_weights=False),
        "cut": cut,
        "blocks": [[block.name, [hash_array(variable) for variable in block.variables]] for block in blocks],
        "examples": fingerprint(examples),
    }
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=20).hexdigest()


def encoder_key(encoder: Encoder) -> str:
    """A name for an encoder as it is now: 40 hexadecimal digits, the same in every process.

    It covers what `feature_key` covers of it, all weights included, and not the names that Keras numbers as layers are
    made: the same encoder loaded twice has the same key.

    Args:
        encoder: The encoder as it is now.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder_key(load_encoder("glyphs")) == encoder_key(load_encoder("glyphs"))
        True
    """
    layers = encoder.body._flatten_layers()
    models = [layer for layer in layers if isinstance(layer, keras.Model)]
    outer = {id(encoder.body), *(id(layer) for model in models for layer in model.layers)}
    plain = [layer for layer in layers if not isinstance(layer, keras.Model)]
    parts = {
        "spec": {name: value for name, value in asdict(encoder.spec).items() if name not in _PROSE},
        "compute": encoder.compute,
        "sequence_length": encoder.sequence_length,
        "preprocessing": consists_of(encoder.preprocessing, with_weights=True),
        "body": [settings_of(layer, inside=id(layer) not in outer) for layer in plain],
        "blocks": [[hash_array(variable) for variable in block.variables] for block in encoder.blocks],
    }
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=20).hexdigest()
