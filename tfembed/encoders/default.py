"""The encoder that is taken where none is named: for images, one for photographs if its weights are on this machine."""

from tfembed.encoders.applications import weights_folder

FOR_TEXTS = "minilm"
FOR_CHARACTERS = "glyphs"
# Networks trained on photographs, the better choice for few examples on a CPU first, and the files that Keras keeps.
FOR_PHOTOGRAPHS = {
    "efficientnet_b0": "efficientnetb0_notop.h5",
    "mobilenet_v3_large": "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "applications:MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    "mobilenet_v1": "mobilenet_1_0_224_tf_no_top.h5",
    "mobilenet_v2_035": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
    "vgg16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
}


def default_encoder(kind: str) -> str:
    """Choose an encoder that needs no network.

    Args:
        kind: Kind of the data, `"text"` or `"image"`.

    Returns:
        Handle of the encoder: `minilm` for texts; for images the first network for photographs whose weights Keras has
        downloaded, or `glyphs`, which was trained on printed characters, if there is none.

    Example:
        >>> default_encoder("text")
        'minilm'
    """
    if kind == "text":
        return FOR_TEXTS
    folder = weights_folder()
    return next((name for name, file in FOR_PHOTOGRAPHS.items() if (folder / file).is_file()), FOR_CHARACTERS)
