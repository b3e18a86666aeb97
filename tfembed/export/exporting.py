"""Export: the next version of a model for TF Serving, published only after a fresh process agreed."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.data import Split
from tfembed.export.contents import write_contents
from tfembed.export.gate import ExportError, check, fresh_process, values_of
from tfembed.export.quantization import KINDS, MOST_LOST, Cost, as_labels, num_bytes, score
from tfembed.export.quantization import quantize as quantize_weights
from tfembed.export.raw_inputs import as_examples, raw_inputs
from tfembed.export.signatures import signatures, tracked
from tfembed.export.versions import publish, write_models_config, writing_aside
from tfembed.export.warmup import write_warmup
from tfembed.head_layers import is_untrained
from tfembed.predict import ModelParts, parts_of, predict_quietly
from tfembed.progress import waiting
from tfembed.saved_model.graph import tf_variable

logger = logging.getLogger(__name__)


def export(
    model: keras.Model,
    base_path: str | os.PathLike[str],
    *,
    examples: Sequence[Any] | Split | None = None,
    reject_below: float | None = None,
    quantize: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write the next version of a model for TF Serving, and check it.

    Signatures, with `text`, or `image_bytes` (encoded JPEG, PNG, GIF or BMP), string `(n,)`, for input:

    - `serving_default` gives `label` and `score` `(n,)`, and `labels` and `scores` `(n, num_classes)`, best first; of a
      regressor `value` `(n,)`.
    - `embed` gives `embedding` `(n, dim)`.
    - `classify`, of a regressor `regress`, takes tf.Examples with a feature of that name, as the calls Classify and
      Regress of TF Serving do.

    In `assets.extra` lie `labels.txt`, `model_card.md`, `tfembed.json` (strategy, versions, checksums) and the examples
    as warmup requests. A fresh process that does not import tfembed loads the SavedModel and must give the predictions
    of the model in memory, for all examples at once, one by one, and for none; every op must be one that TF Serving
    has. Only then is it renamed to its version: no half version is ever visible. Where the folder of the base path
    holds several models, its `models.config` names them all.

    Args:
        model: From one of the builders.
        base_path: The folder of all versions, which TF Serving watches.
        examples: What to check it with and to warm it up with, as `predict` takes them, or a part of a data set; a few
            made-up ones if None. The first 1,000 are taken.
        reject_below: The score that the best class must have, in [0, 1]; below it `label` is `__none__`. See
            `rejection_threshold`.
        quantize: `"bfloat16"` or `"int8-weights"`: keep the weights in half or a quarter of the room; the model that is
            loaded computes in float32 with them. What it costs is measured on the examples, which it needs.
        about: What the model card should say beside: `data`, `metrics`, whatever JSON can hold.

    Returns:
        The folder of the new version, one above the highest there ever was.

    Raises:
        ValueError: If no builder made the model, or it has no classes to reject, or there is nothing to measure on.
        ExportError: If the fresh process fails or disagrees, or quantization costs more than 0.01 of the accuracy;
            nothing is published then.

    Example:
        >>> import tempfile, tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> te.export(model, tempfile.mkdtemp()).name
        '1'
    """
    parts, base = parts_of(model), Path(base_path)
    if is_untrained(parts.head):
        logger.warning("The head was never trained: what the exported model says is chance. Train it first: te.train.")
    _check_threshold(parts, reject_below)
    _check_quantize(quantize, examples)
    raw = raw_inputs(parts, examples.examples if isinstance(examples, Split) else examples)
    with writing_aside(base) as aside, fresh_process() as process:
        expected, functions = _expected(model, parts, raw), signatures(parts, reject_below)
        used = [tf_variable(variable) for variable in model.variables]
        noted: dict[str, Any] = {"reject_below": reject_below}
        if quantize is not None:
            wanted = examples.labels[: len(raw)] if isinstance(examples, Split) else None
            used, expected, cost = _quantized(parts, functions, used, (raw, expected, wanted), quantize)
            noted["quantization"] = asdict(cost)
        with waiting("Writing the SavedModel"):
            tf.saved_model.save(tracked(parts.encoder, parts.encoder.preprocessing, used), str(aside), functions)
            write_warmup(aside, parts, raw)
            write_contents(aside, parts, {**noted, **(about or {})})
        with waiting("Asking a fresh process"):
            check(process, aside, parts, raw, expected)
        version = publish(aside, base)
    write_models_config(base.parent)
    return version


def _check_threshold(parts: ModelParts, reject_below: float | None) -> None:
    if reject_below is None:
        return
    if not 0 <= reject_below <= 1:
        raise ValueError(f"reject_below={reject_below}: expected a score in [0, 1].")
    if parts.task != "classification":
        raise ValueError(
            f"reject_below={reject_below}: a {parts.task} model has no single class to reject. Leave it out."
        )


def _check_quantize(quantize: str | None, examples: Sequence[Any] | Split | None) -> None:
    if quantize is None:
        return
    if quantize not in KINDS:
        raise ValueError(f"quantize={quantize!r}: pass one of {', '.join(KINDS)}, or None.")
    if examples is None:
        raise ValueError(
            f"quantize={quantize!r}: there are no examples to measure on what it costs. Pass examples, best a part of "
            "a data set such as data.validation, whose labels are known."
        )


def _quantized(
    parts: ModelParts, functions: Mapping[str, Any], used: list[Any], measured: tuple[Any, Any, Any], kind: str
) -> tuple[list[Any], np.ndarray, Cost]:
    """Quantize what functions use, and measure what it costs: what they use then, what they give, the cost."""
    raw, before, wanted = measured
    small = quantize_weights(functions, used, kind)
    outputs = functions["serving_default"](tf.constant(raw))
    after = values_of(parts, {name: value.numpy() for name, value in outputs.items()})
    what = ("R2" if parts.task == "regression" else "accuracy") if wanted is not None else "agreement"
    labels = wanted if wanted is not None else as_labels(parts.task, before)
    scores = [score(parts.task, each, labels) for each in (before, after)]
    cost = Cost(
        kind=kind,
        bytes_before=num_bytes(used),
        bytes_after=num_bytes(small),
        score=what,
        before=scores[0],
        after=scores[1],
        num_examples=len(raw),
    )
    logger.info("%s", cost)
    if not cost.after >= cost.before - MOST_LOST:
        raise ExportError(
            f"{cost}: more than {MOST_LOST} is lost. Nothing was published. Export without quantize, or with another."
        )
    return small, after, cost


def _expected(model: keras.Model, parts: ModelParts, raw: list[bytes]) -> np.ndarray:
    """What the model in memory gives; in float32, as what is exported does, whatever its features were computed in."""
    if parts.encoder.compute == "float32":
        return predict_quietly(model, as_examples(parts, raw)).probabilities
    return parts.last(parts.head(parts.encoder(tf.constant(raw), training=False), training=False)).numpy()
