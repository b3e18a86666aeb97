"""What `load_encoder` was asked for: one value that every source of encoders understands."""

import os
import re
from dataclasses import dataclass
from typing import Any

from tfembed.encoders.spec import EncoderSpec

PRETRAINED = "pretrained"
_NOT_NAMES = re.compile(r"\d+|feature[-_]vector|tensorflow[12]", re.IGNORECASE)
_SHORT = re.compile(r".{1,3}|en-dim\d+|\d.*")  # what says nothing without the part in front of it


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
        kind: Which tower, of an encoder that has one for texts and one for images; None for that of images.
        signature: The signature of a SavedModel that is called; None for the module itself, or its only candidate.
        max_length: Tokens that the user wants kept at the least; None for the source's own choice.
        trust: Whether files that can do more than hold weights are loaded too.
    """

    handle: Any
    spec: EncoderSpec | None = None
    preprocessing: Any = None
    pooling: str | None = None
    output: str | None = None
    weights: str | os.PathLike[str] | None = PRETRAINED
    kind: str | None = None
    signature: str | None = None
    max_length: int | None = None
    trust: bool = False

    @property
    def rest(self) -> str:
        """The handle behind its scheme: `ResNet50` of `applications:ResNet50`."""
        return str(self.handle).partition(":")[2].removeprefix("//")

    @property
    def name(self) -> str:
        """What people call it: its name in the catalogue, or the last part of the handle."""
        return self.spec.name if self.spec else name_of(str(self.handle))


def name_of(handle: str) -> str:
    """What people call what a handle names: its last part, without what says only which version or format it is.

    Example:
        >>> name_of("https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5")
        'mobilenet_v2_100_224'
        >>> name_of("kaggle://google/nnlm/tensorFlow2/en-dim50/1")
        'nnlm-en-dim50'
    """
    every = [part for part in re.split("[:/]+", handle) if part]
    parts = [part for part in every if not _NOT_NAMES.fullmatch(part)] if "://" in handle else every
    if len(parts) > 1 and "://" in handle and _SHORT.fullmatch(parts[-1]):
        return f"{parts[-2]}-{parts[-1]}"
    return parts[-1] if parts else handle
