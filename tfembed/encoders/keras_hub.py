"""Encoders of KerasHub, by the names of its presets, from Kaggle, or from a folder that `save_to_preset` wrote."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from tfembed.encoders import minilm
from tfembed.encoders.dinov2 import from_keras_hub
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.keras_settings import check_settings
from tfembed.encoders.minilm_package import INSTALL, minilm_folder
from tfembed.encoders.pixels import ImagePixels
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec
from tfembed.encoders.text_tokens import TextTokens, Writing
from tfembed.encoders.towers import FAMILIES, tower
from tfembed.saved_model import kaggle

_DEFAULT_SIZE = (224, 224)
_SEQUENCE = "sequence_output"
_POOLED = "pooled_output"


def is_preset(name: str) -> bool:
    """Whether KerasHub knows a preset of that name."""
    import keras_hub

    return name in keras_hub.models.Backbone.presets


def load(wanted: Request) -> Encoder:
    """Load an encoder of KerasHub.

    Args:
        wanted: Its handle is the name of a preset, with or without `keras_hub:` in front, or `kaggle://...`.

    Raises:
        ValueError: If there is no such preset, or it is no encoder.
        ConnectionError: If it must be downloaded and cannot be.
    """
    preset = wanted.rest if str(wanted.handle).startswith("keras_hub:") else str(wanted.handle)
    folder = minilm_folder() if preset == minilm.PRESET else None
    if folder is not None:
        return minilm.load(wanted, folder)
    # KerasHub looks for single files, and asks the network for each that a preset may have and has not.
    return load_preset(wanted, kaggle.cached_folder(_address(preset)) or preset)


def is_local(preset: str) -> bool:
    """Whether a preset is on this machine, so that it loads without a network."""
    packaged = preset == minilm.PRESET and minilm_folder() is not None
    return packaged or kaggle.cached_folder(_address(preset)) is not None


def _address(preset: str) -> str:
    """Where a preset is on Kaggle: `kaggle://keras/bert/keras/bert_tiny_en_uncased/3`; itself if that is not known."""
    import keras_hub

    return str(keras_hub.models.Backbone.presets.get(preset, {}).get("kaggle_handle", preset))


def load_preset(wanted: Request, preset: str) -> Encoder:
    """Load a preset.

    Args:
        wanted: What is wanted of it.
        preset: Its name, or the folder where it lies.

    Raises:
        ValueError: If it is no preset, or no encoder.
        ConnectionError: If it must be downloaded and cannot be.
    """
    import keras_hub

    load = keras_hub.models.Backbone.from_preset
    try:
        backbone = _reached(wanted, load, preset, load_weights=wanted.weights == PRETRAINED)
    except (TypeError, ValueError):
        check_settings("image")  # without channels last, KerasHub fails to make a network for images
        raise
    if wanted.weights not in (PRETRAINED, None):
        backbone.load_weights(str(wanted.weights))
    if type(backbone).__name__ in FAMILIES:
        return _tower(wanted, preset, backbone)
    takes = backbone.input if isinstance(backbone.input, dict) else {}
    if "token_ids" in takes and not any(tensor.dtype.startswith("float") for tensor in takes.values()):
        return _text_encoder(wanted, preset, backbone)
    if len(backbone.inputs) == 1 and len(backbone.inputs[0].shape) == 4:
        return _image_encoder(wanted, preset, backbone)
    raise ValueError(
        f"Preset {preset!r} is a {type(backbone).__name__}, which takes {sorted(map(str, backbone.input))}: expected "
        f"an encoder of texts or of images, or one that has a tower for each ({', '.join(FAMILIES)}). Take another "
        "preset."
    )


def _tower(wanted: Request, preset: str, backbone: Any) -> Encoder:
    """The tower for images, or the one for texts, of a network that has both."""
    kind = wanted.kind or "image"
    for name, value in (("pooling", wanted.pooling), ("output", wanted.output)):
        if value is not None:
            raise ValueError(
                f"{name}={value!r}: encoder {wanted.name!r} makes one vector of each {kind}, in the space that texts "
                "and images share. Leave it out."
            )
    made = tower(backbone, kind)
    known = wanted.spec or EncoderSpec(name=wanted.name, handle=str(wanted.handle), kind=kind, source="KerasHub")
    size = made.body.count_params()
    spec = replace(known, kind=kind, normalize=True, image_size=None, parameters=size, both=True, twin=made.twin)
    if kind == "text":
        positions = backbone.text_encoder.max_sequence_length
        _check_positions(wanted, wanted.max_length or positions, positions)
        tokens = _tower_tokens(wanted, preset, backbone, positions)
        return Encoder(replace(spec, max_length=positions), made.body, tokens)
    pixels = _pixels(wanted, preset, tuple(backbone.vision_encoder.image_shape[:2]))
    return Encoder(replace(spec, image_size=tuple(pixels.converter.image_size)), made.body, pixels)


def _tower_tokens(wanted: Request, preset: str, backbone: Any, most: int) -> TextTokens:
    import keras_hub

    family = FAMILIES[type(backbone).__name__]
    load = getattr(keras_hub.models, family.preprocessor).from_preset
    preprocessor = _reached(wanted, load, preset, sequence_length=most, image_converter=None)
    settings = preprocessor.get_config()
    lowers = settings.get("to_lower") or settings.get("canonicalize_text")
    writing = Writing(lowercase=bool(lowers), apart=family.apart)  # KerasHub lowers the letters of English alone
    outputs = ("token_ids",) if family.pads else ("token_ids", "padding_mask")
    return TextTokens(preprocessor, writing, outputs, beside_images=True)


def _pixels(wanted: Request, preset: str, size: tuple[int, int]) -> ImagePixels:
    """A preset's own preparation of images, to a size."""
    import keras_hub

    converter = _reached(wanted, keras_hub.layers.ImageConverter.from_preset, preset)
    converter.image_size = size
    return ImagePixels(converter)


def _check_positions(wanted: Request, most: int, positions: int | None) -> None:
    if positions is not None and most > positions:
        raise ValueError(
            f"sequence_length={most}: encoder {wanted.name!r} has positions for at most {positions} tokens. Pass no "
            "more."
        )


def _text_encoder(wanted: Request, preset: str, backbone: Any) -> Encoder:
    known = wanted.spec or EncoderSpec(name=wanted.name, handle=str(wanted.handle), kind="text", source="KerasHub")
    positions = getattr(backbone, "max_sequence_length", None)
    most = max(min(known.max_length, positions or known.max_length), wanted.max_length or 0)
    _check_positions(wanted, most, positions)
    outputs = backbone.output
    output = (wanted.output or known.output or _SEQUENCE) if isinstance(outputs, dict) else None
    if output is not None and output not in outputs:
        raise ValueError(f"Encoder {wanted.name!r} has no output {output!r}: choose one of {sorted(outputs)}.")
    # What acts on another output than the one that is wanted, such as the pooler, is left out.
    body = backbone if output is None else keras.Model(backbone.input, {output: outputs[output]}, name="body")
    pooling = None if output == _POOLED else wanted.pooling or known.pooling or "mean"
    spec = replace(known, output=output, pooling=pooling, max_length=most)
    return Encoder(spec, body, _text_preprocessor(wanted, preset, backbone, most))


def _text_preprocessor(wanted: Request, preset: str, backbone: Any, most: int) -> Any:
    import keras_hub

    general = keras_hub.models.TextClassifierPreprocessor
    classes: list[Any] = [each for each in vars(keras_hub.models).values() if inspect.isclass(each)]
    if any(issubclass(each, general) and each.backbone_cls is type(backbone) for each in classes):
        return _reached(wanted, general.from_preset, preset, sequence_length=most)
    return general(_reached(wanted, keras_hub.models.Tokenizer.from_preset, preset), sequence_length=most)


def _image_encoder(wanted: Request, preset: str, backbone: Any) -> Encoder:
    import keras_hub

    converter = _reached(wanted, keras_hub.layers.ImageConverter.from_preset, preset)
    if isinstance(backbone, keras_hub.models.DINOV2Backbone):
        size = converter.image_size = tuple(converter.image_size or backbone.image_shape[:2])
        if size != tuple(backbone.image_shape[:2]):  # KerasHub fits the positions to it
            whole, weights = keras_hub.models.Backbone.from_preset, wanted.weights == PRETRAINED
            backbone = _reached(wanted, whole, preset, load_weights=weights, image_shape=(*size, 3))
        body = from_keras_hub(backbone)
    else:
        fixed = tuple(backbone.inputs[0].shape[1:3])
        converter.image_size = (converter.image_size or _DEFAULT_SIZE) if None in fixed else fixed
        body = keras.Model(*backbone.inputs, backbone.output) if isinstance(backbone.input, dict) else backbone
    known = wanted.spec or EncoderSpec(name=wanted.name, handle=str(wanted.handle), kind="image", source="KerasHub")
    pooling = wanted.pooling or known.pooling
    if len(body.output.shape) == 3:  # vectors of patches
        has_class = getattr(backbone, "use_class_token", True)
        pooling = pooling or ("cls" if has_class else "mean")
    return Encoder(
        replace(known, pooling=pooling, image_size=tuple(converter.image_size)), body, ImagePixels(converter)
    )


def _reached(wanted: Request, load: Callable[..., Any], preset: str, **options: Any) -> Any:
    """What a function of KerasHub loads of a preset, or why it cannot."""
    try:
        return load(preset, **options)
    except FileNotFoundError as error:
        raise ValueError(
            f"Preset {preset!r} is not whole: {error} Expected what save_to_preset of the backbone and of its "
            "preprocessor write into one folder. Write both into it."
        ) from error
    except OSError as error:
        reason = " ".join(str(error).split())[:400].removesuffix(".")
        if preset == minilm.PRESET:
            advice = f"Without internet run: {INSTALL}"
        elif (address := _address(preset)).startswith("kaggle:"):
            advice = kaggle.by_hand(address)
        else:
            advice = "Without internet, save the preset elsewhere with save_to_preset and pass the folder."
        raise ConnectionError(f"Encoder {wanted.handle!r} could not be downloaded: {reason}. {advice}") from error
