"""Encoders of TorchVision and timm: files of weights, whose names and shapes tell the network."""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.keras_settings import check_settings
from tfembed.encoders.layer_names import up_to
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.pytorch.kinds import Network, find_network, network_of
from tfembed.encoders.pytorch.network import Shapes, Sketch, fill, finished
from tfembed.encoders.pytorch.state_dict import SUFFIXES, read_state_dict
from tfembed.encoders.repositories import CONFIG, WEIGHTS, fetch
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import INTERPOLATIONS, EncoderSpec

_MEAN, _SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_POOLS = {None: keras.layers.GlobalAveragePooling2D, "mean": keras.layers.GlobalAveragePooling2D}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a network comes from.

    Attributes:
        weights: The file with its weights.
        architecture: What timm or TorchVision call it; None if nobody said.
        config: What timm says of the images it takes.
        licence: The licence of the weights.
    """

    weights: Path
    architecture: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    licence: str = "unknown"


def is_weights(handle: str) -> bool:
    """Whether a handle is a file of weights, or a folder in timm's format."""
    path = Path(handle)
    if path.is_dir():
        return (path / CONFIG).is_file() and "architecture" in _read_config(path / CONFIG)
    return path.suffix in SUFFIXES and path.is_file()


def load(wanted: Request) -> Encoder:
    """Load a network of TorchVision or timm, without its classifier.

    Args:
        wanted: Its handle is `torchvision:NAME` or `timm:NAME` with a file as weights, a file, a folder with
            `config.json` and `model.safetensors`, or `hf://timm/NAME`.

    Raises:
        ValueError: If the network is not known, or the file is not one of its weights.
        ConnectionError: If it must be downloaded and cannot be.
    """
    check_settings("image")
    files = _locate(wanted)
    weights = _without_prefixes(_renamed(read_state_dict(files.weights, trust=wanted.trust)))
    shapes = {name: value.shape for name, value in weights.items()}
    network = network_of(shapes, files.weights, files.architecture)
    known = wanted.spec or EncoderSpec(
        name=wanted.name, handle=str(wanted.handle), kind="image", licence=files.licence, source=str(files.weights)
    )
    spec = replace(known, output=wanted.output, **_pixels(files.config))
    model = _model(network, shapes, files, (spec.image_size, wanted.pooling))
    try:
        fill(model, weights, network.ignored)
    except ValueError as error:
        raise _not_one(files, network, error) from error
    body = model if wanted.output is None else up_to(model, wanted.output)
    return Encoder(spec, body, ImagePreprocessing.of(spec))


def _locate(wanted: Request) -> Files:
    scheme, _, name = str(wanted.handle).partition(":")
    if scheme == "hf":
        return _in_folder(fetch(name.removeprefix("//")))
    if scheme in ("timm", "torchvision"):
        if wanted.weights == PRETRAINED and scheme == "timm" and "." in name:
            return _in_folder(fetch(f"timm/{name}"))
        if wanted.weights in (PRETRAINED, None):
            raise ValueError(
                f"{wanted.handle} needs weights=PATH, a .safetensors or .pth file of its state dict. What is "
                "downloaded is named with its training, such as timm:resnet18.a1_in1k; for random weights take "
                "applications:ResNet50 with weights=None."
            )
        path = Path(str(wanted.weights))
        if path.suffix not in SUFFIXES or not path.is_file():
            raise ValueError(f"weights={str(path)!r} is no file that ends in {', '.join(SUFFIXES)}: pass one.")
        return Files(weights=path, architecture=name)
    path = Path(wanted.handle)
    return _in_folder(path) if path.is_dir() else Files(weights=path)


def _in_folder(folder: Path) -> Files:
    config = _read_config(folder / CONFIG)
    if "architecture" not in config:
        raise ValueError(f"{str(folder / CONFIG)!r} names no architecture: expected a model of timm.")
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{str(folder)!r} has a {CONFIG} of timm and no {WEIGHTS}: put it there.")
    pixels = config.get("pretrained_cfg") or {}
    return Files(
        weights=folder / WEIGHTS,
        architecture=str(config["architecture"]),
        config=pixels,
        licence=str(pixels.get("license", "unknown")),
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"Cannot read {str(path)!r}: {error}. Expected timm's config.json.") from error
    return config if isinstance(config, dict) else {}


def _pixels(config: dict[str, Any]) -> dict[str, Any]:
    """What the spec says of images; without a config, what TorchVision does for ImageNet."""
    size, mean, scale = config.get("input_size", (3, 224, 224)), config.get("mean", _MEAN), config.get("std", _SCALE)
    interpolation = config.get("interpolation", "bilinear")
    return {
        "image_size": tuple(size[1:]),
        "mean": tuple(mean),
        "scale": tuple(scale),
        "interpolation": interpolation if interpolation in INTERPOLATIONS else "bicubic",
        "crop": config.get("crop_pct", 0.875),
    }


def _renamed(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights under the names of today: TorchVision's oldest DenseNets had `norm.1` for `norm1`."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name): value for name, value in weights.items()}


def _without_prefixes(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights without the scopes that all names share, such as Lightning's `model.`, up to those of a network."""
    bare = weights
    while find_network({name: value.shape for name, value in bare.items()}) is None:
        if len({name.partition(".")[0] for name in bare}) > 1 or not all("." in name for name in bare):
            return weights
        bare = {name.partition(".")[2]: value for name, value in bare.items()}
    return bare


def _model(network: Network, shapes: Shapes, files: Files, how: tuple[Any, str | None]) -> keras.Model:
    size, pooling = how
    name = files.architecture or network.name
    style = network.style
    if name.startswith("tf_"):
        style = replace(style, same_padding=True, epsilon=1e-3)
    if network.name == "TorchVision's EfficientNet" and shapes["features.8.0.weight"][0] >= 2048:  # B5 and above
        style = replace(style, epsilon=1e-3)
    pool = (_POOLS | {"max": keras.layers.GlobalMaxPooling2D}).get(pooling)
    if pool is None:
        raise ValueError(f"Pooling {pooling!r} is for tokens: an encoder of images takes 'mean' or 'max'.")
    sketch = Sketch(shapes=shapes, style=style)
    image = keras.Input((*size, 3), name="image")
    try:
        x = pool()(network.draw(sketch, image))
    except (ValueError, KeyError, IndexError) as error:
        raise _not_one(files, network, error) from error
    return finished(sketch, image, x, re.sub(r"\W", "_", name))


def _not_one(files: Files, network: Network, error: Exception) -> ValueError:
    return ValueError(f"{str(files.weights)!r} is not one of {files.architecture or network.name}: {error}.")
