"""Random weights that are the same wherever they are made: each from its name alone. Needs NumPy and nothing else."""

import zlib

import numpy as np


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a weight of PyTorch: such that nothing grows or vanishes on its way through a network."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    random = rng.standard_normal(shape).astype("float32")
    if len(shape) > 1:
        return random * np.float32(np.sqrt(2.0 / np.prod(shape[1:])))
    if name.endswith("running_var"):
        return 1.0 + 0.3 * np.abs(random)
    if name.endswith(".weight"):
        return 0.7 + 0.1 * random
    return 0.1 * random


def state_dict(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Values for the weights of a network."""
    return {name: values(name, shape) for name, shape in shapes.items()}


def image(size: int, seed: int = 0) -> np.ndarray:
    """A picture of soft spots, uint8 `(size, size, 3)`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    total = np.zeros((size, size, 3))
    for _ in range(12):
        across, down, width = rng.uniform((0, 0, 0.05), (1, 1, 0.4))
        total += np.exp(-((x - across) ** 2 + (y - down) ** 2) / width**2)[..., None] * rng.uniform(0, 1, 3)
    return (255 * total / total.max()).astype("uint8")


def normalised(size: int) -> np.ndarray:
    """Two pictures as networks take them, float32 `(2, size, size, 3)`."""
    pixels = np.stack([image(size, 0), image(size, 1)]).astype("float32") / 255
    return (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def packed(shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Names and shapes as one array of texts."""
    return np.array([f"{name} {' '.join(map(str, shape))}" for name, shape in shapes.items()])


def unpacked(texts: np.ndarray) -> dict[str, tuple[int, ...]]:
    """What `packed` packed."""
    rows = [text.split(" ") for text in texts.tolist()]
    return {name: tuple(int(size) for size in sizes if size) for name, *sizes in rows}
