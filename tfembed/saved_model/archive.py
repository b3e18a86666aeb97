"""A module and its values in a saved Keras model: what goes into the file, and how it comes out of it.

Keras reads a `.keras` file in this order: config, replay of the calls, optimizer, values, assets. The config therefore
describes the variables; they are made first, filled next, and the stored module is loaded onto them last.
"""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.saved_model.module import Module, admitted, fingerprint, load_folder
from tfembed.saved_model.shared_variables import ModuleVariables, explain_difference, hold

_FOLDER = "module"
_PLACES = "variables.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModule:
    """A module as a config describes it. Its handle may be gone: then it comes out of the model's file.

    Attributes:
        handle: The handle from which the module was once loaded.
        variables: The description of its variables.
        trained: For each of them, whether the layer trained it.
        calls: The calls that `SeenCalls` described.
    """

    handle: str
    variables: list[dict[str, Any]]
    trained: list[bool]
    calls: list[dict[str, Any]]


def write_values(store: MutableMapping[str, Any], variables: Sequence[Any]) -> None:
    """Write the values of variables into a Keras weights store, strings as bytes with their lengths."""
    for place, variable in enumerate(variables):
        value = variable.numpy()
        if variable.dtype == tf.string:
            texts = list(np.asarray(value, object).ravel())  # NumPy's own strings would lose trailing zero bytes
            store[f"{place}.lengths"] = np.asarray([len(text) for text in texts], np.int64)
            store[f"{place}.shape"] = np.asarray(np.shape(value), np.int64)
            value = np.frombuffer(b"".join(texts), np.uint8)
        store[str(place)] = value


def read_values(store: MutableMapping[str, Any], variables: Sequence[Any], layer: str) -> None:
    """Give variables the values that `write_values` wrote.

    Raises:
        ValueError: If the store holds the values of another module.
    """
    stored = sum("." not in key for key in store.keys())  # noqa: SIM118  Keras's stores do not iterate
    if stored != len(variables):
        raise ValueError(
            f"The weights for layer {layer!r} are of another module: {stored} variables, expected {len(variables)}. "
            "Load weights that were saved from a model with the same module."
        )
    for place, variable in enumerate(variables):
        value = np.asarray(store[str(place)])
        if variable.dtype == tf.string:
            ends = np.cumsum(np.asarray(store[f"{place}.lengths"]))
            texts = [value[start:end].tobytes() for start, end in zip([0, *ends[:-1]], ends, strict=False)]
            value = np.asarray(texts, object).reshape(np.asarray(store[f"{place}.shape"]))
        if not variable.shape.is_compatible_with(value.shape):
            raise ValueError(
                f"The weights for layer {layer!r} are of another module: {variable.name} has shape "
                f"{tuple(value.shape)}, expected {tuple(variable.shape)}. Load weights that were saved from a model "
                "with the same module."
            )
        variable.assign(value)


def write_module(folder: str, module: Module, digest: str) -> None:
    """Copy a module into a folder; where its own folder is gone or holds another by now, export it again.

    Args:
        folder: The folder to write into.
        module: A module loaded from a SavedModel.
        digest: The fingerprint of its folder when it was loaded.
    """
    target = os.path.join(folder, _FOLDER)
    try:
        unchanged = module.folder is not None and fingerprint(module.folder) == digest
    except ValueError:
        unchanged = False
    if unchanged:
        _copy(str(module.folder), target)
        places = _places(module)
    else:
        tf.saved_model.save(module.loaded, target, signatures=dict(getattr(module.loaded, "signatures", {})) or None)
        places = _places(load_folder(target))
    Path(folder, _PLACES).write_text(json.dumps(places))


def read_module(
    folder: str,
    variables: ModuleVariables,
    options: tf.saved_model.LoadOptions | None,
    *,
    known: str | None,
    trust: bool = False,
) -> Module | None:
    """Load the module that `write_module` wrote onto existing variables, whose values stay.

    The files are copied out first: Keras deletes those that it unpacked, and the module's assets are needed whenever it
    is exported. The copy goes with the module.

    Args:
        folder: What `write_module` wrote into.
        variables: The variables to build the module on.
        options: Options of `tf.saved_model.load`.
        known: The fingerprint of a module that need not be loaded again.
        trust: Whether the module may hold ops that write files or run Python.

    Returns:
        The module, or None for the known one.

    Raises:
        ValueError: If the file holds no module, one with other variables, or one that may not be loaded.
    """
    if not os.path.isfile(os.path.join(folder, _PLACES)):
        raise ValueError("The model file holds no module for this layer. Expected a file that HubLayer wrote.")
    if fingerprint(os.path.join(folder, _FOLDER)) == known:
        return None
    admitted(os.path.join(folder, _FOLDER), trust=trust)
    places = json.loads(Path(folder, _PLACES).read_text())
    copy = tempfile.mkdtemp(prefix="tfembed-module-")
    try:
        _copy(os.path.join(folder, _FOLDER), copy)
        module = _load_onto(variables, copy, places, None, options)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    weakref.finalize(module.loaded, shutil.rmtree, copy, ignore_errors=True)
    return module


def load_onto(
    variables: ModuleVariables,
    folder: str,
    *,
    tags: Sequence[str] | None = None,
    options: tf.saved_model.LoadOptions | None = None,
) -> Module:
    """Load a SavedModel folder onto existing variables; they take its values unless they were given any.

    Raises:
        ValueError: If the module has other variables.
    """
    plain = load_folder(folder, tags=tags, options=options)
    difference = explain_difference(hold(plain).specify(), variables.specify())
    if difference:
        raise ValueError(
            f"The module in {folder!r} is not the one that the config was written for: {difference}. Pass the handle "
            "of the original module, or load the whole model from its .keras file."
        )
    if not any(np.asarray(variable.numpy(), object).astype(bool).any() for variable in variables.raw):
        for variable, source in zip(variables.raw, plain.variables, strict=True):
            variable.assign(source.numpy())
    return _load_onto(variables, folder, _places(plain), tags, options)


def _places(module: Module) -> list[int | None]:
    """For each variable of the module, its place in the order of creation. TF1's loader does not tell."""
    order = {id(variable): place for place, variable in enumerate(module.created)}
    return [order.get(id(variable)) for variable in module.variables]


def _load_onto(
    variables: ModuleVariables,
    folder: str,
    places: Sequence[int | None],
    tags: Sequence[str] | None,
    options: tf.saved_model.LoadOptions | None,
) -> Module:
    values = [variable.numpy() for variable in variables.raw]
    reuse = {place: mine for place, mine in zip(places, variables.raw, strict=True) if place is not None}
    module = load_folder(folder, tags=tags, options=options, reuse=reuse)
    for mine, theirs, value in zip(variables.raw, module.variables, values, strict=True):
        mine.assign(value)
        if theirs is not mine:  # of a TF1 module, which never trains: equal values are all it needs
            theirs.assign(value)
    return module


def _copy(source: str, target: str) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
