"""Network: a kind of network of TorchVision or timm, told by the names and shapes of its weights."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tfembed.encoders.pytorch.families import draw_densenet, draw_resnet, draw_vgg
from tfembed.encoders.pytorch.mobile import draw_timm, draw_torchvision
from tfembed.encoders.pytorch.network import Draw, Shapes, Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A kind of network.

    Attributes:
        name: What people call it.
        mark: A pattern of the name of a weight that it has and others have not.
        names: A pattern of names of its models.
        draw: What makes it.
        style: What its weights do not tell.
        ignored: Patterns of names that the embedding does not need.
        holds: What else its weights must be like.
    """

    name: str
    mark: str
    names: str
    draw: Draw
    style: Style = field(default_factory=Style)
    ignored: tuple[str, ...] = (r"(fc|classifier|head)\..*",)
    holds: Callable[[Shapes], bool] = bool


def _has(pattern: str, shapes: Shapes) -> bool:
    return any(re.fullmatch(pattern, name) for name in shapes)


def _has_no(pattern: str, shapes: Shapes) -> bool:
    return not _has(pattern, shapes)


def _is_v3(shapes: Shapes) -> bool:
    return "conv_head.bias" in shapes and _has(r"blocks\..*\.se\..*", shapes)


def _is_v2(shapes: Shapes) -> bool:
    """MobileNetV2, and none of those that look for other kernels."""
    kernels = {shape[-1] for name, shape in shapes.items() if name.startswith("blocks.") and len(shape) == 4}
    return kernels == {1, 3} and _has_no(r".*\.se\..*|conv_head\.bias", shapes)


def _gates_all(shapes: Shapes) -> bool:
    """Whether every block has a gate, as in EfficientNet."""
    blocks = {match[0] for name in shapes if (match := re.match(r"blocks\.\d+\.\d+", name))}
    return all(f"{block}.se.conv_reduce.weight" in shapes for block in blocks) and "conv_head.bias" not in shapes


_TF = r"(tf_)?"
NETWORKS = (
    Network(
        name="ResNet",
        mark=r"layer1\.0\.conv1\.weight",
        names=r"(tv_)?(resnet|resnext|wide_resnet)\d+(_\d+)?(_\d+x\d+d)?",
        draw=draw_resnet,
    ),
    Network(
        name="VGG",
        mark=r"features\.0\.weight",
        names=r"vgg\d+(_bn)?",
        draw=draw_vgg,
        ignored=(r"(classifier|head|pre_logits)\..*",),
    ),
    Network(
        name="DenseNet",
        mark=r"features\.denseblock1\.denselayer1\.conv1\.weight",
        names=r"(tv_)?densenet\d+",
        draw=draw_densenet,
    ),
    Network(
        name="MobileNetV2",
        mark=r"blocks\.0\.0\.conv_dw\.weight",
        names=r"mobilenetv2_\w+",
        draw=partial(draw_timm, family="mobilenetv2"),
        style=Style(activation="relu6"),
        holds=_is_v2,
    ),
    Network(
        name="MobileNetV3",
        mark=r"blocks\.0\.0\.conv_dw\.weight",
        names=_TF + r"mobilenetv3_(small|large)_\d+",
        draw=partial(draw_timm, family="mobilenetv3"),
        style=Style(activation="hard_silu"),
        holds=_is_v3,
    ),
    Network(
        name="EfficientNet",
        mark=r"blocks\.0\.0\.conv_dw\.weight",
        names=_TF + r"efficientnet_b\d(_\w+)?",
        draw=partial(draw_timm, family="efficientnet"),
        style=Style(activation="silu"),
        holds=_gates_all,
    ),
    Network(
        name="EfficientNetV2",
        mark=r"blocks\.1\.0\.conv_exp\.weight",
        names=_TF + r"efficientnetv2_\w+",
        draw=partial(draw_timm, family="efficientnetv2"),
        style=Style(activation="silu"),
        holds=partial(_has, r"blocks\..*\.se\..*"),
    ),
    Network(
        name="TorchVision's MobileNetV2",
        mark=r"features\.1\.conv\.0\.0\.weight",
        names=r"mobilenet_v2",
        draw=partial(draw_torchvision, family="mobilenetv2"),
        style=Style(activation="relu6"),
    ),
    Network(
        name="TorchVision's MobileNetV3",
        mark=r"features\.1\.block\.0\.0\.weight",
        names=r"mobilenet_v3_(small|large)",
        draw=partial(draw_torchvision, family="mobilenetv3"),
        style=Style(activation="hard_silu", epsilon=1e-3),
    ),
    Network(
        name="TorchVision's EfficientNetV2",
        mark=r"features\.1\.0\.block\.0\.0\.weight",
        names=r"efficientnet_v2_[sml]",
        draw=partial(draw_torchvision, family="efficientnetv2"),
        style=Style(activation="silu", epsilon=1e-3),
        holds=partial(_has_no, r"features\.1\..*\.fc1\.weight"),
    ),
    Network(
        name="TorchVision's EfficientNet",
        mark=r"features\.1\.0\.block\.0\.0\.weight",
        names=r"efficientnet_b\d",
        draw=partial(draw_torchvision, family="efficientnet"),
        style=Style(activation="silu"),
        holds=partial(_has, r"features\.1\..*\.fc1\.weight"),
    ),
)


_TRANSFORMER = re.compile(r"(^|\.)(word_embeddings|embed_tokens|wte|patch_embeddings\.projection)\.weight$")


def find_network(shapes: Shapes) -> Network | None:
    """The kind of network that has such weights; None if none is known."""
    return next((each for each in NETWORKS if _has(each.mark, shapes) and each.holds(shapes)), None)


def network_of(shapes: Shapes, file: Path, architecture: str | None) -> Network:
    """The kind of network that weights are of.

    Args:
        shapes: Of the weights, by name.
        file: Where they come from, to be named in errors.
        architecture: What timm or TorchVision call it; None if nobody said.

    Raises:
        ValueError: If none is known that has such weights, or it is not of that architecture.
    """
    found = find_network(shapes)
    if found is None:
        names = list(shapes)
        if any(".lora_" in name for name in names):
            raise ValueError(
                f"{str(file)!r} is an adapter (LoRA), which changes its base model and is no model of its own: merge "
                "the two with peft, as merge_and_unload() and save_pretrained(), and pass the folder with the result."
            )
        if any(_TRANSFORMER.search(name) for name in names):
            raise ValueError(
                f"{str(file)!r} has the weights of a transformer, whose config.json and tokenizer stand beside them: "
                f"pass the folder with all of these in place of the file, such as {str(file.parent)!r}."
            )
        raise ValueError(
            f"{str(file)!r} holds no network that is known: its weights are called {', '.join(names[:3])} ... "
            f"Expected the state dict of {', '.join(each.name for each in NETWORKS)}."
        )
    name = (architecture or "").partition(".")[0]
    if name and not re.fullmatch(found.names, name):
        raise ValueError(
            f"{str(file)!r} has the weights of a {found.name}, and {name!r} is none that is known. Expected "
            f"one of {', '.join(each.name for each in NETWORKS)}, without changes that weights do not tell."
        )
    return found
