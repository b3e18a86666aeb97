"""What an export takes on disk, with weights in float32, bfloat16 and int8, and what it costs of the accuracy.

    python benchmarks/export_size.py

A linear probe on the intents (MiniLM) and on handwritten digits (glyphs), with what ships with tfembed. Each version is
loaded again as TF Serving loads it, and asked for the label of every test example with raw texts or image bytes. The
weights alone are what they take in float32; a version has its graph, vocabularies and warmup requests besides.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import tfembed as te
from tfembed.export.raw_inputs import input_name, raw_inputs
from tfembed.predict import parts_of
from tfembed.search.workshop import weight_bytes

KINDS = (None, "bfloat16", "int8-weights")
BATCH_SIZE = 64


def trained(quick: bool) -> Iterator[tuple[str, Any, te.Dataset]]:
    """The name, the model and the data of each row."""
    digits = load_digits()
    pixels = np.round(digits.images * 255 / 16).astype("uint8")
    data = te.Dataset.from_arrays(pixels, digits.target.astype(str), validation=0.1, test=0.5).few_shot(10)
    model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
    te.train(model, data, te.linear_probe())
    yield "digits, glyphs", model, data
    if not quick:
        data = te.load_text(te.resource_path("intents"), label="intent").few_shot(10)
        model = te.build_text_classifier(te.load_encoder("minilm"), data.class_names)
        te.train(model, data, te.linear_probe())
        yield "intents, MiniLM", model, data


def accuracy(version: Path, model: Any, test: Any) -> float:
    """The share of test examples that the loaded version gives its label."""
    loaded, parts = tf.saved_model.load(str(version)), parts_of(model)
    name, inputs, labels = input_name(parts), raw_inputs(parts, test.examples), []
    for start in range(0, len(inputs), BATCH_SIZE):
        found = loaded.signatures["serving_default"](**{name: tf.constant(inputs[start : start + BATCH_SIZE])})
        labels += [each.decode() for each in found["label"].numpy()]
    wanted = [parts.class_names[i] for i in test.labels]
    return float(np.mean([a == b for a, b in zip(labels, wanted, strict=True)]))


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description="Size of exports.")
    parser.add_argument("--shared", help="not needed: the data ship with tfembed")
    parser.add_argument("--quick", action="store_true", help="the small model alone")
    options = parser.parse_args()
    table = Table(title="Exports for TF Serving")
    for name in ("model", "weights in", "on disk, MB", "of the weights in float32", "test accuracy, %", "export, s"):
        table.add_column(name, justify="left" if name in ("model", "weights in") else "right")
    for name, model, data in trained(options.quick):
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                version = te.export(model, Path(folder) / "model", examples=data.validation, quantize=kind)
                seconds, size = time.perf_counter() - began, on_disk(version)
                found = accuracy(version, model, data.test)
            weights = weight_bytes(model)
            figures = (f"{size / 1e6:.2f}", f"{size / weights:.2f}", f"{100 * found:.1f}", f"{seconds:.1f}")
            table.add_row(name, kind or "float32", *figures)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
