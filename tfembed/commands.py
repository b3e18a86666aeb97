"""What the commands of the command line do, without parsing and printing."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras

import tfembed as te
from tfembed.builders import build_model
from tfembed.encoders.inspection import inspect_cuts
from tfembed.progress import waiting
from tfembed.runs import check_free

_SAMPLE_LABELS = {"intents": "intent", "reviews": "sentiment"}
_PLAIN: dict[str, Callable[[], te.Strategy]] = {
    "linear_probe": te.linear_probe,
    "full": te.full,
    "biases": te.biases,
    "norms": te.norms,
}
_COUNTED: dict[str, Callable[[int], te.Strategy]] = {
    "top_blocks": te.top_blocks,
    "only_block": te.only_block,
    "gradual": te.gradual,
    "lp_ft": te.lp_ft,
    "lora": te.lora,
    "contrastive": te.contrastive,
}


def train_on(data: str, out: Path | None, options: dict[str, Any]) -> tuple[keras.Model, te.Result, dict[str, Any]]:
    """Load data and encoder, build a classifier or regressor, and train it.

    Args:
        data: A file, a folder, or the name of a sample.
        out: Where the run will be written; checked here.
        options: The options of `tfembed train`, by name.

    Returns:
        The model, what training came to, and what a run should record.

    Raises:
        ValueError: If anything of that is wrong, saying what.
    """
    if out is not None:
        check_free(out)
    strategy, head, seed = parse_strategy(options["strategy"]), parse_head(options["head"]), options["seed"]
    dataset = _load(data, options)
    if options["balanced"] and dataset.task != "classification":
        raise ValueError(f"--balanced weighs classes that exclude each other: the data are for {dataset.task}.")
    if options["few_shot"]:
        dataset = dataset.few_shot(options["few_shot"], seed)
    handle = options["handle"] or ("minilm" if dataset.kind == "text" else "glyphs")
    with waiting(f"Loading {handle}"):
        loading = {name: options[name] for name in ("preprocessing", "pooling", "compute")}
        encoder = te.load_encoder(handle, **loading)
        model = build_model(encoder, dataset, head)
    result = te.train(model, dataset, strategy, seed=seed, balanced=options["balanced"])
    return model, result, {"data": dataset.source, "encoder": handle, "class_names": list(dataset.class_names)}


def search_on(data: str, out: Path, options: dict[str, Any]) -> te.Study:
    """Load data and encoders, and search; see `tfembed.search`.

    Args:
        data: A file, a folder, or the name of a sample.
        out: The study's folder.
        options: The options of `tfembed search`, by name.

    Raises:
        ValueError: If anything of that is wrong, saying what.
    """
    dataset = _load(data, options)
    if options["few_shot"]:
        dataset = dataset.few_shot(options["few_shot"], options["seed"])
    handles = options["handles"] or ("minilm" if dataset.kind == "text" else "glyphs",)
    loading = {name: options[name] for name in ("preprocessing", "pooling", "compute")}
    encoders = {handle: partial(te.load_encoder, handle, **loading) for handle in handles}
    passed = ("max_trials", "max_minutes", "oracle", "objective", "folds", "repeats", "seed", "balanced", "workers")
    chosen = {name: options[name] for name in (*passed, "early_stopping")}
    return te.search(encoders, dataset, directory=out, **chosen)


def parse_strategy(text: str) -> te.Strategy:
    """Read a strategy such as `lp_ft:2`, `linear_probe`, `linear_probe:3,5` with depths, or a file that to_json wrote.

    Raises:
        ValueError: If there is no such strategy.

    Example:
        >>> parse_strategy("lp_ft:2").name
        'lp_ft(2)'
    """
    if text.endswith(".json"):
        return te.strategy_from_json(Path(text).read_text(encoding="utf-8"))
    name, colon, given = text.partition(":")
    numbers = given.split(",")
    if name in _COUNTED and given.isdecimal():
        return _COUNTED[name](int(given))
    if name in _PLAIN and not colon:
        return _PLAIN[name]()
    if name == "linear_probe" and all(number.isdecimal() for number in numbers):
        return te.linear_probe(depths=tuple(map(int, numbers)))
    raise ValueError(
        f"Unknown strategy {text!r}: pass {', '.join(_PLAIN)}, {', '.join(f'{each}:K' for each in _COUNTED)} with K a "
        "number, linear_probe:K,... with depths, or a .json file with a strategy."
    )


def parse_head(text: str) -> te.Head:
    """Read a head such as `linear`, `cosine`, or `mlp:128,64` with the sizes of its hidden layers.

    Raises:
        ValueError: If there is no such head.

    Example:
        >>> parse_head("mlp:128,64").units
        (128, 64)
    """
    name, _, sizes = text.partition(":")
    units = sizes.split(",")
    if name == "mlp" and all(size.isdecimal() for size in units):
        return te.mlp_head([int(size) for size in units])
    if text not in ("linear", "cosine"):
        raise ValueError(f"Unknown head {text!r}: pass linear, cosine, or mlp:UNITS,... such as mlp:128 or mlp:128,64.")
    return te.linear_head() if text == "linear" else te.cosine_head()


def inspect_encoder(
    handle: str, preprocessing: str | None, pooling: str | None, questions: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What an encoder takes and gives, its blocks, and what it is like to cut it behind each, as JSON values.

    Args:
        handle: Of the encoder.
        preprocessing: As for `load_encoder`.
        pooling: As for `load_encoder`.
        questions: What to search for: `nearest`, a text; `analogy`, such as "king,man,woman"; `among`, a file with a
            text in each line, in place of the vocabulary of word vectors.
    """
    with waiting(f"Loading {handle}"):
        encoder = te.load_encoder(handle, preprocessing=preprocessing, pooling=pooling)
    return {
        "handle": handle,
        "name": encoder.spec.name,
        "takes": "texts" if encoder.spec.kind == "text" else f"images, brought to {encoder.spec.image_size}",
        "dim": encoder.dim,
        "licence": encoder.spec.licence,
        "source": encoder.spec.source or handle,
        "blocks": [
            {"name": block.name, "variables": len(block.variables), "parameters": block.num_parameters}
            for block in encoder.blocks
        ],
        "cuts": [asdict(cut) for cut in inspect_cuts(encoder)],
    } | _answers(encoder, questions or {})


def _answers(encoder: te.Encoder, questions: Mapping[str, Any]) -> dict[str, Any]:
    """The neighbours that were asked for, as JSON values."""
    found, among = {}, questions.get("among")
    if among is not None:
        among = [line for line in Path(among).read_text(encoding="utf-8").splitlines() if line.strip()]
    if text := questions.get("nearest"):
        found["nearest"] = te.nearest(encoder, text, among)
    if text := questions.get("analogy"):
        terms = [term.strip() for term in text.split(",")]
        if len(terms) != 3 or not all(terms):
            raise ValueError(f"--analogy {text!r}: expected three words, such as king,man,woman (king - man + woman).")
        found["analogy"] = te.analogy(encoder, [terms[0], terms[2]], [terms[1]], among)
    return {name: [asdict(neighbour) for neighbour in neighbours] for name, neighbours in found.items()}


def predict_with(run: Path, examples: tuple[str, ...]) -> list[dict[str, Any]]:
    """Predict with the model of a run: one row per example, with label and score (the value, for regressions)."""
    with waiting(f"Loading {run}"):
        model, _ = te.load_run(run)
    kind = model.layers[-3].spec.kind
    found = te.predict(model, list(examples) if kind == "text" else [Path(each) for each in examples])
    scores = found.probabilities.max(axis=1).tolist()
    labels = found.labels or [None] * len(examples)
    rows = zip(examples, labels, scores, strict=True)
    return [{"example": example, "label": label, "score": score} for example, label, score in rows]


def _load(data: str, options: dict[str, Any]) -> te.Dataset:
    seed, task, label = options["seed"], options["task"], options["label"]
    if data in _SAMPLE_LABELS:
        label = label or _SAMPLE_LABELS[data]
        return te.load_text(te.resource_path(data), text=options["text"], label=label, seed=seed, task=task)
    if Path(data).is_dir():
        return te.load_images(data, seed=seed, task=task)
    if not Path(data).exists():
        names = " or ".join(_SAMPLE_LABELS)
        raise ValueError(f"There is no {data!r}: expected a table of texts, a folder of images, or {names}.")
    columns: tuple[Any, Any] = (options["text"], label or "label")
    if all(column.isdecimal() for column in columns):  # positions, in a file without a header
        columns = (int(columns[0]), int(columns[1]))
    separator = options["label_separator"]
    if task == "multi_label" and separator is None and Path(data).suffix in (".csv", ".tsv", ".txt"):
        raise ValueError(
            f"--task multi_label: what stands between the labels of a cell of {data}? Say --label-separator."
        )
    return te.load_text(data, text=columns[0], label=columns[1], seed=seed, task=task, label_separator=separator)
