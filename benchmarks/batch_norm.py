"""Batch norm of unfrozen blocks in three ways, on blood cells and chest X-rays, with few training images and many.

    python benchmarks/batch_norm.py --shared FOLDER [--seeds 5] [--sizes 84,400,all] [--strategy "lp_ft(2)"] [--quick]

MobileNetV2 0.35 of ImageNet at 96 pixels; `lp_ft(2)` trains its top two blocks, each with batch norm, as it comes, but
for at most 5 epochs on all images.
BCCD has 3 kinds of blood cells, split once into 60/20/20 %; PneumoniaMNIST has normal X-rays and pneumonia, in its own
splits. A seed draws as many training images of each class, a quarter as many for validation, and the order; all of them
have the classes as they are. Batch norm normalizes by the stored statistics ("inference"), by those of the batch
("train"), or by statistics of the training images that are estimated once ("adapt"). Undone are runs whose fine-tuning
raised the validation loss, so that the probe's weights were restored. CPU seconds are those of a run, with the features
in front of the cut computed before.
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import tfembed as te

WAYS = ("inference", "train", "adapt")
STRATEGIES = {
    "lp_ft(1)": partial(te.lp_ft, 1),
    "lp_ft(2)": partial(te.lp_ft, 2),
    "top_blocks(2)": partial(te.top_blocks, 2),
}
COLUMNS = ("data", "n", "batch norm", "test accuracy", "test loss", "undone", "CPU s")


def load(shared: Path, name: str) -> te.Dataset:
    """A data set with all of its training images."""
    folder = shared / "data"
    if name == "BCCD":
        return te.load_images(folder / "bccd" / "crops", validation=0.2, test=0.2, seed=0)
    parts = np.load(folder / "pneumoniamnist" / "pneumoniamnist.npz")
    splits = {each: (parts[f"{each}_images"], parts[f"{each}_labels"].ravel()) for each in ("train", "val", "test")}
    return te.Dataset.from_arrays(
        *splits["train"], ["normal", "pneumonia"], validation=splits["val"], test=splits["test"]
    )


def draw(data: te.Dataset, size: str, seed: int) -> te.Dataset:
    """So many training images, as many of each class, and a quarter as many for validation."""
    if size == "all":
        return data
    few = data.few_shot(int(size) // len(data.class_names), seed)
    rows = np.random.default_rng(seed).permutation(len(data.validation))[: int(size) // 4]
    return replace(few, validation=data.validation.subset(np.sort(rows)), recipe=None)


def measure(
    encoder: te.Encoder, data: te.Dataset, strategy: te.Strategy, seed: int, cache: te.FeatureCache
) -> tuple[float, float, float, float]:
    """Accuracy and loss on the test split, whether a phase was undone, and CPU seconds; the encoder stays as it was."""
    weights = encoder.get_weights()
    for phase in strategy.phases:
        encoder.unfreeze(phase.unfreeze)
        for split in (data.train, data.validation, data.test):
            cache.get(encoder, split.examples, encoder.num_frozen)
    encoder.unfreeze(False)
    model = te.build_image_classifier(encoder, data.class_names)
    start = time.process_time()
    result = te.train(model, data, strategy, seed=seed, cache=cache)
    seconds = time.process_time() - start
    encoder.set_weights(weights)
    undone = any(not phase.kept for phase in result.phases if phase.name == "fine-tune")
    return result.metrics["test"]["accuracy"], result.metrics["test"]["loss"], float(undone), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", default="84,400,all")
    parser.add_argument("--data", default="BCCD,PneumoniaMNIST")
    parser.add_argument("--strategy", default="lp_ft(2)", choices=STRATEGIES)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the weights and the data that this measures")
        return
    weights = options.shared / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"
    encoder = te.load_encoder("applications:MobileNetV2?alpha=0.35&size=96", weights=weights)
    table = Table(title=f"{options.strategy}, {options.seeds} seeds: mean ± standard deviation")
    for name in COLUMNS:
        table.add_column(name)
    for size in ["84"] if options.quick else options.sizes.split(","):
        for name in options.data.split(","):
            data, found = load(options.shared, name), {}
            cache = te.FeatureCache.in_memory()
            strategy = STRATEGIES[options.strategy](epochs=5 if size == "all" else 20)
            for seed in range(2 if options.quick else options.seeds):
                drawn = draw(data, size, seed)
                ways = {"frozen": te.linear_probe()} | {way: strategy.with_batch_norm(way) for way in WAYS}
                for way, chosen in ways.items():
                    found.setdefault(way, []).append(measure(encoder, drawn, chosen, seed, cache))
                    values = ", ".join(f"{value:.4f}" for value in found[way][-1])
                    print(f"  {name}, n={len(drawn.train)}, seed {seed}, {way}: {values}", flush=True)
            for way, rows in found.items():
                accuracy, loss, undone, seconds = np.transpose(rows)
                table.add_row(
                    name,
                    str(len(drawn.train)),
                    way,
                    f"{accuracy.mean():.1%} ± {accuracy.std(ddof=1):.1%}",
                    f"{loss.mean():.3f} ± {loss.std(ddof=1):.3f}",
                    f"{int(undone.sum())} of {len(rows)}",
                    f"{seconds.mean():.0f} ± {seconds.std(ddof=1):.0f}",
                )
            Console(width=120).print(table)


if __name__ == "__main__":
    main()
