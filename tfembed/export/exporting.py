"""Export: the next version of a model for TF Serving, published only after a fresh process agreed."""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.export.contents import write_contents
from tfembed.export.gate import check
from tfembed.export.raw_inputs import as_examples, raw_inputs
from tfembed.export.signatures import signatures, tracked
from tfembed.export.versions import publish, write_models_config
from tfembed.export.warmup import write_warmup
from tfembed.predict import ModelParts, parts_of, predict
from tfembed.progress import waiting


def export(
    model: keras.Model,
    base_path: str | os.PathLike[str],
    *,
    examples: Sequence[Any] | None = None,
    reject_below: float | None = None,
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
        examples: What to check it with and to warm it up with, as `predict` takes them; a few made-up ones if None. The
            first 1,000 are taken.
        reject_below: The score that the best class must have, in [0, 1]; below it `label` is `__none__`. See
            `rejection_threshold`.
        about: What the model card should say beside: `data`, `metrics`, whatever JSON can hold.

    Returns:
        The folder of the new version, one above the highest there ever was.

    Raises:
        ValueError: If no builder made the model, or it has no classes to reject.
        ExportError: If the fresh process fails or disagrees; nothing is published then.

    Example:
        >>> import tempfile, tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> te.export(model, tempfile.mkdtemp()).name
        '1'
    """
    parts, base = parts_of(model), Path(base_path)
    _check_threshold(parts, reject_below)
    raw = raw_inputs(parts, examples)
    base.mkdir(parents=True, exist_ok=True)
    # TF Serving looks at folders with numbers for names only.
    aside = base / f".incomplete-{uuid.uuid4().hex}"
    try:
        expected = _expected(model, parts, raw)
        with waiting("Writing the SavedModel"):
            tf.saved_model.save(
                tracked(parts.encoder, parts.encoder.preprocessing, model.variables),
                str(aside),
                signatures(parts, reject_below),
            )
            write_warmup(aside, parts, raw)
            write_contents(aside, parts, {"reject_below": reject_below, **(about or {})})
        with waiting("Asking a fresh process"):
            check(aside, parts, raw, expected)
        version = publish(aside, base)
        write_models_config(base.parent)
        return version
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_threshold(parts: ModelParts, reject_below: float | None) -> None:
    if reject_below is None:
        return
    if not 0 <= reject_below <= 1:
        raise ValueError(f"reject_below={reject_below}: expected a score in [0, 1].")
    if parts.task != "classification":
        raise ValueError(
            f"reject_below={reject_below}: a {parts.task} model has no single class to reject. Leave it out."
        )


def _expected(model: keras.Model, parts: ModelParts, raw: list[bytes]) -> np.ndarray:
    """What the model in memory gives; in float32, as what is exported does, whatever its features were computed in."""
    if parts.encoder.compute == "float32":
        return predict(model, as_examples(parts, raw)).probabilities
    return parts.last(parts.head(parts.encoder(tf.constant(raw), training=False), training=False)).numpy()
