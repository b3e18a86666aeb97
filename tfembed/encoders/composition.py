"""What a layer consists of, so that two layers that compute the same are known as such, in every process."""

import json
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import Any

import keras
import numpy as np
import xxhash

from tfembed.data import fingerprint
from tfembed.encoders.python_state import own_code
from tfembed.saved_model.layer import HubLayer

# These change when the same layer is made, built, compiled or unfrozen again, and say nothing of what it computes.
_VOLATILE = ("trainable", "unfrozen", "fixed_statistics", "build_config", "compile_config", "module")

_own_names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def consists_of(layer: keras.layers.Layer | None) -> Any:
    """Describe a layer by its config, vocabularies and such, its weights, and code that no library brings, as JSON.

    None for a layer that cannot say so, such as one around a Python function.
    """
    if layer is None:
        return None
    weights = [hash_array(weight) for weight in layer.weights]
    try:
        if isinstance(layer, HubLayer):
            return [layer.fingerprint, weights] if layer.fingerprint else None
        config = _without_names(_lasting(keras.saving.serialize_keras_object(layer)))
        return [config, weights, _assets(layer), own_code(layer)]
    except (NotImplementedError, TypeError, ValueError, OSError):
        return None


def settings_of(layer: keras.layers.Layer) -> list[Any]:
    """Describe how a layer and those in it were configured, without their names, as JSON values.

    Settings such as the rate of dropout act in training alone, so that no graph of inference shows them. A layer that
    does not tell its settings is described by its type.
    """
    return [_own_settings(part) for part in layer._flatten_layers() if not isinstance(part, keras.Model)]


def _own_settings(layer: keras.layers.Layer) -> Any:
    if isinstance(layer, HubLayer):
        return layer.fingerprint or own_name(layer)
    try:
        return [type(layer).__name__, _without_names(_lasting(layer.get_config()))]
    except (NotImplementedError, TypeError, ValueError):
        return type(layer).__name__


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
            found[str(i)] = each.fingerprint or own_name(each)
        elif hasattr(each, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                each.save_assets(folder)
                for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                    found[f"{i}/{path.relative_to(folder)}"] = xxhash.xxh3_128(path.read_bytes()).hexdigest()
    return found


def hash_array(variable: Any) -> str:
    """A checksum of a variable's type, shape and value."""
    value = np.asarray(variable.numpy())
    if value.dtype == object:
        return fingerprint(value.ravel().tolist())
    digest = xxhash.xxh3_128(f"{value.dtype.name} {value.shape}".encode())
    digest.update(value.tobytes())
    return digest.hexdigest()


def own_name(layer: keras.layers.Layer) -> str:
    """Give an object a name that no other has, in any process."""
    return _own_names.setdefault(layer, uuid.uuid4().hex)
