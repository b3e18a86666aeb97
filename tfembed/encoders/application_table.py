"""What there is to know of keras.applications: one literal table."""

from dataclasses import dataclass

from tfembed.encoders.spec import PerChannel

# A pattern for names of layers, and the block that it stands for.
Pattern = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRange:
    """What becomes of pixel values in [0, 1], as in `EncoderSpec`."""

    mean: PerChannel = 0.0
    scale: PerChannel = 1.0
    channels: str = "rgb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A network, or several of a kind.

    Attributes:
        size: Height and width in pixels of the images that it was trained on.
        range: Name of the range of pixel values.
        options: Its own options that are numbers.
        ends: Names of the layers that end a block, where names alone do not tell blocks.
        named: Names of the layers of a block, where they are not as `number_of` reads them.
    """

    size: int = 224
    range: str
    options: tuple[str, ...] = ()
    ends: tuple[Pattern, ...] = ()
    named: tuple[Pattern, ...] = ()


# As `preprocess_input` of each module of keras.applications; 'raw' for networks that scale pixels themselves.
RANGES = {
    "caffe": PixelRange(
        mean=(103.939 / 255, 116.779 / 255, 123.68 / 255), scale=(1 / 255, 1 / 255, 1 / 255), channels="bgr"
    ),
    "tf": PixelRange(mean=0.5, scale=0.5),
    "torch": PixelRange(mean=(0.485, 0.456, 0.406), scale=(0.229, 0.224, 0.225)),
    "raw": PixelRange(scale=1 / 255),
}

_INCEPTION_V3 = (("max_pooling2d_1", "stem"), (r"mixed\d+", r"\g<0>"))
_INCEPTION_RESNET = (
    ("max_pooling2d_1", "stem"),
    (r"(mixed_\d[ab]|conv_7b)(_ac)?", r"\1"),
    (r"(block\d+_\d+)_ac", r"\1"),
    ("custom_scale_layer_39", "block8_10"),  # the last one has no activation
)
_XCEPTION = (
    ("block1_conv2_act", "block1"),
    *((f"add_{i}", f"block{i + 2}") for i in range(12)),
    ("block14_sepconv2_act", "block14"),
)
_NASNET = (
    (r"reduction_concat_(stem_\d+|reduce_\d+)", r"\1"),
    (r"normal_concat_(\d+)", r"cell_\1"),
)
_MOBILENET = ((r"conv_[dp]w_(\d+)(_bn)?", r"block_\1"),)
_MOBILENET_V3 = ((r"expanded_conv_(\d+)_.*", r"block_\1"),)
_CONVNEXT = ((r"convnext_[a-z]+_(stem|downsampling_block_\d+|stage_\d+_block_\d+)(_.*)?", r"\1"),)

FAMILIES: dict[str, Family] = {
    "VGG16": Family(range="caffe"),
    "VGG19": Family(range="caffe"),
    "ResNet50": Family(range="caffe"),
    "ResNet101": Family(range="caffe"),
    "ResNet152": Family(range="caffe"),
    "ResNet50V2": Family(range="tf"),
    "ResNet101V2": Family(range="tf"),
    "ResNet152V2": Family(range="tf"),
    "MobileNet": Family(range="tf", options=("alpha",), named=_MOBILENET),
    "MobileNetV2": Family(range="tf", options=("alpha",)),
    "MobileNetV3Small": Family(range="raw", options=("alpha",), named=_MOBILENET_V3),
    "MobileNetV3Large": Family(range="raw", options=("alpha",), named=_MOBILENET_V3),
    "DenseNet121": Family(range="torch"),
    "DenseNet169": Family(range="torch"),
    "DenseNet201": Family(range="torch"),
    "InceptionV3": Family(size=299, range="tf", ends=_INCEPTION_V3),
    "InceptionResNetV2": Family(size=299, range="tf", ends=_INCEPTION_RESNET),
    "Xception": Family(size=299, range="tf", ends=_XCEPTION),
    "NASNetMobile": Family(range="tf", ends=_NASNET),
    "NASNetLarge": Family(size=331, range="tf", ends=_NASNET),
    "EfficientNetB0": Family(range="raw"),
    "EfficientNetB1": Family(size=240, range="raw"),
    "EfficientNetB2": Family(size=260, range="raw"),
    "EfficientNetB3": Family(size=300, range="raw"),
    "EfficientNetB4": Family(size=380, range="raw"),
    "EfficientNetB5": Family(size=456, range="raw"),
    "EfficientNetB6": Family(size=528, range="raw"),
    "EfficientNetB7": Family(size=600, range="raw"),
    "EfficientNetV2B0": Family(range="raw"),
    "EfficientNetV2B1": Family(size=240, range="raw"),
    "EfficientNetV2B2": Family(size=260, range="raw"),
    "EfficientNetV2B3": Family(size=300, range="raw"),
    "EfficientNetV2S": Family(size=384, range="raw"),
    "EfficientNetV2M": Family(size=480, range="raw"),
    "EfficientNetV2L": Family(size=480, range="raw"),
    "ConvNeXtTiny": Family(range="raw", named=_CONVNEXT),
    "ConvNeXtSmall": Family(range="raw", named=_CONVNEXT),
    "ConvNeXtBase": Family(range="raw", named=_CONVNEXT),
    "ConvNeXtLarge": Family(range="raw", named=_CONVNEXT),
    "ConvNeXtXLarge": Family(range="raw", named=_CONVNEXT),
}

# Files that Keras keeps under another name than they have on the web.
PRETRAINED_NAMES = {
    "NASNet-mobile-no-top.h5": "nasnet_mobile_no_top.h5",
    "NASNet-large-no-top.h5": "nasnet_large_no_top.h5",
}
