"""A search over depths and rates on Banking77, 10 examples a class, against plain keras-tuner.

    python benchmarks/search_speed.py --shared FOLDER [--seeds 1] [--quick]

Both try the same 8 trials for 3 epochs each: the head and the top 0, 1, 2 or 6 blocks of MiniLM (TF Hub), at 2 rates,
batches of 16, the same draw and validation examples. Plain keras-tuner is what tutorials do, in a process of its own:
tokenising to 64 is part of the model, which is computed whole in each step. `te.search` runs with early stopping off,
from an empty cache; its seconds are those of the trials, features included, baselines and the last training left out.
The default search runs in a process of its own until a trial or baseline reaches the best validation accuracy of the
plain one; its seconds begin with the process's first line. Everything runs in turns on the same machine, which should
have nothing else to do.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import tfembed as te
from tfembed.search import runner

DEPTHS, RATES, EPOCHS, BATCH_SIZE = [0, 1, 2, 6], [3e-4, 1e-3], 3, 16


def load(shared: Path) -> te.Encoder:
    hub = shared / "hub"
    return te.load_encoder(hub / "minilm_encoder", preprocessing=str(hub / "minilm_preprocess"), pooling="mean")


def read(shared: Path, seed: int, quick: bool) -> te.Dataset:
    folder = shared / "data" / "banking77"
    data = te.load_text(folder / "train.csv", label="category", validation=0.1, test=folder / "test.csv", seed=seed)
    return data.few_shot(2 if quick else 10, seed)


def plain(shared: Path, data: te.Dataset, seed: int, space: tuple[list[int], list[float]], epochs: int) -> Any:
    """Seconds and best validation accuracy of keras-tuner, with the layer trained whole."""
    examples = [tf.constant(split.examples.tolist()) for split in (data.train, data.validation)]

    def build(hp: Any) -> keras.Model:
        encoder = load(shared)
        encoder.unfreeze(hp.Choice("blocks", space[0]))
        texts = keras.Input((), dtype="string")
        tokens = encoder.preprocessing(texts)
        outputs = encoder.body(tokens)["sequence_output"]
        mask = keras.ops.expand_dims(keras.ops.cast(tokens["input_mask"], "float32"), -1)
        embedding = keras.ops.sum(outputs * mask, 1) / keras.ops.sum(mask, 1)
        model = keras.Model(texts, keras.layers.Dense(len(data.class_names))(embedding))
        rate = hp.Choice("rate", space[1])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(rate, weight_decay=0.0), loss, metrics=["accuracy"], jit_compile=False)
        return model

    class Fitting(keras_tuner.HyperModel):
        def build(self, hp: Any) -> keras.Model:
            return build(hp)

        def fit(self, hp: Any, model: keras.Model, **options: Any) -> float:
            keras.utils.set_random_seed(seed)
            validation = (examples[1], data.validation.labels)
            given = {"validation_data": validation, "epochs": epochs, "batch_size": BATCH_SIZE, "verbose": 0}
            return -max(model.fit(examples[0], data.train.labels, **given).history["val_accuracy"])

    class Tuner(keras_tuner.GridSearch):
        def run_trial(self, trial: Any, *args: Any, **options: Any) -> float:
            # as keras-tuner does it, without checkpoints and logs
            return self.hypermodel.fit(trial.hyperparameters, self.hypermodel.build(trial.hyperparameters))

    began = time.perf_counter()
    tuner = Tuner(Fitting(), directory=tempfile.mkdtemp(), max_trials=len(space[0]) * len(space[1]))
    tuner.search(verbose=0)
    seconds = time.perf_counter() - began
    return seconds, -min(trial.score for trial in tuner.oracle.trials.values())


def ours(shared: Path, data: te.Dataset, seed: int, space: tuple[list[int], list[float]], epochs: int) -> Any:
    """Seconds and best validation accuracy of the same trials in `te.search`."""

    def strategy(hp: Any) -> te.Strategy:
        blocks, rate = hp.Choice("blocks", space[0]), hp.Choice("rate", space[1])
        phase = te.Phase(name="tune", unfreeze=blocks, epochs=epochs, learning_rate=rate, batch_size=BATCH_SIZE)
        return te.Strategy(name=f"top {blocks}", phases=(phase,))

    encoder = load(shared)
    runner.thorough = lambda *_: {}  # the costly baselines are none of the 8 trials
    study = te.search(
        encoder,
        data,
        directory=Path(tempfile.mkdtemp()) / "study",
        space=te.SearchSpace(encoders=(encoder.spec.name,), strategy=strategy, epochs=1),
        oracle="grid",
        max_trials=len(space[0]) * len(space[1]),
        folds=1,
        seed=seed,
        early_stopping=False,
        cache=te.FeatureCache.in_memory(),
    )
    trials = [trial for trial in study.trials if trial.number is not None]
    return sum(trial.spent for trial in trials), max(trial.metrics["accuracy"] for trial in trials)


def search_by_default(shared: Path, seed: int, quick: bool, folder: Path) -> None:
    te.search(load(shared), read(shared, seed, quick), directory=folder, folds=1, cache=te.FeatureCache.in_memory())


def default(shared: Path, seed: int, quick: bool, wanted: float, most: float) -> tuple[float, float]:
    """Seconds until the default search has reached an accuracy, and what it reached."""
    folder = Path(tempfile.mkdtemp()) / "study"
    process = multiprocessing.get_context("spawn").Process(
        target=search_by_default, args=(shared, seed, quick, folder), daemon=True
    )
    began = time.time()
    process.start()
    best = 0.0
    while process.is_alive() and best < wanted and time.time() - began < most:
        time.sleep(0.2)
        if (folder / "study.json").exists():
            scores = [trial.metrics["accuracy"] for trial in te.load_study(folder).trials if trial.metrics]
            best = max(scores, default=0.0)
    seconds = time.time() - began
    process.kill()
    process.join()
    return seconds if best >= wanted else float("inf"), best


def in_its_own_process(run: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, as tutorials would run it: with the allocator as the system has it."""
    os.environ["TFEMBED_ALLOCATOR"] = "system"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(run, *arguments).result()
    finally:
        del os.environ["TFEMBED_ALLOCATOR"]


def spread(values: list[float], form: str) -> str:
    return f"{statistics.mean(values):{form}} ({' '.join(f'{value:{form}}' for value in values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description="A search against plain keras-tuner.")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the module and the data that this measures")
        return
    space, epochs = (([0, 1], [1e-3]), 1) if options.quick else ((DEPTHS, RATES), EPOCHS)
    rows = []
    for seed in range(options.seeds):
        data = read(options.shared, seed, options.quick)
        first = ours(options.shared, data, seed, space, epochs)
        second = in_its_own_process(plain, options.shared, data, seed, space, epochs)
        third = default(options.shared, seed, options.quick, second[1], second[0])
        rows.append((first, second, third))
        print(f"  seed {seed}: (seconds, accuracy) of te.search, keras-tuner, default search: {rows[-1]}", flush=True)
    table = Table(title=f"Banking77, {len(rows)} seeds: mean (each seed)")
    for name in ("what", "seconds", "best validation accuracy, %"):
        table.add_column(name)
    for i, name in enumerate(("te.search, the same trials", "plain keras-tuner", "te.search, default, until as good")):
        scores = [100 * row[i][1] for row in rows]
        table.add_row(name, spread([row[i][0] for row in rows], ".1f"), spread(scores, ".1f"))
    table.add_row("the same trials, times as fast", spread([row[1][0] / row[0][0] for row in rows], ".1f"), "")
    table.add_row("default search, times as fast", spread([row[1][0] / row[2][0] for row in rows], ".1f"), "")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
