"""An epoch of a frozen encoder with a head that trains: whole, against the epochs from the second on, from the cache.

    python benchmarks/cached_epochs.py [--shared FOLDER] [--repeats 5] [--texts 2000] [--images 320]

Both run in one process, in turns, in batches of 32; the table has medians and their spread. "Whole" is an epoch of
`fit` on the raw examples: each is tokenized or resized and encoded again; texts are padded to the longest of their
batch. "From the cache" is an epoch of the phase that `train` runs: the time of 41 epochs less that of one, over 40.
Texts are those of Banking77 in FOLDER, for MiniLM; images are blood cells in FOLDER, for MobileNetV2. Without a folder:
the intents that ship with tfembed, and noise for its glyphs.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import tfembed as te
from tfembed.features import fit_sequence_length

BATCH_SIZE, EPOCHS = 32, 40


def texts(shared: Path | None, count: int) -> tuple[str, keras.Model, te.Dataset]:
    if shared is None:
        name, data = "intents", te.load_text(te.resource_path("intents"), label="intent", validation=0, test=0)
    else:
        file = shared / "data" / "banking77" / "train.csv"
        name, data = "Banking77", te.load_text(file, label="category", validation=0, test=0)
    data = first(data, count)
    encoder = te.load_encoder("minilm")
    fit_sequence_length(encoder, data.train.examples)
    return f"MiniLM, {len(data.train):,} texts of {name}", te.build_text_classifier(encoder, data.class_names), data


def images(shared: Path | None, count: int) -> tuple[str, keras.Model, te.Dataset]:
    if shared is None:
        pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype("uint8")
        data = te.Dataset.from_arrays(pixels, np.arange(count) % 2, ["a", "b"], validation=0, test=0)
        name, encoder = f"glyphs, {count:,} images", te.load_encoder("glyphs")
    else:
        data = first(te.load_images(shared / "data" / "bccd" / "crops", validation=0, test=0), count)
        encoder = te.load_encoder(shared / "hub" / "mobilenet_v2_035_224_feature_vector")
        name = f"MobileNetV2 0.35, {len(data.train):,} blood cells"
    inputs = "bytes" if data.train.examples.dtype == object else "arrays"
    return name, te.build_image_classifier(encoder, data.class_names, inputs=inputs), data


def first(data: te.Dataset, count: int) -> te.Dataset:
    """Examples drawn from all classes."""
    rows = np.random.default_rng(0).permutation(len(data.train))[:count]
    return replace(data, train=te.Split(examples=data.train.examples[rows], labels=data.train.labels[rows]))


def whole_epochs(model: keras.Model, data: te.Dataset):
    """A function that runs an epoch of `fit` on raw examples, and gives its seconds."""
    examples = data.train.examples
    if isinstance(examples[0], Path):
        examples = np.array([path.read_bytes() for path in examples], object)
    raw = tf.constant(examples.tolist() if examples.dtype == object else examples)
    targets = np.eye(len(data.class_names), dtype="float32")[data.train.labels]
    logits = keras.Model(model.input, model.get_layer("head").output)
    logits.compile(keras.optimizers.AdamW(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
    batches = tf.data.Dataset.from_tensor_slices((raw, targets)).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)
    logits.fit(batches.take(1), verbose=0)

    def run() -> float:
        start = time.perf_counter()
        logits.fit(batches, verbose=0)
        return time.perf_counter() - start

    return run


def cached_epochs(model: keras.Model, data: te.Dataset):
    """A function that gives the seconds of an epoch of `train` from the second on."""
    cache = te.FeatureCache()

    def seconds(epochs: int) -> float:
        options = {"unfreeze": False, "solve": False, "learning_rate": 1e-3, "batch_size": BATCH_SIZE}
        phase = te.Phase(name="head", epochs=epochs, **options)
        return te.train(model, data, te.Strategy(name="head", phases=(phase,)), cache=cache).phases[0].seconds

    seconds(1)

    def run() -> float:
        return (seconds(1 + EPOCHS) - seconds(1)) / EPOCHS

    return run


def spread(values: list[float], unit: str) -> str:
    return f"{statistics.median(values):,.4g} {unit} ({min(values):,.4g} to {max(values):,.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Epochs of a frozen encoder.")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--texts", type=int, default=2000, help="enough for each class to be among them")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.texts, options.images = 1, 1500, 64
    table = Table(title=f"An epoch of the head, encoder frozen, batches of {BATCH_SIZE}; median of {options.repeats}")
    for name in ("encoder and data", "whole", "from the cache", "times as fast"):
        table.add_column(name)
    for name, model, data in (texts(options.shared, options.texts), images(options.shared, options.images)):
        whole, cached = whole_epochs(model, data), cached_epochs(model, data)
        pairs = [(whole(), cached()) for _ in range(options.repeats)]
        ratios = [a / b for a, b in pairs]
        table.add_row(name, spread([a for a, _ in pairs], "s"), spread([b for _, b in pairs], "s"), spread(ratios, "x"))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
