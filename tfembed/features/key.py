"""The key of features: everything that their values depend on, the same in every process."""

import hashlib
import json
import tempfile
import uuid
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import xxhash

from tfembed.data import fingerprint
from tfembed.encoders.encoder import Encoder
from tfembed.saved_model.layer import HubLayer

# Goes up with every change of what features are or how they lie on disk.
_FORMAT = 1
_PROSE = ("licence", "source", "good_for", "name", "handle", "max_length", "compute")
# These change when the same layer is made, built, compiled or unfrozen again, and say nothing of what it computes.
_VOLATILE = ("trainable", "build_config", "compile_config", "module")

_own_names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


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
        "preprocessing": _consists_of(encoder.preprocessing, with_weights=True),
        "body": _consists_of(encoder.body, with_weights=False),
        "cut": cut,
        "blocks": [[block.name, [_hash_array(variable) for variable in block.variables]] for block in blocks],
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
    body = encoder.body
    parts = {
        "spec": {name: value for name, value in asdict(encoder.spec).items() if name not in _PROSE},
        "compute": encoder.compute,
        "sequence_length": encoder.sequence_length,
        "preprocessing": _consists_of(encoder.preprocessing, with_weights=True),
        "body": [_settings(layer) for layer in body._flatten_layers() if not isinstance(layer, keras.Model)],
        "blocks": [[_hash_array(variable) for variable in block.variables] for block in encoder.blocks],
    }
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=20).hexdigest()


def _settings(layer: keras.layers.Layer) -> Any:
    """What a layer is told, as JSON values, without its name."""
    if isinstance(layer, HubLayer):
        return layer.fingerprint or _own_name(layer)
    try:
        return [type(layer).__name__, _without_names(_lasting(layer.get_config()))]
    except (NotImplementedError, TypeError, ValueError):
        return _own_name(layer)


def _consists_of(layer: keras.layers.Layer | None, *, with_weights: bool) -> Any:
    """What a layer is made of, as JSON values."""
    if layer is None:
        return None
    weights = [_hash_array(weight) for weight in layer.weights] if with_weights else []
    try:
        if isinstance(layer, HubLayer):
            return [layer.fingerprint or _own_name(layer), weights]
        config = _lasting(keras.saving.serialize_keras_object(layer))
        if with_weights:  # of a graph's layers the names count, since tensors at a cut are called after them
            return [_without_names(config), weights, _assets(layer)]
        return config
    except (NotImplementedError, TypeError, ValueError, OSError):
        return [_own_name(layer), weights]


def _lasting(config: Any) -> Any:
    """A config without what changes when nothing else does, as JSON values."""
    if isinstance(config, dict):
        return {str(name): _lasting(value) for name, value in config.items() if name not in _VOLATILE}
    if isinstance(config, list | tuple):
        return [_lasting(value) for value in config]
    json.dumps(config)  # raises TypeError for what has no lasting form
    return config


def _without_names(config: Any) -> Any:
    """A config without the names that Keras numbers as layers are made; those of types are no such names."""
    if isinstance(config, list):
        return [_without_names(value) for value in config]
    if not isinstance(config, dict):
        return config
    is_type = "DTypePolicy" in str(config.get("class_name"))
    return {name: value if is_type else _without_names(value) for name, value in config.items() if name != "name"}


def _assets(layer: keras.layers.Layer) -> dict[str, str]:
    """Checksums of what a layer and those in it save beside their weights, such as vocabularies."""
    found = {}
    for i, each in enumerate(layer._flatten_layers()):
        if isinstance(each, HubLayer):
            found[str(i)] = each.fingerprint or _own_name(each)
        elif hasattr(each, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                each.save_assets(folder)
                for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                    found[f"{i}/{path.relative_to(folder)}"] = xxhash.xxh3_128(path.read_bytes()).hexdigest()
    return found


def _hash_array(variable: Any) -> str:
    """A checksum of a variable's type, shape and value."""
    value = np.asarray(variable.numpy())
    if value.dtype == object:
        return fingerprint(value.ravel().tolist())
    digest = xxhash.xxh3_128(f"{value.dtype.name} {value.shape}".encode())
    digest.update(value.tobytes())
    return digest.hexdigest()


def _own_name(layer: keras.layers.Layer) -> str:
    """A name for an object that no other has, in any process."""
    return _own_names.setdefault(layer, uuid.uuid4().hex)
