"""ResNet, VGG and DenseNet as TorchVision and timm have them; MobileNet and EfficientNet are in `mobile`."""

from typing import Any

import keras

from tfembed.encoders.pytorch.network import Sketch


def draw_resnet(sketch: Sketch, image: Any) -> Any:
    """ResNet, ResNeXt or wide ResNet (https://arxiv.org/abs/1512.03385), strides in the 3 x 3 convolutions."""
    x = sketch.act(sketch.norm(sketch.conv(image, "conv1", 2), "bn1"))
    x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))  # nothing is below 0 here
    for stage in range(1, 5):
        for i, path in enumerate(sketch.children(f"layer{stage}")):
            sketch.block = path.replace(".", "_")
            x = _residual(sketch, x, path, 2 if stage > 1 and i == 0 else 1)
    return x


def _residual(sketch: Sketch, x: Any, path: str, stride: int) -> Any:
    parts = [part for part in ("1", "2", "3") if f"{path}.conv{part}.weight" in sketch.shapes]
    strided = "1" if len(parts) == 2 else "2"
    short = x
    if f"{path}.downsample.0.weight" in sketch.shapes:
        short = sketch.norm(sketch.conv(x, f"{path}.downsample.0", stride), f"{path}.downsample.1")
    for part in parts:
        x = sketch.conv(x, f"{path}.conv{part}", stride if part == strided else 1)
        x = sketch.norm(x, f"{path}.bn{part}")
        x = sketch.act(x) if part != parts[-1] else x
    return sketch.act(keras.layers.Add()([x, short]))


def draw_vgg(sketch: Sketch, image: Any) -> Any:
    """VGG with or without batch norm (https://arxiv.org/abs/1409.1556): where numbers are left out, there is a pool."""
    layers = [path for path in sketch.children("features") if len(sketch.shape(path)) == 4]
    has_norm = f"{layers[0].rpartition('.')[0]}.1.running_mean" in sketch.shapes
    step, x, block = 3 if has_norm else 2, image, 1
    for path, after in zip(layers, [*layers[1:], None], strict=True):
        sketch.block = f"block{block}"
        number = int(path.rpartition(".")[2])
        x = sketch.conv(x, path)
        x = sketch.norm(x, f"features.{number + 1}") if has_norm else x
        x = sketch.act(x)
        if after is None or int(after.rpartition(".")[2]) - number > step:
            x, block = keras.layers.MaxPooling2D(2)(x), block + 1
    return x


def draw_densenet(sketch: Sketch, image: Any) -> Any:
    """DenseNet (https://arxiv.org/abs/1608.06993); the transition behind a dense block belongs to it."""
    x = sketch.act(sketch.norm(sketch.conv(image, "features.conv0", 2), "features.norm0"))
    x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))
    for number in range(1, 5):
        sketch.block, dense = f"denseblock{number}", f"features.denseblock{number}"
        for path in _dense_layers(sketch, dense):
            y = sketch.conv(sketch.act(sketch.norm(x, f"{path}.norm1")), f"{path}.conv1")
            y = sketch.conv(sketch.act(sketch.norm(y, f"{path}.norm2")), f"{path}.conv2")
            x = keras.layers.Concatenate()([x, y])
        if number < 4:
            transition = f"features.transition{number}"
            x = sketch.conv(sketch.act(sketch.norm(x, f"{transition}.norm")), f"{transition}.conv")
            x = keras.layers.AveragePooling2D(2)(x)
    return sketch.act(sketch.norm(x, "features.norm5"))


def _dense_layers(sketch: Sketch, path: str) -> list[str]:
    numbers = {
        int(name.split(".")[2].removeprefix("denselayer")) for name in sketch.shapes if name.startswith(f"{path}.")
    }
    return [f"{path}.denselayer{number}" for number in sorted(numbers)]
