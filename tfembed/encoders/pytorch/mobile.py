"""MobileNetV2, MobileNetV3, EfficientNet and EfficientNetV2 as TorchVision and timm have them."""

import re
from dataclasses import dataclass, replace
from typing import Any

import keras

from tfembed.encoders.pytorch.network import Sketch

# The parts of timm's kinds of blocks in the order in which they act: a convolution and its norm, or a gate's two.
_TIMM_PARTS = (
    ("conv_pwl", "conv_exp", (("conv_exp", "bn1"), ("se.conv_reduce", "se.conv_expand"), ("conv_pwl", "bn2"))),
    (
        "conv_pwl",
        "conv_dw",
        (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("se.conv_reduce", "se.conv_expand"), ("conv_pwl", "bn3")),
    ),
    ("conv_dw", "conv_dw", (("conv_dw", "bn1"), ("se.conv_reduce", "se.conv_expand"), ("conv_pw", "bn2"))),
    ("conv", "conv", (("conv", "bn1"),)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the weights of such a network do not tell.

    Attributes:
        strided: The places of blocks with stride 2, counted from 0, or of stages whose first block has it.
        gate: The activations inside of a squeeze-and-excitation, and at its end.
        plain: How many blocks, or stages, have ReLU in place of the style's activation.
    """

    strided: tuple[int, ...]
    gate: tuple[str, str] = ("silu", "sigmoid")
    plain: int = 0


# The stride of a block, its activation (the style's own if None), and those of its gate.
_How = tuple[int, str | None, tuple[str, str]]
_HARD = ("relu", "hard_sigmoid")
_V2 = Plan(strided=(1, 2, 3, 5))
# By family and number of stages (timm) or blocks (TorchVision).
_TIMM = {
    ("mobilenetv2", 7): _V2,
    ("efficientnet", 7): _V2,
    ("efficientnetv2", 6): _V2,
    ("mobilenetv3", 7): replace(_V2, gate=_HARD, plain=3),
    ("mobilenetv3", 6): Plan(strided=(0, 1, 2, 4), gate=_HARD, plain=2),
}
_TORCHVISION = {
    ("mobilenetv2", 17): Plan(strided=(1, 3, 6, 13)),
    ("mobilenetv3", 15): Plan(strided=(1, 3, 6, 12), gate=_HARD, plain=6),
    ("mobilenetv3", 11): Plan(strided=(0, 1, 3, 8), gate=_HARD, plain=3),
    ("efficientnet", 7): _V2,
    ("efficientnetv2", 6): _V2,
}


def draw_timm(sketch: Sketch, image: Any, family: str) -> Any:
    """A network of timm's EfficientNet kind."""
    x = sketch.act(sketch.norm(sketch.conv(image, "conv_stem", 2), "bn1"))
    stages = sketch.children("blocks")
    plan = _plan(_TIMM, family, len(stages))
    for number, stage in enumerate(stages):
        for i, path in enumerate(sketch.children(stage)):
            stride = 2 if i == 0 and number in plan.strided else 1
            x = _block(sketch, x, path, timm_parts(sketch, path), (stride, _activation(plan, number), plan.gate))
    sketch.block = "head"
    if family == "mobilenetv3":
        x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
        return sketch.act(sketch.conv(x, "conv_head"))
    return sketch.act(sketch.norm(sketch.conv(x, "conv_head"), "bn2"))


def draw_torchvision(sketch: Sketch, image: Any, family: str) -> Any:
    """A network of TorchVision's MobileNet or EfficientNet."""
    first, *middle, last = sketch.children("features")
    x = sketch.act(sketch.norm(sketch.conv(image, f"{first}.0", 2), f"{first}.1"))
    plan = _plan(_TORCHVISION, family, len(middle))
    for number, stage in enumerate(middle):
        nested = sketch.children(stage) if family.startswith("efficientnet") else [stage]
        for i, path in enumerate(nested):
            stride = 2 if i == 0 and number in plan.strided else 1
            x = _block(sketch, x, path, torchvision_parts(sketch, path), (stride, _activation(plan, number), plan.gate))
    sketch.block = "head"
    return sketch.act(sketch.norm(sketch.conv(x, f"{last}.0"), f"{last}.1"))


def timm_parts(sketch: Sketch, path: str) -> list[tuple[str, str]]:
    """The parts of a block of timm's, in the order in which they act."""
    for end, kind, parts in _TIMM_PARTS:
        if all(f"{path}.{name}.weight" in sketch.shapes for name in (end, kind)):
            found = [(f"{path}.{a}", f"{path}.{b}") for a, b in parts]
            return [pair for pair in found if f"{pair[0]}.weight" in sketch.shapes]
    raise ValueError(f"block {path!r} is of no known kind")


def torchvision_parts(sketch: Sketch, path: str) -> list[tuple[str, str]]:
    """The parts of a block of TorchVision's: its names have them in the order in which they act, two by two."""
    names = [name.removesuffix(".weight") for name in sketch.shapes if re.match(rf"{re.escape(path)}\..*weight$", name)]
    ordered = sorted(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    return list(zip(ordered[::2], ordered[1::2], strict=True))


def _block(sketch: Sketch, x: Any, path: str, parts: list[tuple[str, str]], how: _How) -> Any:
    """An inverted residual, fused or not: the stride is in its first convolution that sees more than one pixel."""
    stride, activation, gate = how
    sketch.block = path.replace(".", "_")
    given, is_strided = x, False
    for first, second in parts:
        if f"{second}.running_mean" not in sketch.shapes:
            x = _gated(sketch, x, (first, second), gate)
            continue
        wide = not is_strided and sketch.shape(first)[-1] > 1
        x = sketch.norm(sketch.conv(x, first, stride if wide else 1), second)
        is_strided = is_strided or wide
        is_last = (first, second) == parts[-1]
        x = x if is_last and len(parts) > 1 else sketch.act(x, activation)
    return keras.layers.Add()([x, given]) if stride == 1 and x.shape[-1] == given.shape[-1] else x


def _gated(sketch: Sketch, x: Any, paths: tuple[str, str], activations: tuple[str, str]) -> Any:
    """Channels weighed by their means: squeeze and excitation (https://arxiv.org/abs/1709.01507)."""
    y = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    for path, activation in zip(paths, activations, strict=True):
        y = sketch.act(sketch.conv(y, path), activation)
    return keras.layers.Multiply()([x, y])


def _activation(plan: Plan, number: int) -> str | None:
    return "relu" if number < plan.plain else None


def _plan(plans: dict[tuple[str, int], Plan], family: str, number: int) -> Plan:
    if (family, number) not in plans:
        raise ValueError(f"a {family} with {number} stages is not known")
    return plans[family, number]
