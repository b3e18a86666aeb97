"""Retrieval on intents that were never trained on, before and after `contrastive`, on Banking77.

    python benchmarks/retrieval.py --shared FOLDER [--seeds 3] [--held-out 27] [--shots 10] [--quick]

Texts of the same intent are relevant for each other. The seed draws the held-out intents, the examples of the others
that MiniLM is fine-tuned on with `contrastive`, and the training. What is measured are the test texts of the held-out
intents, each a query for the others: mean average precision, precision at 10 and the accuracy of the nearest
neighbour, before and after; and the same of the trained intents, for comparison.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

MEASURES = ("mean_average_precision", "precision@10", "neighbour_accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out", type=int, default=27)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the data that this measures")
        return
    print("command:", " ".join(sys.argv), flush=True)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in range(1 if options.quick else options.seeds):
        for where, (before, after, seconds) in measure(options, seed).items():
            found.setdefault((where, "before"), []).append(before)
            found.setdefault((where, "after"), []).append(after)
            values = "  ".join(f"{name} {before[name]:.4f} -> {after[name]:.4f}" for name in MEASURES)
            print(f"seed {seed}, {where}: {values}, {seconds:.0f} s", flush=True)
    table = Table("intents", "", *MEASURES, title=f"Banking77, contrastive({options.blocks}), {options.shots} a class")
    for (where, when), runs in found.items():
        table.add_row(where, when, *(spread([run[name] for run in runs]) for name in MEASURES))
    Console(width=110).print(table)


def measure(options: argparse.Namespace, seed: int) -> dict[str, tuple[dict[str, float], dict[str, float], float]]:
    """For held-out and for trained intents: measures before and after, and the seconds of training."""
    import tfembed as te

    folder = options.shared / "data" / "banking77"
    data = te.load_text(folder / "train.csv", label="category", validation=0, test=folder / "test.csv")
    drawn = np.random.default_rng(seed).permutation(len(data.class_names))
    held_out, trained = drawn[: options.held_out], drawn[options.held_out :]
    rows = np.flatnonzero(np.isin(data.train.labels, trained))
    names = [data.class_names[label] for label in data.train.labels[rows]]
    few = te.Dataset.from_arrays(data.train.examples[rows].tolist(), names, validation=0, test=0)
    encoder = te.load_encoder("minilm")
    parts = {"held out": test_of(data, held_out), "trained": test_of(data, trained)}
    before = {where: measured(encoder, *part) for where, part in parts.items()}
    model = te.build_text_classifier(encoder, few.class_names)
    start = time.perf_counter()
    strategy = te.contrastive(options.blocks, steps=10 if options.quick else options.steps)
    te.train(model, few.few_shot(options.shots, seed), strategy, seed=seed)
    seconds = time.perf_counter() - start
    return {where: (before[where], measured(encoder, *part), seconds) for where, part in parts.items()}


def test_of(data: Any, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test texts of some classes, and their labels."""
    rows = np.flatnonzero(np.isin(data.test.labels, classes))
    return data.test.examples[rows], data.test.labels[rows]


def measured(encoder: Any, texts: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    import tfembed as te
    from tfembed.embeddings.evaluation import measure_labels

    return measure_labels(te.embed(encoder, texts), labels.tolist())


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


if __name__ == "__main__":
    main()
