"""Networks with two towers, such as CLIP: one embeds images, the other texts, and what belongs together is near."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tfembed.encoders.composition import hash_array
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.pooling import TokenPooling
from tfembed.encoders.preprocessing import MASK_NAMES

Layers = Mapping[str, keras.layers.Layer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How KerasHub puts networks of a family together.

    Attributes:
        preprocessor: The class of `keras_hub.models` that prepares texts.
        layers: From a backbone to the layers of a tower, by kind; from input to output, each named `BLOCK.LAYER`.
        pads: Whether every text has the full length, its padding read like tokens; else padding is left out.
        apart: Whether digits stand apart; see `Writing`.
    """

    preprocessor: str
    layers: Mapping[str, Callable[[Any], Layers]]
    pads: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """One of the two.

    Attributes:
        body: From pixels, or from tokens, to vectors `(n, dim)`, not normalised.
        twin: The checksum of the weights of the other one.
    """

    body: keras.Model
    twin: str


def tower(backbone: Any, kind: str) -> Tower:
    """Take one tower out of a backbone, with weights of its own and names that are the same in every process.

    Args:
        backbone: A backbone of one of FAMILIES.
        kind: Of what it embeds: `"text"` or `"image"`.
    """
    family = FAMILIES[type(backbone).__name__]
    (other,) = set(family.layers) - {kind}
    mask = None
    if kind == "image":
        x = inputs = keras.Input(backbone.vision_encoder.image_shape, name="images")
    else:
        length = backbone.text_encoder.max_sequence_length if family.pads else None
        x = keras.Input((length,), dtype="int32", name="token_ids")
        mask = None if family.pads else keras.Input((None,), dtype="bool", name=MASK_NAMES[0])
        inputs = {"token_ids": x} | ({} if mask is None else {MASK_NAMES[0]: mask})
    for name, layer in family.layers[kind](backbone).items():
        copy = type(layer).from_config(layer.get_config() | {"name": name})
        x = copy([x, mask]) if isinstance(layer, TokenPooling) and mask is not None else copy(x)
        copy.set_weights(layer.get_weights())
    theirs = [weight for layer in family.layers[other](backbone).values() for weight in layer.weights]
    return Tower(body=keras.Model(inputs, x, name="body"), twin=_checksum(theirs))


def space_of(encoder: Encoder) -> str | None:
    """A name for the space that both towers embed into, the same for both, as long as neither was trained.

    Returns:
        40 hexadecimal digits; None where nothing else embeds into the space of the encoder.
    """
    if encoder.spec.twin is None or encoder.spec.depths:
        return None
    both = sorted([_checksum(encoder.body.weights), encoder.spec.twin])
    return hashlib.blake2b("".join(both).encode(), digest_size=20).hexdigest()


def _checksum(weights: Iterable[Any]) -> str:
    """A checksum of weights, in whatever order they come."""
    return hashlib.blake2b("".join(sorted(map(hash_array, weights))).encode(), digest_size=20).hexdigest()


def _numbered(encoder: Any) -> Layers:
    return {f"layer_{i}": layer for i, layer in enumerate(encoder.encoder_layers)}


def _clip_image(backbone: Any) -> Layers:
    encoder = backbone.vision_encoder
    return {
        "embeddings.patches": encoder.embedding,
        "embeddings.norm": encoder.pre_layer_norm,
        **_numbered(encoder),
        "projection.norm": encoder.layer_norm,
        "projection.pooling": backbone.vision_pooler,
        "projection.dense": backbone.vision_projection,
    }


def _clip_text(backbone: Any) -> Layers:
    encoder = backbone.text_encoder
    return {
        "embeddings.tokens": encoder.embedding,
        **_numbered(encoder),
        "projection.norm": encoder.layer_norm,
        "projection.pooling": TokenPooling("last"),  # KerasHub looks for the token that ends a text, which is the last
        "projection.dense": backbone.text_projection,
    }


def _metaclip_image(backbone: Any) -> Layers:
    encoder = backbone.vision_encoder
    return {
        "embeddings.patches": encoder.embedding,
        "embeddings.norm": encoder.pre_layer_norm,
        **_numbered(encoder),
        "projection.pooling": backbone.vision_pooler,
        "projection.norm": backbone.vision_post_layer_norm,
        "projection.dense": backbone.vision_projection,
    }


def _siglip_image(backbone: Any) -> Layers:
    encoder = backbone.vision_encoder
    return {
        "embeddings.patches": encoder.embedding,
        **_numbered(encoder),
        "head.norm": encoder.post_layer_norm,
        "head.pooling": encoder.head,
    }


def _siglip_text(backbone: Any) -> Layers:
    encoder = backbone.text_encoder
    return {
        "embeddings.tokens": encoder.embedding,
        **_numbered(encoder),
        "head.norm": encoder.post_layer_norm,
        "head.pooling": TokenPooling("last"),
        "head.dense": encoder.head,
    }


# By the name of the backbone's class.
FAMILIES = {
    "CLIPBackbone": Family(
        preprocessor="CLIPPreprocessor",
        layers={"image": _clip_image, "text": _clip_text},
        apart=True,
    ),
    "MetaCLIP2Backbone": Family(
        preprocessor="MetaCLIP2CausalLMPreprocessor", layers={"image": _metaclip_image, "text": _clip_text}
    ),
    "SigLIPBackbone": Family(
        preprocessor="SigLIPPreprocessor", layers={"image": _siglip_image, "text": _siglip_text}, pads=True
    ),
}
