"""Vision transformers as Keras models, from pixels to one vector per patch."""

from dataclasses import dataclass
from typing import Any

import keras

from tfembed.encoders.activations import activation
from tfembed.encoders.patches import LayerScale, PatchTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """The form of a vision transformer.

    Attributes:
        image_size: Height and width in pixels.
        patch_size: Height and width of a patch.
        num_layers: Layers.
        num_heads: Attention heads of a layer.
        dim: Length of a patch's vector.
        intermediate_dim: Length of the vectors inside a layer.
        num_extra: Tokens between the first one, the class token, and those of the patches, such as registers.
        placed: Whether the extra tokens have positions too.
        activation: As config.json calls it.
        gated: Whether the dense layers inside are SwiGLU.
        scaled: Whether what a layer adds is scaled first, number by number.
        epsilon: Of the layer norms.
        dropout: While training.
    """

    image_size: int
    patch_size: int
    num_layers: int
    num_heads: int
    dim: int
    intermediate_dim: int
    num_extra: int = 0
    placed: bool = False
    activation: str = "gelu"
    gated: bool = False
    scaled: bool = False
    epsilon: float = 1e-6
    dropout: float = 0.0


def vit_shape(config: dict[str, Any], image_size: int) -> ImageShape:
    """The form that the config.json of a ViT or DeiT describes.

    Raises:
        ValueError: If images come in another size than the one that it has positions for.
    """
    if config["image_size"] != image_size:
        raise ValueError(
            f"preprocessor_config.json makes images of {image_size} pixels, config.json has positions for "
            f"{config['image_size']}: expected the same. Set both to {config['image_size']}."
        )
    return ImageShape(
        image_size=image_size,
        patch_size=config["patch_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        dim=config["hidden_size"],
        intermediate_dim=config["intermediate_size"],
        num_extra=1 if config["model_type"] == "deit" else 0,
        placed=config["model_type"] == "deit",
        activation=config.get("hidden_act", "gelu"),
        epsilon=config.get("layer_norm_eps", 1e-12),
        dropout=config.get("hidden_dropout_prob", 0.0),
    )


def dinov2_shape(config: dict[str, Any], image_size: int) -> ImageShape:
    """The form that the config.json of a DINOv2 describes; its positions are fitted to the size of the images."""
    gated = config.get("use_swiglu_ffn", False)
    inside = int(config["hidden_size"] * config.get("mlp_ratio", 4))
    return ImageShape(
        image_size=image_size,
        patch_size=config["patch_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        dim=config["hidden_size"],
        intermediate_dim=(int(inside * 2 / 3) + 7) // 8 * 8 if gated else inside,
        num_extra=config.get("num_register_tokens", 0),
        activation=config.get("hidden_act", "gelu"),
        gated=gated,
        scaled=True,
        epsilon=config.get("layer_norm_eps", 1e-6),
        dropout=config.get("hidden_dropout_prob", 0.0),
    )


def image_body(shape: ImageShape) -> keras.Model:
    """A vision transformer with random weights.

    Returns:
        A model from pixels `(n, image_size, image_size, 3)` to `(n, 1 + num_extra + number of patches, dim)`; the first
        vector is that of the class token.
    """
    layers, size = keras.layers, shape.patch_size
    images = keras.Input((shape.image_size, shape.image_size, 3), name="images")
    x = layers.Conv2D(shape.dim, size, strides=size, name="patch_embedding")(images)
    x = layers.Reshape((-1, shape.dim), name="patches")(x)
    x = PatchTokens(shape.num_extra, placed=shape.placed, name="position_embedding")(x)
    x = layers.Dropout(shape.dropout, name="embeddings_dropout")(x)
    for i in range(shape.num_layers):
        y = layers.LayerNormalization(epsilon=shape.epsilon, name=f"layer_{i}_norm_1")(x)
        attention = layers.MultiHeadAttention(
            shape.num_heads, shape.dim // shape.num_heads, name=f"layer_{i}_attention"
        )
        x = _added(x, attention(y, y), shape, f"layer_{i}", 1)
        y = layers.LayerNormalization(epsilon=shape.epsilon, name=f"layer_{i}_norm_2")(x)
        x = _added(x, _dense(y, shape, f"layer_{i}"), shape, f"layer_{i}", 2)
    x = layers.LayerNormalization(epsilon=shape.epsilon, name="norm")(x)
    return keras.Model(images, x, name="body")


def _added(x: Any, y: Any, shape: ImageShape, name: str, place: int) -> Any:
    y = keras.layers.Dropout(shape.dropout, name=f"{name}_dropout_{place}")(y)
    if shape.scaled:
        y = LayerScale(name=f"{name}_scale_{place}")(y)
    return keras.layers.Add(name=f"{name}_add_{place}")([x, y])


def _dense(x: Any, shape: ImageShape, name: str) -> Any:
    if not shape.gated:
        x = keras.layers.Dense(shape.intermediate_dim, activation(shape.activation), name=f"{name}_dense_1")(x)
        return keras.layers.Dense(shape.dim, name=f"{name}_dense_2")(x)
    x = keras.layers.Dense(2 * shape.intermediate_dim, name=f"{name}_dense_1")(x)
    gate, value = keras.ops.split(x, 2, axis=-1)
    return keras.layers.Dense(shape.dim, name=f"{name}_dense_2")(keras.ops.silu(gate) * value)
