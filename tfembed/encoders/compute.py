"""In which type the frozen part of an encoder computes: float32, or bfloat16 where that is quicker and right enough."""

import csv
from collections.abc import Callable
from typing import Any

import cpuinfo
import numpy as np
import tensorflow as tf

from tfembed.resources import resource_path

LEAST_AGREEMENT = 0.999
# Matrix products of bfloat16: of Intel (AMX, AVX-512), AMD (AVX-512), and Arm.
_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
_LEAST_CAPABILITY = (8, 0)  # Ampere
_NUM_SAMPLES = 16


def has_bfloat16() -> bool:
    """Whether the GPU, or the CPU where there is none, multiplies matrices of bfloat16 in hardware."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(each.get("compute_capability", (0, 0)) >= _LEAST_CAPABILITY for each in details)
    return not _CPU_FLAGS.isdisjoint(cpuinfo.get_cpu_info().get("flags", []))


def choose_compute(embed: Callable[[Any, str], np.ndarray], sample: Any, *, in_hardware: bool) -> str:
    """What `compute="auto"` comes to.

    Args:
        embed: From examples and a compute type to embeddings `(n, dim)`.
        sample: Examples to try it on.
        in_hardware: Whether there is hardware for bfloat16.

    Returns:
        `"bfloat16"` if there is hardware and each embedding of the sample has a cosine of at least 0.999 to the one
        in float32, else `"float32"`.

    Example:
        >>> choose_compute(lambda sample, compute: sample, np.eye(2), in_hardware=True)
        'bfloat16'
        >>> choose_compute(lambda sample, compute: sample, np.eye(2), in_hardware=False)
        'float32'
    """
    if not in_hardware:
        return "float32"
    exact, low = embed(sample, "float32"), embed(sample, "bfloat16")
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(low, axis=1)
    cosines = np.sum(exact * low, axis=1) / np.maximum(lengths, 1e-30)
    return "bfloat16" if cosines.min() >= LEAST_AGREEMENT else "float32"  # what is not a number is not enough


def sample_examples(kind: str, image_size: tuple[int, int] | None) -> Any:
    """A few examples of a kind: texts of the sample data, or pictures of smooth shapes, always the same."""
    if kind == "text":
        with resource_path("intents").open(encoding="utf-8", newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        return tf.constant(texts[:: len(texts) // _NUM_SAMPLES][:_NUM_SAMPLES])
    coarse = np.random.default_rng(0).integers(0, 256, (_NUM_SAMPLES, 6, 6, 3)).astype("float32")
    smooth = tf.image.resize(coarse, image_size or (64, 64), "bicubic")
    return tf.cast(tf.clip_by_value(smooth, 0, 255), tf.uint8)
