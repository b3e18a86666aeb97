"""The validation loss of each epoch on Banking77, 10 examples a class, against plain Keras at the same settings.

    python benchmarks/learning_curve.py --shared FOLDER [--seeds 10] [--quick]

Both train the head and the top block of MiniLM (TF Hub) at one learning rate for 3 epochs, in batches of 16 of the same
draw. Plain Keras is what tutorials do: `fit` of the whole model, texts padded to 64, shuffled by `fit`, under Keras's
AdamW. tfembed trains from cached features, in chunks of like length. A seed draws the initial head, the order and the
dropout, not the examples. tfembed learns what Keras learns if the differences are within the spread of seeds.
"""

import argparse
import math
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from search_speed import BATCH_SIZE, EPOCHS, load, read

import tfembed as te

LEARNING_RATE = 3e-4


def ours(shared: Path, data: te.Dataset, seed: int) -> list[float]:
    """Validation losses of `te.train`."""
    model = te.build_text_classifier(load(shared), data.class_names)
    phase = te.Phase(name="tune", unfreeze=1, epochs=EPOCHS, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE)
    strategy = te.Strategy(name="top 1", phases=(phase,))
    result = te.train(model, data, strategy, seed=seed, cache=te.FeatureCache.in_memory())
    return result.phases[0].history["val_loss"]


def plain(shared: Path, data: te.Dataset, seed: int) -> list[float]:
    """Validation losses of `fit` of the whole model."""
    keras.utils.set_random_seed(seed)
    encoder = load(shared)
    encoder.unfreeze(1)
    texts = keras.Input((), dtype="string")
    tokens = encoder.preprocessing(texts)
    mask = keras.ops.expand_dims(keras.ops.cast(tokens["input_mask"], "float32"), -1)
    embedding = keras.ops.sum(encoder.body(tokens)["sequence_output"] * mask, 1) / keras.ops.sum(mask, 1)
    model = keras.Model(texts, keras.layers.Dense(len(data.class_names))(embedding))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(LEARNING_RATE, weight_decay=0.0), loss, jit_compile=False)
    training, validation = (tf.constant(split.examples.tolist()) for split in (data.train, data.validation))
    history = model.fit(
        training,
        data.train.labels,
        validation_data=(validation, data.validation.labels),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        verbose=0,
    )
    return history.history["val_loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Validation losses, epoch by epoch.")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the module and the data that this measures")
        return
    data = read(options.shared, 0, options.quick)
    seeds = range(2 if options.quick else options.seeds)
    curves = []
    for seed in seeds:
        curves.append((ours(options.shared, data, seed), plain(options.shared, data, seed)))
        print(f"  seed {seed}: te.train, plain Keras: {np.round(curves[-1], 3).tolist()}", flush=True)
    losses = np.array(curves)
    means, spreads = losses.mean(axis=0), losses.std(axis=0, ddof=1)
    errors = np.sqrt((spreads**2).sum(axis=0)) / math.sqrt(len(seeds))
    table = Table(title=f"Validation loss, {len(seeds)} seeds: mean ± standard deviation; difference ± standard error")
    for name in ("epoch", "te.train", "plain Keras", "difference"):
        table.add_column(name)
    for i in range(EPOCHS):
        cells = [f"{means[j, i]:.3f} ± {spreads[j, i]:.3f}" for j in (0, 1)]
        table.add_row(str(i + 1), *cells, f"{means[0, i] - means[1, i]:+.3f} ± {errors[i]:.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
