"""The key of features: everything that their values depend on, the same in every process."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.data import fingerprint
from tfembed.encoders.composition import hash_array, settings_of
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.python_state import own_code

# Goes up with every change of what features are or how they lie on disk.
_FORMAT = 2
_PROSE = (
    *("licence", "source", "good_for", "name", "handle", "max_length", "dim", "parameters", "weights", "compute"),
    *("both", "twin", "signature"),  # the last is in the name of the body
)


def feature_key(encoder: Encoder, examples: np.ndarray, cut: int) -> str:
    """Name the features of examples at a cut: 40 hexadecimal digits.

    The key covers the examples' bytes in their order, the encoder's spec, sequence length and compute type, its
    preprocessing with weights and vocabulary, the graph in front of the cut with its constants and lookup tables, the
    code of both, the weights there, the cut, and the format of the store. What is behind the cut does not count, nor do
    flags.

    Features of an encoder that calls Python code are known by the object itself: they are found again in this process
    only, until it is changed.

    Args:
        encoder: The encoder as it is now.
        examples: As in `Split.examples`.
        cut: Number of frozen blocks.

    Raises:
        CutError: If the encoder cannot be cut there.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder, images = load_encoder("glyphs"), np.zeros([2, 8, 8], "uint8")
        >>> feature_key(encoder, images, 1) == feature_key(encoder, images, 2)
        False
    """
    blocks = encoder.blocks[:cut]
    is_raw = examples.dtype.kind in "OUST"  # texts, or images that are yet to be decoded
    form = tf.TensorSpec([None], tf.string) if is_raw else tf.TensorSpec([None, *examples.shape[1:]], examples.dtype)
    parts = _described(encoder, cut, [form]) | {
        "format": _FORMAT,
        "cut": cut,
        # Stored features are called after layers at the cut, which Keras numbers as they are made.
        "names": [[block.name for block in blocks], encoder.parts.crossing_names(cut) if cut else []],
        "examples": fingerprint(examples),
    }
    return _hash(parts)


def encoder_key(encoder: Encoder) -> str:
    """Name an encoder as it is now: 40 hexadecimal digits, the same in every process.

    The key covers what `feature_key` covers of the whole encoder, and what may act in training alone, such as the rate
    of dropout and the code of own layers. It does not cover the names that Keras numbers as layers are made: the same
    encoder loaded twice has the same key.

    Args:
        encoder: The encoder as it is now.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder_key(load_encoder("glyphs")) == encoder_key(load_encoder("glyphs"))
        True
    """
    raw = tf.TensorSpec([None], tf.string)  # texts, or encoded images: what pixels go through is behind the decoding
    return _hash(_described(encoder, len(encoder.blocks), [raw]) | _in_training(encoder))


def _in_training(encoder: Encoder) -> dict[str, Any]:
    """Describe what no graph of inference shows, as JSON values."""
    return {"settings": settings_of(encoder.body), "code": own_code(encoder.body)}


def _described(encoder: Encoder, cut: int, forms: list[tf.TensorSpec]) -> dict[str, Any]:
    """Describe all that an encoder computes in front of a cut, as JSON values."""
    return {
        "spec": {name: value for name, value in asdict(encoder.spec).items() if name not in _PROSE},
        "compute": encoder.compute,
        "sequence_length": encoder.sequence_length,
        "preprocessing": encoder.preparation_fingerprint(forms),
        "body": encoder.body_fingerprint(cut) if cut else None,
        "weights": [[hash_array(variable) for variable in block.variables] for block in encoder.blocks[:cut]],
    }


def _hash(parts: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=20).hexdigest()
