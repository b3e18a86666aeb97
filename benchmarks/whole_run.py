"""A whole `lp_ft(1)` run on Banking77, 10 examples a class, against `fit` of the same model without cut and cache.

    python benchmarks/whole_run.py --shared FOLDER [--seeds 3] [--quick]

Both have MiniLM as a TF Hub encoder, the same draws and batch size, and train the same weights: first the head, then
the head and the top block, at the same rate for as many epochs. tfembed solves the head, before and after; `fit` is
what tutorials do: the head is trained in epochs too, texts are padded to 64, and all is computed anew in each epoch.
Seconds are those of training, features included and evaluation left out; both run in turns.
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import tfembed as te

EPOCHS, BATCH_SIZE = 5, 16


def load(shared: Path) -> te.Encoder:
    hub = shared / "hub"
    return te.load_encoder(hub / "minilm_encoder", preprocessing=str(hub / "minilm_preprocess"), pooling="mean")


def ours(shared: Path, data: te.Dataset, seed: int, epochs: int) -> tuple[float, float]:
    """Seconds and test accuracy of `train`, from an empty cache."""
    model = te.build_text_classifier(load(shared), data.class_names)
    result = te.train(model, data, te.lp_ft(1, epochs=epochs), seed=seed, cache=te.FeatureCache.in_memory())
    return sum(phase.seconds for phase in result.phases), result.metrics["test"]["accuracy"]


def plain(shared: Path, data: te.Dataset, seed: int, epochs: int) -> tuple[float, float]:
    """Seconds and test accuracy of `fit` on tokens padded to 64."""
    keras.utils.set_random_seed(seed)
    encoder = load(shared)
    model = te.build_text_classifier(encoder, data.class_names)
    body, head = encoder.body, model.get_layer("head")
    specs = {name: keras.Input((64,), dtype=spec.dtype.name, name=name) for name, spec in body.input_specs.items()}
    outputs = body(specs)["sequence_output"]
    mask = keras.ops.expand_dims(keras.ops.cast(specs["input_mask"], "float32"), -1)
    embedding = keras.ops.sum(outputs * mask, 1) / keras.ops.sum(mask, 1)
    fitted = keras.Model(specs, head(embedding))
    start = time.perf_counter()
    tokens = encoder.preprocessing(tf.constant(data.train.examples.tolist()))
    for unfreeze, rate, count in ((False, 1e-2, epochs), (1, 1e-4, epochs)):
        encoder.unfreeze(unfreeze)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        fitted.compile(keras.optimizers.AdamW(rate), loss, jit_compile=False)
        fitted.fit(tokens, data.train.labels, batch_size=BATCH_SIZE, epochs=count, verbose=0)
    seconds = time.perf_counter() - start
    return seconds, te.evaluate(model, data.test)["accuracy"]


def spread(values: list[float], form: str) -> str:
    return f"{statistics.mean(values):{form}} ({' '.join(f'{value:{form}}' for value in values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description="A whole run.")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the module and the data that this measures")
        return
    folder, epochs = options.shared / "data" / "banking77", 1 if options.quick else EPOCHS
    data = te.load_text(folder / "train.csv", label="category", validation=0, test=folder / "test.csv")
    runs = []
    for seed in range(1 if options.quick else options.seeds):
        drawn = data.few_shot(10, seed)
        runs.append((ours(options.shared, drawn, seed, epochs), plain(options.shared, drawn, seed, epochs)))
        print(f"  seed {seed}: (seconds, accuracy) of tfembed, of fit: {runs[-1]}", flush=True)
    table = Table(title=f"Banking77, 10 examples a class, {len(runs)} seeds: mean (each seed)")
    for name in ("what", "seconds", "test accuracy, %"):
        table.add_column(name)
    for i, name in enumerate(("tfembed lp_ft(1)", "fit of the whole")):
        table.add_row(
            name, spread([run[i][0] for run in runs], ".1f"), spread([100 * run[i][1] for run in runs], ".1f")
        )
    table.add_row("times as fast", spread([b[0] / a[0] for a, b in runs], ".1f"), "")
    table.add_row("points", "", spread([100 * (a[1] - b[1]) for a, b in runs], ".1f"))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
