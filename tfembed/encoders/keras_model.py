"""Encoders made of Keras models of one's own: a `.keras` file, a model, a layer."""

import os
from dataclasses import replace
from typing import Any

import keras

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.preprocessing import ImagePreprocessing, mask_name
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec
from tfembed.saved_model.layer import HubLayer

SUFFIX = ".keras"
_DEFAULT_SIZE = (224, 224)
_SCALES_PIXELS = (keras.layers.Rescaling, keras.layers.Normalization)


def load(wanted: Request) -> Encoder:
    """Make an encoder of a Keras model that takes texts, images, or tokens.

    The embedding is the model's output, or that of the layer named by `output`; of feature maps and sequences their
    mean, unless `pooling` says otherwise. The encoder is made of the model's own layers: to train the one is to train
    the other. Of a model that tfembed built the encoder is taken, with the weights that it has.

    Images come as values in [0, 1]; a model that scales them itself, with a `Rescaling` or `Normalization` layer in
    front of all other weights, gets them as [0, 255].

    Args:
        wanted: Its handle is a path that ends in `.keras`, a `keras.Model` or a `keras.layers.Layer`. Tokens need
            `preprocessing`: a Keras layer from texts to them, or the handle of a module; images may have a layer too.

    Raises:
        ValueError: If the file cannot be read, there is no such layer, or the model takes something else.
    """
    handle = wanted.handle
    if wanted.weights != PRETRAINED:
        raise ValueError(f"weights={wanted.weights!r}: a Keras model brings its own. Leave it out.")
    model = _read(handle, wanted.trust) if isinstance(handle, str) else handle
    if (known := _encoder_in(model)) is not None:
        if wanted.preprocessing or wanted.pooling or wanted.output:
            raise ValueError(
                f"Model {model.name!r} has an encoder of tfembed, with all that belongs to it: pass no more."
            )
        return known
    model = _functional(model)
    name = wanted.name.removesuffix(SUFFIX) if isinstance(handle, str) else model.name
    output = model.output if wanted.output is None else _output_of(model, wanted.output)
    if not isinstance(output, keras.KerasTensor) or len(output.shape) not in (2, 3, 4):
        shapes = keras.tree.map_structure(lambda tensor: tensor.shape, output)
        raise ValueError(
            f"Model {name!r} gives {shapes}: expected one tensor of vectors, sequences or feature maps. Pass output= "
            f"one of its layers, {_layer_names(model)}."
        )
    pooling = wanted.pooling or ("mean" if len(output.shape) == 3 else None)
    spec = EncoderSpec(
        name=name, handle=str(handle) if isinstance(handle, str) else name, kind="text", pooling=pooling, source=name
    )
    spec, preprocessing = _front(spec, model, wanted.preprocessing)
    return Encoder(spec, keras.Model(model.input, output, name="body"), preprocessing)


def _front(spec: EncoderSpec, model: keras.Model, given: Any) -> tuple[EncoderSpec, keras.layers.Layer | None]:
    """What comes in front of a model, and the spec that says what the whole takes."""
    if given is not None and not isinstance(given, keras.layers.Layer):
        given = HubLayer(given)
    tensors = keras.tree.flatten(model.input)
    is_single, shape = len(tensors) == 1, tuple(tensors[0].shape)
    if is_single and len(shape) == 4 and shape[3] in (1, 3):
        _check_channels(spec.name, model, shape)
        size = _DEFAULT_SIZE if None in shape[1:3] else (shape[1], shape[2])
        scale = 1 / 255 if _scales_pixels(model) else 1.0
        channels = "grey" if shape[3] == 1 else "rgb"
        spec = replace(spec, kind="image", image_size=size, scale=scale, channels=channels)
        return spec, given or ImagePreprocessing.of(spec)
    if is_single and tensors[0].dtype == "string" and shape[1:] in ((), (1,)):
        return spec, given or (keras.layers.Reshape((1,)) if shape[1:] else None)
    if given is not None:
        return spec, given
    if mask_name(model.input) is not None:
        raise ValueError(
            f"Model {spec.name!r} takes the tokens {sorted(model.input)}: pass preprocessing=, a Keras layer from "
            "texts to them, or the handle of a module."
        )
    takes = {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors}
    raise ValueError(
        f"Model {spec.name!r} takes {takes}: expected texts (string), images (height x width x 3 or 1), or tokens with "
        "a mask. Pass preprocessing=, a Keras layer from texts or images to what it takes."
    )


def _check_channels(name: str, model: keras.Model, shape: tuple[int | None, ...]) -> None:
    """Refuse layers that take images of this shape as channels first; a model may well move the axes itself before."""
    for layer in model._flatten_layers():
        takes = [tuple(tensor.shape) for node in layer._inbound_nodes for tensor in node.input_tensors]
        if getattr(layer, "data_format", None) == "channels_first" and shape in takes:
            raise ValueError(
                f"Layer {layer.name!r} of model {name!r} takes channels first, but images have their channels last: "
                "build the model with data_format='channels_last'."
            )


def _read(path: str, trust: bool) -> keras.Model:
    import keras_hub  # noqa: F401 - registers its layers

    if not os.path.isfile(path):
        raise ValueError(f"There is no file {path!r}: expected a Keras model, as `model.save` writes it.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trust)
    except (ValueError, TypeError, OSError, KeyError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "safe_mode" in str(error):
            raise ValueError(
                f"{path} holds Python code, which would be run: {why} Pass trust=True if you trust it."
            ) from error
        raise ValueError(
            f"{path} cannot be read: {why} Expected a .keras file; classes of your own must be registered with "
            "keras.saving.register_keras_serializable, and imported first."
        ) from error


def _encoder_in(model: Any) -> Encoder | None:
    """The encoder of a model that a builder made."""
    layers = [model, *getattr(model, "layers", ())]
    return next((layer for layer in layers if isinstance(layer, Encoder)), None)


def _functional(model: Any) -> keras.Model:
    """A model or layer as a functional model, whose layers can be told."""
    if isinstance(model, HubLayer):
        raise ValueError(f"{model.name!r} is a HubLayer: pass the handle of its module in place of it.")
    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs[0], name=model.name)
    if isinstance(model, keras.Model) and getattr(model, "_nodes_by_depth", None):
        return model
    try:
        shape = model.get_build_config()["input_shape"]
        given = keras.Input(shape[1:], batch_size=None, dtype=model.input_dtype)
    except (KeyError, TypeError):
        raise ValueError(
            f"{model.name!r} does not say what it takes. Make a model of it: inputs = keras.Input(...); "
            "keras.Model(inputs, layer(inputs))."
        ) from None
    return keras.Model(given, model(given), name=model.name)


def _output_of(model: keras.Model, name: str) -> Any:
    """What the layer of that name gives."""
    nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes if node.operation.name == name]
    if len(nodes) != 1:
        found = "no layer" if not nodes else f"{len(nodes)} calls of a layer"
        raise ValueError(f"Model {model.name!r} has {found} {name!r}: pass output= one of {_layer_names(model)}.")
    outputs = nodes[0].output_tensors
    return outputs[0] if len(outputs) == 1 else list(outputs)


def _layer_names(model: keras.Model) -> str:
    return ", ".join(layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer))


def _scales_pixels(model: keras.Model) -> bool:
    """Whether a model scales pixels before it uses any other weights."""
    for layer in model.layers:
        if isinstance(layer, _SCALES_PIXELS):
            return True
        if layer.weights:
            return isinstance(layer, keras.Model) and _scales_pixels(layer)
    return False
