"""What trains inside a layer, by position: to be saved in a config, and to be put back after a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from tfembed.saved_model.layer import HubLayer

if TYPE_CHECKING:
    from tfembed.encoders.encoder import Encoder

TrainedPositions = Mapping[str, Sequence[int]]

NOTHING_TRAINS: TrainedPositions = {"layers": (), "variables": ()}


def trained_positions(layer: keras.layers.Layer) -> TrainedPositions:
    """Find what trains inside a layer, the layer included.

    Keras saves one flag for each layer that it knows from the outside: flags of single variables, and those of layers
    inside other layers, are lost. A HubLayer is left out, because its own config says what trains.

    Returns:
        Positions of layers that train among the layer and those with weights inside it, and of variables that train
        among all weights, as JSON values.

    Example:
        >>> trained_positions(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        {'layers': [0, 1], 'variables': [0, 1]}
    """
    return {name: [i for i, item in enumerate(items) if item.trainable] for name, items in _flagged(layer).items()}


def restore_trained(layer: keras.layers.Layer, positions: TrainedPositions) -> None:
    """Set the flags inside a layer to what `trained_positions` found, in this layer or in one that it is a copy of.

    Raises:
        ValueError: If the layer has fewer layers or weights than the one that the positions are of.
    """
    flagged = _flagged(layer)
    for name, items in flagged.items():
        if max(positions[name], default=-1) >= len(items):
            raise ValueError(
                f"The config of layer {layer.name!r} says that number {max(positions[name])} of its {name} trains, but "
                f"it has {len(items)}. Load it with the versions of Keras and KerasHub that saved it."
            )
    for i, inner in enumerate(flagged["layers"]):
        inner._trainable = i in positions["layers"]  # the setter would change all that is inside it too
    for i, variable in enumerate(flagged["variables"]):
        variable.trainable = i in positions["variables"]


@contextmanager
def trained_as_before(encoder: Encoder) -> Iterator[None]:
    """Restore at the end what trains inside an encoder, whatever is frozen and unfrozen meanwhile.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder = load_encoder("glyphs")
        >>> with trained_as_before(encoder):
        ...     encoder.unfreeze(1)
        >>> encoder.trainable
        False
    """
    batch_norm = encoder.batch_norm
    positions = trained_positions(encoder)
    modules = [(m, m.selector, m.trainable, m.fixed_statistics) for m in modules_inside(encoder)]
    try:
        yield
    finally:
        encoder._batch_norm = batch_norm
        restore_trained(encoder, positions)
        for module, selector, trainable, fixed_statistics in modules:
            module.fixed_statistics = fixed_statistics
            module.unfreeze(selector)
            if not trainable:
                module.trainable = False


def modules_inside(*layers: keras.layers.Layer) -> list[HubLayer]:
    """Find each HubLayer among layers and those inside them."""
    return [inner for layer in layers for inner in layer._flatten_layers() if isinstance(inner, HubLayer)]


def _flagged(layer: keras.layers.Layer) -> dict[str, list[Any]]:
    """The layer, those with weights inside it, and the weights, in an order that copies share; none of modules.

    Other layers have nothing to train, and some are made only when the layer is called for the first time.
    Additions of LoRA are left out: Keras saves the weights with these added, and mostly makes the copy without them.
    """
    modules = modules_inside(layer)
    of_modules = {id(weight) for module in modules for weight in module.weights}
    inside = layer._flatten_layers(include_self=False)
    return {
        "layers": [layer, *(inner for inner in inside if inner.weights and inner not in modules)],
        "variables": [w for w in layer.weights if id(w) not in of_modules and not w.name.startswith("lora_")],
    }
