"""What the commands of the command line do, without parsing and printing."""

from pathlib import Path
from typing import Any

import keras

import tfembed as te
from tfembed.runs import check_free

_SAMPLE_LABELS = {"intents": "intent", "reviews": "sentiment"}
_STRATEGIES = {"linear_probe": te.linear_probe, "full": te.full, "top_blocks": te.top_blocks, "lp_ft": te.lp_ft}
_COUNTED = ("top_blocks", "lp_ft")


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
    strategy, seed = parse_strategy(options["strategy"]), options["seed"]
    dataset = _load(data, options)
    if options["few_shot"]:
        dataset = dataset.few_shot(options["few_shot"], seed)
    handle = options["handle"] or ("minilm" if dataset.kind == "text" else "glyphs")
    loading = {name: options[name] for name in ("preprocessing", "pooling", "compute")}
    encoder = te.load_encoder(handle, **loading)
    model = build(encoder, dataset)
    result = te.train(model, dataset, strategy, seed=seed)
    return model, result, {"data": dataset.source, "encoder": handle, "class_names": list(dataset.class_names)}


def build(encoder: te.Encoder, data: te.Dataset) -> keras.Model:
    """Build the model that a data set asks for, with a linear head."""
    if data.task == "regression":
        return te.build_text_regressor(encoder) if data.kind == "text" else te.build_image_regressor(encoder)
    multi_label = data.task == "multi_label"
    if data.kind == "text":
        return te.build_text_classifier(encoder, data.class_names, multi_label=multi_label)
    return te.build_image_classifier(encoder, data.class_names, multi_label=multi_label)


def parse_strategy(text: str) -> te.Strategy:
    """Read a strategy such as `lp_ft:2` or `linear_probe`.

    Raises:
        ValueError: If there is no such strategy.

    Example:
        >>> parse_strategy("lp_ft:2").name
        'lp_ft(2)'
    """
    name, _, count = text.partition(":")
    if name not in _STRATEGIES or (name in _COUNTED) != count.isdecimal():
        raise ValueError(f"Unknown strategy {text!r}: pass linear_probe, full, top_blocks:K or lp_ft:K, K a number.")
    return _STRATEGIES[name](int(count)) if name in _COUNTED else _STRATEGIES[name]()  # type: ignore[operator]


def predict_with(run: Path, examples: tuple[str, ...]) -> list[dict[str, Any]]:
    """Predict with the model of a run: one row per example, with label and score (the value, for regressions)."""
    model, _ = te.load_run(run)
    kind = model.layers[-3].spec.kind
    found = te.predict(model, list(examples) if kind == "text" else [Path(each) for each in examples])
    scores = found.probabilities.max(axis=1).tolist()
    labels = found.labels or [None] * len(examples)
    rows = zip(examples, labels, scores, strict=True)
    return [{"example": example, "label": label, "score": score} for example, label, score in rows]


def _load(data: str, options: dict[str, Any]) -> te.Dataset:
    seed = options["seed"]
    if data in _SAMPLE_LABELS:
        return te.load_text(te.resource_path(data), label=options["label"] or _SAMPLE_LABELS[data], seed=seed)
    if Path(data).is_dir():
        return te.load_images(data, seed=seed)
    if not Path(data).exists():
        names = " or ".join(_SAMPLE_LABELS)
        raise ValueError(f"There is no {data!r}: expected a table of texts, a folder of images, or {names}.")
    text, label = options["text"], options["label"] or "label"
    if text.isdecimal() and label.isdecimal():
        return te.load_text(data, text=int(text), label=int(label), seed=seed)
    return te.load_text(data, text=text, label=label, seed=seed)
