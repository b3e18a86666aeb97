"""Encoders of keras.applications: networks for photographs, trained on ImageNet, at random, or from a file."""

import contextlib
import os
import re
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import keras

from tfembed.encoders.application_table import FAMILIES, PRETRAINED_NAMES, RANGES
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.keras_settings import check_settings
from tfembed.encoders.layer_names import named_in_blocks, up_to
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec
from tfembed.spelling import did_you_mean

_POOLINGS = {None: "avg", "mean": "avg", "max": "max"}
_FETCH_FAILED = re.compile(r"URL fetch failure on (\S+): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a handle such as `MobileNetV2?alpha=0.35&size=96` asks for.

    Attributes:
        name: The function of keras.applications.
        options: Its own options, such as alpha.
        size: Height and width of images in pixels; None for the family's own.
    """

    name: str
    options: dict[str, float]
    size: int | None = None


def parse_variant(text: str) -> Variant:
    """Read what stands behind `applications:`.

    Raises:
        ValueError: If there is no such network, or no such option.

    Example:
        >>> parse_variant("MobileNetV2?alpha=0.35").options
        {'alpha': 0.35}
    """
    name, _, query = text.partition("?")
    if name not in FAMILIES:
        raise ValueError(
            f"keras.applications has no {name!r}.{did_you_mean(name, FAMILIES)} Choose one of {', '.join(FAMILIES)}."
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = ("size", *FAMILIES[name].options)
    try:
        values = {key: float(value) for key, value in options.items()}
    except ValueError:
        values = {}
    if set(options) - set(known) or len(values) < max(len(options), bool(query)):
        raise ValueError(
            f"Cannot read {text!r}: expected {name}, with a number for each of {', '.join(known)} where you like, such "
            f"as {name}?{known[-1]}={'0.5' if len(known) > 1 else '160'}."
        )
    size = values.pop("size", None)
    return Variant(name=name, options=values, size=None if size is None else int(size))


def load(wanted: Request) -> Encoder:
    """Load a network of keras.applications without its classifier.

    Args:
        wanted: Its handle is `applications:` and the name of a network, such as `applications:ResNet50`, with options
            as in `applications:MobileNetV2?alpha=0.35&size=160`. Its weights are `"pretrained"` (ImageNet), None, or a
            `.h5` or `.weights.h5` file of the network without its classifier.

    Raises:
        ValueError: If there is no such network, or the file holds other weights.
        ConnectionError: If the weights must be downloaded and cannot be.
    """
    check_settings("image")
    variant = parse_variant(wanted.rest)
    family = FAMILIES[variant.name]
    size = variant.size or family.size
    if wanted.pooling not in _POOLINGS:
        raise ValueError(
            f"Pooling {wanted.pooling!r} is for tokens: {wanted.handle} pools pixels, pass 'mean' or 'max'."
        )
    model = named_in_blocks(_build(wanted, variant, size), ends=family.ends, named=family.named)
    body = model if wanted.output is None else up_to(model, wanted.output)
    known = wanted.spec or EncoderSpec(
        name=wanted.name, handle=wanted.handle, kind="image", licence="Apache-2.0", source="keras.applications"
    )
    pixels = RANGES[family.range]
    spec = replace(
        known,
        output=wanted.output,
        image_size=(size, size),
        mean=pixels.mean,
        scale=pixels.scale,
        channels=pixels.channels,
    )
    return Encoder(spec, body, ImagePreprocessing.of(spec))


def weights_folder() -> Path:
    """Folder in which Keras keeps the weights that it has downloaded."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras"), "models").expanduser()


def _build(wanted: Request, variant: Variant, size: int) -> keras.Model:
    make = getattr(keras.applications, variant.name)
    pretrained = wanted.weights == PRETRAINED
    options: dict[str, Any] = {
        **variant.options,
        "weights": "imagenet" if pretrained else None,
        "include_top": False,
        "input_shape": (size, size, 3),
        "pooling": _POOLINGS[wanted.pooling],
    }
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where progress belongs, and not among what a command prints
            model = make(**options)
    except Exception as error:  # Keras raises plain ones where a download fails
        raise _explained(error, wanted.handle, pretrained) from error
    if wanted.weights is not None and not pretrained:
        _load_file(model, Path(wanted.weights), wanted.handle)
    return model


def _explained(error: Exception, handle: str, pretrained: bool) -> Exception:
    """What to tell of a failure to make a network."""
    failed = _FETCH_FAILED.search(str(error))
    folder = weights_folder()
    if failed:
        address = failed.group(1)
        name = address.rsplit("/", 1)[-1]
        return ConnectionError(
            f"Cannot download the weights of {handle}: {failed.group(2)}. Fetch {address} on a machine that can, and "
            f"put it to {folder / PRETRAINED_NAMES.get(name, name)}; or pass weights=None, or weights= a file."
        )
    if pretrained and isinstance(error, OSError):
        return ValueError(
            f"The weights of {handle} in {folder} cannot be read: {_first_line(error)}. The download may have been "
            "interrupted: remove the newest file there, and load again."
        )
    return ValueError(f"Cannot make {handle}: {_first_line(error)}")


def _load_file(model: keras.Model, path: Path, handle: str) -> None:
    if not path.is_file() or path.suffix != ".h5":
        raise ValueError(
            f"weights={str(path)!r} {'is no .h5 file' if path.exists() else 'does not exist'}: {handle} takes a .h5 or "
            ".weights.h5 file of the network without its classifier, 'pretrained', or None for random weights."
        )
    try:
        with warnings.catch_warnings():  # of layers that the file does not have; the error that follows names them
            warnings.simplefilter("ignore")
            model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"The weights in {str(path)!r} are not those of {handle} without its classifier: {_first_line(error)} Pass "
            "a file that `save_weights` of this network wrote."
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
