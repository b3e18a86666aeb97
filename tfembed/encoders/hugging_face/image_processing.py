"""From preprocessor_config.json to the layer that prepares images in the same way."""

from typing import Any

from tfembed.encoders.hugging_face.folder import Folder
from tfembed.encoders.pixels import Resized

_FILE = "preprocessor_config.json"
_METHODS = {0: "nearest", 1: "lanczos3", 2: "bilinear", 3: "bicubic"}  # by Pillow's numbers


def image_processing(folder: Folder) -> Resized:
    """The layer that an image processor of transformers comes to.

    Raises:
        ValueError: If there is no preprocessor_config.json, or it asks for what is not built here.
    """
    rules = folder.read(_FILE)
    size, crop = _size(rules.get("size")), _size(rules.get("crop_size"))
    resizes, crops = rules.get("do_resize", True), rules.get("do_center_crop", "crop_size" in rules)
    method = rules.get("resample", 2)
    if method not in _METHODS or rules.get("do_pad"):
        raise ValueError(
            f"{_FILE} of {folder.handle!r} asks for resample {method!r} and do_pad {rules.get('do_pad')!r}: expected "
            f"resample {sorted(_METHODS)} and no padding. Take another model."
        )
    if crop is not None and isinstance(crop, int):
        crop = (crop, crop)
    if isinstance(size, int) and not crops:  # transformers makes a square of it then
        size = (size, size)
    if not resizes and not crops:
        raise ValueError(
            f"{_FILE} of {folder.handle!r} neither resizes nor crops images: expected one size for all. Write "
            '"do_resize": true and a "size" into it.'
        )
    normalizes = rules.get("do_normalize", True)
    return Resized(
        size if resizes else None,
        crop=crop if crops else None,
        method=_METHODS[method],
        factor=rules.get("rescale_factor", 1 / 255) if rules.get("do_rescale", True) else 1.0,
        mean=_colours(rules.get("image_mean", 0.5), 0.0, normalizes),
        std=_colours(rules.get("image_std", 0.5), 1.0, normalizes),
    )


def _size(value: Any) -> int | tuple[int, int] | None:
    """A size as config files write it: a number, height and width, or the shorter side."""
    if isinstance(value, dict):
        if "shortest_edge" in value:
            return int(value["shortest_edge"])
        return (int(value["height"]), int(value["width"]))
    return None if value is None else int(value)


def _colours(value: Any, otherwise: float, used: bool) -> tuple[float, ...]:
    if not used:
        return (otherwise,) * 3
    return (float(value),) * 3 if isinstance(value, int | float) else tuple(map(float, value))
