"""Runs and studies from the command line: trained, searched for, asked, exported."""

import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras

import tfembed as te
from tfembed.builders import build_model
from tfembed.commands.examples import examples_in, texts_of
from tfembed.commands.typed import encoder_of, loading_of, parse_head
from tfembed.data.again import make_again
from tfembed.data.recipe import recipe_from_dict
from tfembed.distribution import open_distribution
from tfembed.progress import waiting
from tfembed.rejection import FEW
from tfembed.search.about import describe_parts
from tfembed.search.plan import differences
from tfembed.strategies import parse_strategy

logger = logging.getLogger(__name__)


def train_on(dataset: te.Dataset, options: dict[str, Any]) -> tuple[keras.Model, te.Result, dict[str, Any]]:
    """Load an encoder, build a classifier or regressor, and train it.

    Args:
        dataset: Data of `early.read_training_data`.
        options: The options of `tfembed train`, by name.

    Returns:
        The model, what training came to, and what a run should record.

    Raises:
        ValueError: If anything of that is wrong, saying what.
    """
    distribution = open_distribution(options["distribution"])  # before anything else wakes TensorFlow
    how = {name: options[name] for name in ("mixed_precision", "jit_compile")}
    strategy = parse_strategy(options["strategy"])
    if options["batch_norm"] != "auto":
        strategy = strategy.with_batch_norm(options["batch_norm"])
    strategy = te.accelerate(strategy, **how)
    head, seed = parse_head(options["head"]), options["seed"]
    handle = encoder_of(options["handle"], dataset.kind)
    with waiting(f"Loading {handle}"):
        encoder = te.load_encoder(handle, kind=dataset.kind, compute=options["compute"], **loading_of(options))
        model = build_model(encoder, dataset, head)
    result = te.train(model, dataset, strategy, seed=seed, balanced=options["balanced"], distribution=distribution)
    record: dict[str, Any] = {
        "data": dataset.source,
        "kind": dataset.kind,
        "encoder": handle,
        "class_names": list(dataset.class_names),
    }
    record |= {"recipe": dataset.recipe and asdict(dataset.recipe), "content": describe_parts(dataset)}
    return model, result, record


def search_on(dataset: te.Dataset, out: Path, options: dict[str, Any]) -> te.Study:
    """Load encoders, and search; see `tfembed.search`.

    Args:
        dataset: Data of `early.read_search_data`.
        out: The study's folder.
        options: The options of `tfembed search`, by name.

    Raises:
        ValueError: If anything of that is wrong, saying what.
    """
    distribution = open_distribution(options["distribution"])
    handles = options["handles"] or (encoder_of(None, dataset.kind),)
    loading = loading_of(options) | {"compute": options["compute"], "kind": dataset.kind}
    encoders = {handle: partial(te.load_encoder, handle, **loading) for handle in handles}
    passed = ("max_trials", "max_minutes", "oracle", "objective", "folds", "repeats", "seed", "balanced", "workers")
    chosen = {name: options[name] for name in (*passed, "early_stopping", "mixed_precision", "jit_compile")}
    return te.search(encoders, dataset, directory=out, distribution=distribution, **chosen)


def predict_with(run: Path, examples: tuple[str, ...], column: str) -> list[dict[str, Any]]:
    """Predict with the model of a run: one row per example, with label and score (the value, for regressions).

    Args:
        run: Its folder.
        examples: Texts or tables of texts; or files of images.
        column: Column of texts in a table.
    """
    with waiting(f"Loading {run}"):
        model, _ = te.load_run(run)
    kind = model.layers[-3].spec.kind
    inputs = texts_of(examples, column) if kind == "text" else [Path(each) for each in examples]
    found = te.predict(model, inputs)
    scores = found.probabilities.max(axis=1).tolist()
    labels = found.labels or [None] * len(inputs)
    rows = zip(map(str, inputs), labels, scores, strict=True)
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
    rejection = _rejection(run, model, unseen, options)
    about = {"data": record.get("data"), "metrics": record["result"]["metrics"], "seed": record["result"]["seed"]}
    if rejection is not None:
        about["rejection"] = asdict(rejection)
    threshold = options["reject_below"] if rejection is None else rejection.threshold
    folder = te.export(
        model, base_path, examples=unseen, reject_below=threshold, quantize=options["quantize"], about=about
    )
    return folder, next(each.record for each in te.versions(base_path) if each.folder == folder)


def _rejection(
    run: Path, model: keras.Model, unseen: te.Split | None, options: dict[str, Any]
) -> te.RejectionCost | None:
    """Choose the score below which inputs are rejected, and measure what it costs; None where nobody asked for it."""
    threshold, path, share = (options[name] for name in ("reject_below", "out_of_scope", "keep_in_scope"))
    if threshold is not None and share is not None:
        raise ValueError("--keep-in-scope chooses the score below which inputs are rejected: leave --reject-below out.")
    if path is None and share is None and (threshold is None or unseen is None):
        return None
    if unseen is None:
        option = "--out-of-scope" if share is None else "--keep-in-scope"
        raise ValueError(
            f"{option} needs examples of the classes, and the data of {run} are gone. Put them back, or pass "
            "--reject-below alone."
        )
    outside = [] if path is None else examples_in(path)
    for scope, examples in (("in-scope", unseen.examples), ("out-of-scope", outside)):
        if 0 < len(examples) < FEW:
            logger.warning("%d %s examples are few: what the threshold costs is hardly known.", len(examples), scope)
    if threshold is None:
        threshold = te.rejection_threshold(model, unseen.examples, outside, keep_in_scope=share)
    return te.measure_rejection(model, threshold, unseen.examples, outside)


def _unseen(record: dict[str, Any]) -> te.Split | None:
    """Examples that a run was not trained on; None where its data are gone or have changed."""
    if record.get("recipe") is None:
        return None
    recipe = recipe_from_dict(record["recipe"])
    try:
        data = make_again(recipe)
        differing = differences(record.get("content", {}), describe_parts(data)) if "content" in record else []
        if differing:
            raise ValueError(f"they have changed ({'; '.join(differing)})")
    except (OSError, ValueError) as error:
        logger.warning(
            "The data of the run are not at %s as they were: made-up examples are taken. Put them back to measure on "
            "them. %s",
            recipe.source,
            error,
        )
        return None
    part = data.validation if "validation" in record["result"]["metrics"] else data.test
    return part if len(part) else None
