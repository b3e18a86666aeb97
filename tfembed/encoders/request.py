"""What `load_encoder` was asked for: one value that every source of encoders understands."""

import os
from dataclasses import dataclass
from typing import Any

from tfembed.encoders.spec import EncoderSpec

PRETRAINED = "pretrained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An encoder that is wanted.

    Attributes:
        handle: What to load: text, or a Keras model or layer.
        spec: What is known of it beforehand; None if nothing is.
        preprocessing: Handle of the preprocessing module, for text encoders that come as a pair; of a Keras model, a
            layer too.
        pooling: `"mean"`, `"max"`, `"cls"` or what else the source offers; None for its own choice.
        output: The name of the output, or of the layer, that the embedding is made of; None for the usual one.
        weights: `"pretrained"`, a file with weights, or None for random ones.
        max_length: Tokens that the user wants kept at the least; None for the source's own choice.
        trust: Whether files that can do more than hold weights are loaded too.
    """

    handle: Any
    spec: EncoderSpec | None = None
    preprocessing: Any = None
    pooling: str | None = None
    output: str | None = None
    weights: str | os.PathLike[str] | None = PRETRAINED
    max_length: int | None = None
    trust: bool = False

    @property
    def rest(self) -> str:
        """The handle behind its scheme: `ResNet50` of `applications:ResNet50`."""
        return str(self.handle).partition(":")[2].removeprefix("//")

    @property
    def name(self) -> str:
        """What people call it: its name in the catalogue, or the last part of the handle."""
        return self.spec.name if self.spec else str(self.handle).rstrip("/").replace(":", "/").rsplit("/", 1)[-1]
