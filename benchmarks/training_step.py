"""A training step with the top of an encoder unfrozen: from the cache, against through the whole encoder.

    python benchmarks/training_step.py --shared FOLDER [--repeats 9] [--quick]

Both steps run in one process, in turns, on the same batch of 32, with the same optimizer, and train the same weights:
the top block of MiniLM as a TF Hub encoder (texts of Banking77, padded to the longest of the batch, tokens prepared
beforehand), and the last two stages of MobileNetV2 0.35 as a TF Hub feature vector (blood cells, decoded beforehand).
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import tfembed as te
from tfembed.batches import inputs_of
from tfembed.encoders.encoder import Suffix

BATCH_SIZE, STEPS = 32, 5


def minilm(shared: Path) -> tuple[str, te.Encoder, np.ndarray]:
    hub = shared / "hub"
    encoder = te.load_encoder(hub / "minilm_encoder", preprocessing=str(hub / "minilm_preprocess"), pooling="mean")
    encoder.unfreeze(1)
    data = te.load_text(shared / "data" / "banking77" / "train.csv", label="category", validation=0, test=0)
    rows = np.random.default_rng(0).permutation(len(data.train))[:BATCH_SIZE]
    return "MiniLM (TF Hub), top block", encoder, data.train.examples[rows]


def mobilenet(shared: Path) -> tuple[str, te.Encoder, np.ndarray]:
    encoder = te.load_encoder(shared / "hub" / "mobilenet_v2_035_224_feature_vector")
    encoder.unfreeze(2)
    data = te.load_images(shared / "data" / "bccd" / "crops", validation=0, test=0)
    return "MobileNetV2 0.35 (TF Hub), last two stages", encoder, data.train.examples[:BATCH_SIZE]


def step(encoder: te.Encoder, examples: np.ndarray, cut: int):
    """A function that runs training steps from a cut on, and gives the seconds of one."""
    features = te.FeatureCache.in_memory().get(encoder, examples, cut)
    inputs = inputs_of(features)
    outputs = keras.layers.Dense(10)(Suffix(encoder, cut)(inputs))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-5), loss, jit_compile=False)
    batch = {name: tf.constant(value) for name, value in features.batch(np.arange(len(examples))).items()}
    labels = tf.constant(np.arange(len(examples)) % 10)
    model.train_on_batch(batch, labels)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            model.train_on_batch(batch, labels)
        return (time.perf_counter() - start) / STEPS

    return run


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step from the cache.")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the modules that this measures")
        return
    table = Table(title=f"Training step, batch of {BATCH_SIZE}: median (least to most) of {options.repeats} turns")
    for name in ("what trains", "cut", "whole, ms", "from the cache, ms", "times as fast"):
        table.add_column(name)
    for load in (minilm, mobilenet):
        name, encoder, examples = load(options.shared)
        whole, cached = step(encoder, examples, 0), step(encoder, examples, encoder.num_frozen)
        pairs = [(1e3 * whole(), 1e3 * cached()) for _ in range(2 if options.quick else options.repeats)]
        columns = [spread([pair[i] for pair in pairs], ".1f") for i in (0, 1)]
        ratios = spread([a / b for a, b in pairs], ".2f")
        table.add_row(name, f"{encoder.num_frozen} of {len(encoder.blocks)}", *columns, ratios)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
