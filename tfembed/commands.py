"""What the commands of the command line do, without parsing and printing."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras

import tfembed as te
from tfembed.builders import build_model
from tfembed.data.again import make_again
from tfembed.data.recipe import recipe_from_dict
from tfembed.distribution import open_distribution
from tfembed.encoders.inspection import inspect_cuts, tensors_of
from tfembed.encoders.request import PRETRAINED
from tfembed.progress import waiting
from tfembed.runs import check_free

logger = logging.getLogger(__name__)

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
    distribution = open_distribution(options["distribution"])  # before anything else wakes TensorFlow
    how = {name: options[name] for name in ("mixed_precision", "jit_compile")}
    strategy = te.accelerate(parse_strategy(options["strategy"]), **how)
    head, seed = parse_head(options["head"]), options["seed"]
    dataset = _load(data, options)
    if options["balanced"] and dataset.task != "classification":
        raise ValueError(f"--balanced weighs classes that exclude each other: the data are for {dataset.task}.")
    if options["few_shot"]:
        dataset = dataset.few_shot(options["few_shot"], seed)
    handle = options["handle"] or ("minilm" if dataset.kind == "text" else "glyphs")
    with waiting(f"Loading {handle}"):
        encoder = te.load_encoder(handle, kind=dataset.kind, compute=options["compute"], **_loading(options))
        model = build_model(encoder, dataset, head)
    result = te.train(model, dataset, strategy, seed=seed, balanced=options["balanced"], distribution=distribution)
    record = {"data": dataset.source, "encoder": handle, "class_names": list(dataset.class_names)}
    return model, result, record | {"recipe": dataset.recipe and asdict(dataset.recipe)}


def search_on(data: str, out: Path, options: dict[str, Any]) -> te.Study:
    """Load data and encoders, and search; see `tfembed.search`.

    Args:
        data: A file, a folder, or the name of a sample.
        out: The study's folder.
        options: The options of `tfembed search`, by name.

    Raises:
        ValueError: If anything of that is wrong, saying what.
    """
    distribution = open_distribution(options["distribution"])
    dataset = _load(data, options)
    if options["few_shot"]:
        dataset = dataset.few_shot(options["few_shot"], options["seed"])
    handles = options["handles"] or ("minilm" if dataset.kind == "text" else "glyphs",)
    loading = _loading(options) | {"compute": options["compute"], "kind": dataset.kind}
    encoders = {handle: partial(te.load_encoder, handle, **loading) for handle in handles}
    passed = ("max_trials", "max_minutes", "oracle", "objective", "folds", "repeats", "seed", "balanced", "workers")
    chosen = {name: options[name] for name in (*passed, "early_stopping", "mixed_precision", "jit_compile")}
    return te.search(encoders, dataset, directory=out, distribution=distribution, **chosen)


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


def inspect_encoder(handle: str, options: dict[str, Any]) -> dict[str, Any]:
    """What an encoder takes and gives, its blocks, and what it is like to cut it behind each, as JSON values.

    Args:
        handle: The encoder.
        options: Of `tfembed inspect`, by name.
    """
    loading = _loading(options) | {"kind": options["kind"]}
    with waiting(f"Loading {handle}"):
        encoder = te.load_encoder(handle, **loading)
    said = {name: value for name, value in loading.items() if value not in (None, False, PRETRAINED)}
    said |= {"weights": None} if loading["weights"] is None else {}
    arguments = ", ".join([repr(handle), *(f"{name}={value!r}" for name, value in said.items())])
    inputs, outputs = tensors_of(encoder)
    takes = "texts" if encoder.spec.kind == "text" else f"images, brought to {encoder.spec.image_size}"
    other = "image" if encoder.spec.kind == "text" else "text"
    return {
        "handle": handle,
        "name": encoder.spec.name,
        "takes": takes + (f" (and {other}s, with --kind {other})" if encoder.spec.both else ""),
        "dim": encoder.dim,
        "licence": encoder.spec.licence,
        "source": encoder.spec.source or handle,
        "inputs": [asdict(tensor) for tensor in inputs],
        "outputs": [asdict(tensor) for tensor in outputs],
        "blocks": [
            {"name": block.name, "variables": len(block.variables), "parameters": block.num_parameters}
            for block in encoder.blocks
        ],
        "cuts": [asdict(cut) for cut in inspect_cuts(encoder)],
        "example": f"te.load_encoder({arguments}).unfreeze(1)",
    } | _answers(encoder, options)


def _answers(encoder: te.Encoder, options: Mapping[str, Any]) -> dict[str, Any]:
    """The neighbours that were asked for, as JSON values."""
    found, among = {}, options.get("among")
    if among is not None:
        among = [line for line in Path(among).read_text(encoding="utf-8").splitlines() if line.strip()]
    if text := options.get("nearest"):
        found["nearest"] = te.nearest(encoder, text, among)
    if text := options.get("analogy"):
        terms = [term.strip() for term in text.split(",")]
        if len(terms) != 3 or not all(terms):
            raise ValueError(f"--analogy {text!r}: expected three words, such as king,man,woman (king - man + woman).")
        found["analogy"] = te.analogy(encoder, [terms[0], terms[2]], [terms[1]], among)
    return {name: [asdict(neighbour) for neighbour in neighbours] for name, neighbours in found.items()}


def _loading(options: dict[str, Any]) -> dict[str, Any]:
    """What `load_encoder` is told of an encoder."""
    weights = None if options["weights"] == "none" else options["weights"]
    return {name: options[name] for name in ("preprocessing", "pooling", "output", "trust")} | {"weights": weights}


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


def export_run(run: Path, base_path: Path, options: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Export the model of a run; see `tfembed.export`.

    Args:
        run: Its folder.
        base_path: Of the versions.
        options: The options of `tfembed export`, by name.

    Returns:
        The folder of the version, and what its record says.

    Raises:
        ValueError: If the run cannot be read, or there is nothing to measure on.
    """
    with waiting(f"Loading {run}"):
        model, record = te.load_run(run)
        unseen = _unseen(record)
    threshold = options["reject_below"]
    if options["out_of_scope"] is not None:
        if threshold is not None or unseen is None:
            why = "leave --reject-below out" if threshold is not None else f"the data of {run} are needed, and gone"
            raise ValueError(f"--out-of-scope chooses the score below which inputs are rejected: {why}.")
        threshold = te.rejection_threshold(model, unseen.examples, _examples_in(options["out_of_scope"]))
    about = {"data": record.get("data"), "metrics": record["result"]["metrics"], "seed": record["result"]["seed"]}
    folder = te.export(
        model, base_path, examples=unseen, reject_below=threshold, quantize=options["quantize"], about=about
    )
    return folder, next(each.record for each in te.versions(base_path) if each.folder == folder)


def _unseen(record: dict[str, Any]) -> te.Split | None:
    """Examples that a run was not trained on; None where its data are gone or have changed."""
    if record.get("recipe") is None:
        return None
    try:
        data = make_again(recipe_from_dict(record["recipe"]))
    except (OSError, ValueError) as error:
        logger.warning("The data of the run cannot be had, made-up examples are taken: %s", error)
        return None
    part = data.validation if "validation" in record["result"]["metrics"] else data.test
    return part if len(part) else None


def _examples_in(path: Path) -> list[Any]:
    """Texts, one a line, or the images in a folder."""
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


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
