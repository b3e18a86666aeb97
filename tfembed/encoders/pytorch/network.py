"""Networks of PyTorch as functional Keras models, made of the names and shapes of their weights.

A layer is called `BLOCK.PATH`, with PyTorch's own path, so that what a weight belongs to is said by its name.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

Shapes = Mapping[str, tuple[int, ...]]

# What a layer of Keras calls its weights in their order, in PyTorch's words.
_WEIGHTS = {
    "Conv2D": ("weight", "bias"),
    "DepthwiseConv2D": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
_AXES = {"Conv2D": (2, 3, 1, 0), "DepthwiseConv2D": (2, 3, 0, 1)}
_MOMENTUM = 0.9  # PyTorch's 0.1, counted the other way


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What a network does that its weights do not tell.

    Attributes:
        activation: Name of the activation, in Keras's words.
        epsilon: Added to the variances of batch norm.
        same_padding: Whether images are padded as TensorFlow does, in place of equally on all sides.
    """

    activation: str = "relu"
    epsilon: float = 1e-5
    same_padding: bool = False


@dataclass(slots=True, kw_only=True)
class Sketch:
    """A network in the making.

    Attributes:
        shapes: Shapes of its weights by name.
        style: What they do not tell.
        block: The block that layers belong to from now on.
    """

    shapes: Shapes
    style: Style = field(default_factory=Style)
    block: str = "stem"

    def shape(self, path: str) -> tuple[int, ...]:
        """The shape of a layer's weight.

        Raises:
            ValueError: If there is none.
        """
        name = f"{path}.weight"
        if name not in self.shapes:
            raise ValueError(f"the network should have {name!r}, which is not there")
        return tuple(self.shapes[name])

    def children(self, path: str) -> list[str]:
        """The parts of a path that have numbers, in order."""
        pattern = re.compile(rf"{re.escape(path)}\.(\d+)\.")
        numbers = {int(match.group(1)) for name in self.shapes if (match := pattern.match(name))}
        return [f"{path}.{number}" for number in sorted(numbers)]

    def conv(self, x: Any, path: str, stride: int = 1) -> Any:
        """A convolution, its size and padding told by its weight."""
        filters, inputs, height, width = self.shape(path)
        options: dict[str, Any] = {
            "strides": stride,
            "use_bias": f"{path}.bias" in self.shapes,
            "name": f"{self.block}.{path}",
        }
        centred = stride == 1 or self.style.same_padding
        if not centred and height > 1:
            x = keras.layers.ZeroPadding2D((height // 2, width // 2))(x)
        options["padding"] = "same" if centred else "valid"
        groups = x.shape[-1] // inputs
        if inputs == 1 and filters == x.shape[-1]:
            return keras.layers.DepthwiseConv2D((height, width), **options)(x)
        return keras.layers.Conv2D(filters, (height, width), groups=groups, **options)(x)

    def norm(self, x: Any, path: str) -> Any:
        """A batch norm."""
        self.shape(path)
        name = f"{self.block}.{path}"
        return keras.layers.BatchNormalization(momentum=_MOMENTUM, epsilon=self.style.epsilon, name=name)(x)

    def act(self, x: Any, activation: str | None = None) -> Any:
        """An activation; the style's own if None."""
        return keras.layers.Activation(activation or self.style.activation)(x)


def finished(sketch: Sketch, image: Any, x: Any, name: str) -> keras.Model:
    """The model of a sketch, its layers without weights named in the order of the model."""
    model = keras.Model(image, x, name=name)
    kinds: dict[str, int] = {}
    for layer in model.layers:
        if not layer.weights and layer is not model.layers[0]:
            kind = type(layer).__name__.lower()
            layer.name = f"{kind}_{kinds.setdefault(kind, 0)}"
            kinds[kind] += 1
    return model


def fill(model: keras.Model, weights: Mapping[str, np.ndarray], ignored: Iterable[str]) -> None:
    """Give a model its weights.

    Args:
        model: Its layers with weights are called `BLOCK.PATH`.
        weights: Arrays by PyTorch's names.
        ignored: Patterns of names that may be left over, such as those of the classifier.

    Raises:
        ValueError: If a weight is missing, has another shape, or is left over.
    """
    left = set(weights)
    for layer in model.layers:
        if not layer.weights:
            continue
        kind, path = type(layer).__name__, layer.name.partition(".")[2]
        values = []
        for variable, part in zip(layer.weights, _WEIGHTS[kind], strict=False):
            name = f"{path}.{part}"
            if name not in weights:
                raise ValueError(f"{name!r} is missing")
            value = np.asarray(weights[name], "float32")
            value = value.transpose(_AXES[kind]) if value.ndim == 4 else value
            if value.shape != tuple(variable.shape):
                raise ValueError(f"{name!r} has shape {weights[name].shape}, which does not fit {variable.path}")
            values.append(value)
            left.discard(name)
        layer.set_weights(values)
    patterns = [re.compile(each) for each in (*ignored, r".*num_batches_tracked")]
    unknown = sorted(name for name in left if not any(pattern.fullmatch(name) for pattern in patterns))
    if unknown:
        shown = ", ".join(unknown[:4]) + (f" and {len(unknown) - 4} more" if len(unknown) > 4 else "")
        raise ValueError(f"nothing in the network takes {shown}")


# From a sketch and an image to what is pooled to the embedding.
Draw = Callable[[Sketch, Any], Any]
