"""Tiny encoders and data for the tests of what is shipped: no downloads, no waiting."""

import csv
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

TEXTS = {"greeting": ("hello there", "good morning", "hi"), "refund": ("my money back", "I want a refund", "refund me")}


def write_text_module(folder: Path) -> str:
    """A SavedModel from strings (n) to embeddings (n, 8): mean over words of rows picked by hash, then a matrix."""
    rng = np.random.default_rng(0)
    module = tf.train.Checkpoint()
    rows = tf.Variable(rng.normal(size=(64, 8)).astype("float32"), name="embedding/rows")
    kernel = tf.Variable(rng.normal(size=(8, 8)).astype("float32"), name="dense/kernel")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def call(texts: tf.Tensor) -> tf.Tensor:
        words = tf.strings.split(texts)
        buckets = tf.ragged.map_flat_values(tf.strings.to_hash_bucket_fast, words, num_buckets=64)
        return (
            tf.math.divide_no_nan(
                tf.reduce_sum(tf.gather(rows, buckets), axis=1), tf.cast(words.row_lengths()[:, tf.newaxis], tf.float32)
            )
            @ kernel
        )

    module.__call__, module.variables, module.trainable_variables = call, [rows, kernel], [rows, kernel]
    tf.saved_model.save(module, str(folder))
    return str(folder)


def write_noisy_module(folder: Path, noise: float | None) -> str:
    """A SavedModel of two blocks from images to embeddings; noise of that size, if only 0, comes between them."""
    rng, module = np.random.default_rng(0), tf.train.Checkpoint()
    kernels = [tf.Variable(rng.normal(size=(3, 3)).astype("float32"), name=f"block_{i}/kernel") for i in range(2)]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])], autograph=False)
    def call(images: tf.Tensor) -> tf.Tensor:
        x = tf.tanh(tf.reduce_mean(images, axis=(1, 2)) @ kernels[0])
        x = x if noise is None else x + noise * tf.random.normal(tf.shape(x))
        return tf.tanh(x @ kernels[1])

    module.__call__, module.variables, module.trainable_variables = call, kernels, kernels
    tf.saved_model.save(module, str(folder))
    return str(folder)


def write_texts(file: Path) -> Path:
    """A table of 24 texts in two classes, with columns text and label."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        for i in range(4):
            for label, texts in TEXTS.items():
                writer.writerows([f"{text} {i}", label] for text in texts)
    return file


def write_images(folder: Path) -> Path:
    """A folder of 16 images of 8 x 8 pixels in two classes, dark and light."""
    rng = np.random.default_rng(0)
    for label, lowest in (("dark", 0), ("light", 200)):
        (folder / label).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(lowest, lowest + 50, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder
