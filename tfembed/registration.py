"""Layers of ours in files that Keras reads: known by name once both are imported, loaded when a file has one.

Keras finds a layer by the name that its class is registered under. To have the class is to import TensorFlow; so
what is registered at first is what imports the class when Keras makes a layer of its config.
"""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import wrapt

# Registered name -> the module that has the class.
LAYERS = {
    "BytePairs": "tfembed.encoders.byte_pairs",
    "Cosine": "tfembed.head_layers",
    "Encoder": "tfembed.encoders.encoder",
    "HubLayer": "tfembed.saved_model.layer",
    "ImagePixels": "tfembed.encoders.pixels",
    "ImagePreprocessing": "tfembed.encoders.preprocessing",
    "LayerScale": "tfembed.encoders.patches",
    "PatchTokens": "tfembed.encoders.patches",
    "Probabilities": "tfembed.builders",
    "RelativeAttention": "tfembed.encoders.relative",
    "RelativeBias": "tfembed.encoders.relative",
    "Resized": "tfembed.encoders.pixels",
    "Suffix": "tfembed.encoders.suffix",
    "TanhGelu": "tfembed.encoders.activations",
    "TextTokenizer": "tfembed.encoders.text_tokenizer",
    "TextTokens": "tfembed.encoders.text_tokens",
    "TokenPooling": "tfembed.encoders.pooling",
    "Values": "tfembed.builders",
    "WordPieces": "tfembed.encoders.word_pieces",
    "WordPooling": "tfembed.encoders.words.pooling",
    "Words": "tfembed.encoders.words.layer",
}


@dataclass(frozen=True)
class _Later:
    """In the place of a layer's class, of which Keras asks nothing but a layer of its config."""

    module: str
    name: str

    def from_config(self, config: dict[str, Any]) -> Any:
        return getattr(import_module(self.module), self.name).from_config(config)


def register_layers() -> None:
    """Have Keras find the layers in files, no matter which of the two is imported first."""
    wrapt.register_post_import_hook(_register, "keras")


def _register(keras: ModuleType) -> None:
    _let_keras_hub_import()
    for name, module in LAYERS.items():
        keras.saving.get_custom_objects().setdefault(f"tfembed>{name}", _Later(module, name))


def _let_keras_hub_import() -> None:
    """Keep two names where KerasHub before 0.33 imports them from; Keras 3.16 has them in another module alone."""
    backend = import_module("keras.src.backend")
    masking = import_module("keras.src.backend.common.masking")
    for name in ("get_keras_mask", "set_keras_mask"):
        if not hasattr(backend, name):
            setattr(backend, name, getattr(masking, name))
