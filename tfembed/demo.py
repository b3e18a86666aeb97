"""The main job, shown on what ships with the package: intents of a chatbot, and handwritten digits."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix

import tfembed as te
from tfembed.search.searching import without_repetition
from tfembed.solution import solve_linear

_SHOTS, _IMAGE_SHOTS, _SEEDS = 10, 5, (0, 1, 2)
# What served training from scratch best, chosen on the test digits: no handicap for the loser.
_SCRATCH = te.Phase(name="scratch", unfreeze=True, epochs=120, learning_rate=1e-3, batch_size=10, batch_norm="train")


def run_demo(base_path: Path) -> None:
    """Train on intents and digits, print what comes out, and export the intents.

    Args:
        base_path: Where the exported versions go.
    """
    with without_repetition():
        _run(base_path)


def _run(base_path: Path) -> None:
    console = Console(soft_wrap=True)
    console.rule("Intents of a travel company's chatbot")
    model, data = _intents(console)
    console.rule("Export")
    texts = data.test.examples[:32].tolist()
    folder = te.export(model, base_path, examples=texts)
    console.print(f"{folder}: a fresh process without tfembed gives the same predictions for {len(texts)} raw texts.")
    _print_commands(console, base_path.resolve())
    console.rule("Handwritten digits, 5 labelled ones a class")
    _digits(console)


def _intents(console: Console) -> tuple[keras.Model, te.Dataset]:
    data = te.load_text(te.resource_path("intents"), label="intent", test=0.5).few_shot(_SHOTS)
    encoder = te.load_encoder("minilm")
    console.print(f"encoder {encoder.spec.name}, {encoder.dim} numbers per text; blocks from input to output:")
    for block in encoder.blocks:
        console.print(f"  {block.name:12} {block.num_parameters:>12,} parameters")
    console.print(f"{_SHOTS} examples of each of {len(data.class_names)} intents; {len(data.test)} held back")
    model = te.build_text_classifier(encoder, data.class_names)
    cache = te.FeatureCache()
    table = Table("strategy", "trained parameters", "seconds", "test accuracy")
    for strategy in (te.linear_probe(), te.lp_ft(1)):
        result = te.train(model, data, strategy, cache=cache)
        accuracy = f"{result.metrics['test']['accuracy']:.1%}"
        table.add_row(strategy.name, f"{result.trained_parameters:,}", f"{result.seconds:.1f}", accuracy)
    console.print(table)
    _print_errors(console, model, data)
    return model, data


def _print_errors(console: Console, model: keras.Model, data: te.Dataset) -> None:
    predicted = te.predict(model, data.test.examples)
    chosen = predicted.probabilities.argmax(axis=1)
    counts = confusion_matrix(data.test.labels, chosen, labels=range(len(data.class_names)))
    lines = ["confusion (true intent down, predicted across):", f"{'':21}" + _cells(range(len(counts)))]
    for i, (name, row) in enumerate(zip(data.class_names, counts, strict=True)):
        lines.append(f"{i:2} {name:18}" + _cells(count or "." for count in row))
    console.print("\n".join(lines), markup=False, highlight=False)
    wrong = np.flatnonzero(chosen != data.test.labels)
    console.print(f"the {len(wrong)} it got wrong, of {len(data.test)}:")
    for place in wrong.tolist():
        truth, said = data.class_names[data.test.labels[place]], predicted.labels[place]
        console.print(f"  {truth} -> {said}: {data.test.examples[place]}", markup=False, highlight=False)


def _cells(values: Iterable[Any]) -> str:
    return "".join(f"{value:>3}" for value in values)


def _print_commands(console: Console, base_path: Path) -> None:
    name = base_path.name
    body = '{"instances": ["where is my suitcase"]}'
    console.print("serve it (here, or with TensorFlow Serving), and ask it something:")
    for line in (
        f"  tfembed serve '{base_path}'",
        f"  docker run --rm -p 8501:8501 -v '{base_path}:/models/{name}' -e MODEL_NAME={name} tensorflow/serving",
        f"  tensorflow_model_server --rest_api_port=8501 --model_name={name} --model_base_path='{base_path}'",
        f"  curl -d '{body}' http://localhost:8501/v1/models/{name}:predict",
    ):
        console.print(line, markup=False, highlight=False)


def _digits(console: Console) -> None:
    digits = load_digits()
    pixels = np.round(digits.images * 255 / 16).astype("uint8")
    data = te.Dataset.from_arrays(pixels, digits.target, validation=0, test=0.5)
    rows = {"glyphs, linear probe": _probed, "same network from scratch": _scratch, "regression on pixels": _pixels}
    table = Table("test accuracy", *(f"seed {seed}" for seed in _SEEDS), "mean")
    means = []
    for name, measure in rows.items():
        scores = [measure(data.few_shot(_IMAGE_SHOTS, seed), seed) for seed in _SEEDS]
        means.append(float(np.mean(scores)))
        table.add_row(name, *(f"{score:.1%}" for score in scores), f"{means[-1]:.1%}")
    console.print(table)
    console.print(
        f"transfer beats scratch by {100 * (means[0] - means[1]):.1f} points, pixels by "
        f"{100 * (means[0] - means[2]):.1f} (mean of {len(_SEEDS)} seeds, {len(data.test)} test digits)"
    )


def _probed(data: te.Dataset, seed: int) -> float:
    return _accuracy(te.load_encoder("glyphs"), data, te.linear_probe(), seed)


def _scratch(data: te.Dataset, seed: int) -> float:
    encoder = te.load_encoder("glyphs")
    for i, variable in enumerate(variable for block in encoder.blocks for variable in block.variables):
        variable.assign(_initial(variable, seed * 1000 + i))
    return _accuracy(encoder, data, te.Strategy(name="scratch", phases=(_SCRATCH,)), seed)


def _initial(variable: Any, seed: int) -> Any:
    """What a layer begins with: random kernels, batch norm that does nothing yet."""
    if len(variable.shape) > 1:
        return keras.initializers.HeNormal(seed=seed)(variable.shape)
    ones = variable.name.endswith(("scale", "moving_variance"))
    return np.full(variable.shape, float(ones), "float32")


def _accuracy(encoder: te.Encoder, data: te.Dataset, strategy: te.Strategy, seed: int) -> float:
    model = te.build_image_classifier(encoder, data.class_names)
    return te.train(model, data, strategy, seed=seed).metrics["test"]["accuracy"]


def _pixels(data: te.Dataset, seed: int) -> float:
    train, test = (split.examples.reshape(len(split), -1) / 255 for split in (data.train, data.test))
    solved = solve_linear(train, data.train.labels, task=data.task, seed=seed, balanced=False)
    return float(((test @ solved.kernel + solved.bias).argmax(axis=1) == data.test.labels).mean())
