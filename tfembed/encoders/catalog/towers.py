"""Encoders of both texts and images, of KerasHub, by the names of their presets: one literal table."""

from tfembed.encoders.spec import EncoderSpec

# Name, length of an embedding, parameters of the tower for images, height and width of an image, licence, what it is
# good for. With those of the tower for texts and of what scales the logits, parameters are those of KerasHub's presets.
_OPENAI = "MIT (code)"  # nothing is said of the weights
_APACHE = "Apache-2.0"
_ROWS = (
    ("clip_vit_base_patch32", 512, 87_849_266, 224, _OPENAI, "photographs by English texts; quick"),
    ("clip_vit_base_patch16", 512, 86_192_837, 224, _OPENAI, "photographs by English texts"),
    ("clip_vit_large_patch14", 768, 303_966_465, 224, _OPENAI, "photographs by English texts; slow on CPUs"),
    ("siglip_base_patch16_224", 768, 92_884_420, 224, _APACHE, "pictures by English texts"),
    ("siglip_large_patch16_256", 1024, 315_956_480, 256, _APACHE, "pictures by English texts; slow on CPUs"),
    ("siglip2_base_patch16_224", 768, 92_884_420, 224, _APACHE, "pictures by texts in many languages"),
    ("siglip2_large_patch16_256", 1024, 315_956_480, 256, _APACHE, "pictures by texts in many languages; slow on CPUs"),
)

TOWERS = tuple(
    EncoderSpec(
        name=name,
        handle=f"keras_hub:{name}",
        kind="image",
        image_size=(size, size),
        dim=dim,
        parameters=parameters,
        licence=licence,
        source=f"KerasHub, {name}",
        good_for=good_for,
        both=True,
    )
    for name, dim, parameters, size, licence, good_for in _ROWS
)
