"""Pictures inside the page: small, and part of the file."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfembed.data.image_files import turn_upright

_SIDE = 128  # pixels


def data_uri(example: Any) -> str | None:
    """An image as an address that holds the image itself.

    Args:
        example: A path, encoded bytes, or pixels `uint8` of shape `(h, w)` or `(h, w, 3)`.

    Returns:
        A PNG of at most 128 pixels a side; None for a file that cannot be read any more.

    Example:
        >>> data_uri(np.zeros([8, 8], "uint8"))[:22]
        'data:image/png;base64,'
    """
    try:
        image = _open(example)
    except OSError:
        return None
    image.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _open(example: Any) -> Image.Image:
    if isinstance(example, np.ndarray):
        return Image.fromarray(example)
    image = Image.open(example if isinstance(example, Path) else io.BytesIO(example))
    return turn_upright(image).convert("RGB")
