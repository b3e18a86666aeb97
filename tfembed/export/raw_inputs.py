"""What clients send: UTF-8 texts, or encoded images."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfembed.data import read_images
from tfembed.predict import ModelParts

_TEXTS = ("hello", "Where is my order? It should have been here last week.", "ça va", "a " * 60)
_MOST = 1000  # TF Serving refuses a model with more warmup requests


def input_name(parts: ModelParts) -> str:
    """What the input of an exported model is called."""
    return "text" if parts.encoder.spec.kind == "text" else "image_bytes"


def raw_inputs(parts: ModelParts, examples: Sequence[Any] | np.ndarray | None) -> list[bytes]:
    """What clients will send for examples.

    Args:
        parts: Of the model.
        examples: As `predict` takes them; a few made-up ones if None. The first 1,000 are taken.

    Raises:
        ValueError: If there are none.
    """
    if examples is not None and not len(examples):
        raise ValueError("There are no examples to check the export with: pass some, or None for made-up ones.")
    if parts.encoder.spec.kind == "text":
        texts = _TEXTS if examples is None else examples[:_MOST]
        return [_utf8(i, text) for i, text in enumerate(texts)]
    if examples is None:
        size = (*(parts.encoder.spec.image_size or (32, 32)), 3)
        return [_png(each) for each in np.random.default_rng(0).integers(0, 256, (4, *size), dtype=np.uint8)]
    if isinstance(examples, np.ndarray) and examples.dtype == np.uint8:
        return [_png(pixels) for pixels in examples[:_MOST]]
    return read_images(list(examples[:_MOST]))


def as_examples(parts: ModelParts, raw: list[bytes]) -> list[Any]:
    """Raw inputs as `predict` takes them."""
    return [each.decode() for each in raw] if parts.encoder.spec.kind == "text" else list(raw)


def _utf8(i: int, text: str | bytes) -> bytes:
    if not isinstance(text, bytes):
        return str(text).encode()
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"examples[{i}]: {text[:30]!r} is no UTF-8. Decode it as what it is, and pass a str."
        ) from error
    return text


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
