"""Export for TF Serving: a versioned SavedModel that takes raw input, published only after a fresh process agreed."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.data import read_images
from tfembed.predict import ModelParts, parts_of, predict
from tfembed.progress import waiting
from tfembed.saved_model.graph import tf_variable
from tfembed.saved_model.layer import HubLayer

_CHECK = Path(__file__).with_name("export_check.py")
_TOLERANCE = 1e-4  # of probabilities; padding to another length changes the order of sums
_TEXTS = ("hello", "Where is my order? It should have been here last week.", "ça va", "a " * 60)


def export(model: keras.Model, base_path: str | os.PathLike[str], *, examples: Sequence[Any] | None = None) -> Path:
    """Write the next version of a model for TF Serving, and check it.

    The signature `serving_default` takes `text`, or `image_bytes` (encoded JPEG, PNG, GIF or BMP), string `(n,)`, and
    gives `label` and `score` `(n,)`, and `labels` and `scores` `(n, num_classes)`, best first; regressors give `value`
    `(n,)`. The signature `embed` gives `embedding` `(n, dim)`.

    A fresh process that does not import tfembed loads the SavedModel and must give the predictions of the model in
    memory. Only then is it renamed to its version: no half version is ever visible.

    Args:
        model: From one of the builders.
        base_path: The folder of all versions, which TF Serving watches.
        examples: What to check it with, as `predict` takes them; a few made-up ones if None.

    Returns:
        The folder of the new version, one above the highest there is.

    Raises:
        ValueError: If no builder made the model.
        ExportError: If the fresh process fails or disagrees; nothing is published then.

    Example:
        >>> import tempfile, tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> te.export(model, tempfile.mkdtemp()).name
        '1'
    """
    parts, base = parts_of(model), Path(base_path)
    raw = _raw(parts, examples)
    base.mkdir(parents=True, exist_ok=True)
    # TF Serving looks at folders with numbers for names only.
    aside = base / f".incomplete-{uuid.uuid4().hex}"
    try:
        expected = _expected(model, parts, raw)
        with waiting("Writing the SavedModel"):
            _write(model, parts, aside)
        with waiting("Asking a fresh process"):
            _check(aside, parts, raw, expected)
        return _publish(aside, base)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class ExportError(RuntimeError):
    """An exported model does not do what the model in memory does."""


def _write(model: keras.Model, parts: ModelParts, folder: Path) -> None:
    spec = [tf.TensorSpec([None], tf.string, name=_input_name(parts))]
    serve = tf.function(lambda raw: _serve(parts, raw), spec, autograph=False)
    embed = tf.function(lambda raw: {"embedding": parts.encoder(raw, training=False)}, spec, autograph=False)
    signatures = {"serving_default": serve.get_concrete_function(), "embed": embed.get_concrete_function()}
    tf.saved_model.save(_tracked(model, parts), str(folder), signatures)
    extra = folder / "assets.extra"
    extra.mkdir()
    if parts.class_names:
        (extra / "labels.txt").write_text("".join(f"{name}\n" for name in parts.class_names), encoding="utf-8")
    spec_of = parts.encoder.spec
    trained_with = parts.encoder.trained_with
    card = {
        "encoder": spec_of.name,
        "handle": spec_of.handle,
        "licence": spec_of.licence,
        "task": parts.task,
        "strategy": None if trained_with is None else json.loads(trained_with),
    }
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    (extra / "tfembed.json").write_text(json.dumps(card | {"versions": versions}, indent=1), encoding="utf-8")


def _tracked(model: keras.Model, parts: ModelParts) -> tf.Module:
    """What the signatures use. Keras's own archive would hold every variable twice, as Keras's and as TensorFlow's."""
    root, layers = tf.Module(), list(parts.encoder._flatten_layers())
    root.used_variables = [tf_variable(variable) for variable in model.variables]
    root.used_modules = [layer.resolved_object for layer in layers if isinstance(layer, HubLayer)]
    if not isinstance(parts.encoder.preprocessing, HubLayer):
        root.preprocessing = parts.encoder.preprocessing
    return root


def _serve(parts: ModelParts, raw: Any) -> dict[str, Any]:
    outputs = parts.last(parts.head(parts.encoder(raw, training=False), training=False))
    if not parts.class_names:
        return {"value": outputs[:, 0]}
    order = tf.argsort(outputs, axis=1, direction="DESCENDING", stable=True)
    labels, scores = tf.gather(tf.constant(parts.class_names), order), tf.gather(outputs, order, batch_dims=1)
    return {"label": labels[:, 0], "score": scores[:, 0], "labels": labels, "scores": scores}


def _expected(model: keras.Model, parts: ModelParts, raw: list[bytes]) -> np.ndarray:
    """What the model in memory gives; in float32, as what is exported does, whatever its features were computed in."""
    if parts.encoder.compute == "float32":
        return predict(model, _as_examples(parts, raw)).probabilities
    return parts.last(parts.head(parts.encoder(tf.constant(raw), training=False), training=False)).numpy()


def _check(folder: Path, parts: ModelParts, raw: list[bytes], expected: np.ndarray) -> None:
    """Compare with what a fresh process makes of the same raw inputs."""
    request = {"name": _input_name(parts), "inputs": [base64.b64encode(each).decode() for each in raw]}
    answer = folder.with_name(f"{folder.name}.npz")
    command = [sys.executable, "-P", str(_CHECK), str(folder), str(answer)]
    try:
        run = subprocess.run(command, input=json.dumps(request), text=True, capture_output=True, check=False)
        if run.returncode:
            why = run.stderr.strip().splitlines()[-1:] or ["no message"]
            raise ExportError(f"A fresh process cannot use the exported model: {why[0]} Nothing was published.")
        with np.load(answer) as found:
            _compare(parts, raw, expected, dict(found))
    finally:
        answer.unlink(missing_ok=True)


def _compare(parts: ModelParts, raw: list[bytes], expected: np.ndarray, found: dict[str, np.ndarray]) -> None:
    if parts.class_names:
        place = {name.encode(): i for i, name in enumerate(parts.class_names)}
        values = np.zeros_like(expected)
        for row, (labels, scores) in enumerate(zip(found["labels"], found["scores"], strict=True)):
            values[row, [place[label] for label in labels]] = scores
    else:
        values = found["value"][:, np.newaxis]
    difference = np.abs(values - expected).max(axis=1)
    worst = int(difference.argmax())
    if not difference[worst] <= _TOLERANCE * max(1.0, float(np.abs(expected[worst]).max())):
        raise ExportError(
            f"The exported model gives {values[worst].tolist()} for the input {raw[worst][:60]!r}, where the model in "
            f"memory gives {expected[worst].tolist()}. Nothing was published."
        )


def _publish(folder: Path, base: Path) -> Path:
    while True:
        taken = [int(each.name) for each in base.iterdir() if each.name.isdecimal()]
        target = base / str(max(taken, default=0) + 1)
        try:
            os.rename(folder, target)
            return target
        except OSError:
            if not target.exists():  # else another process took the number
                raise


def _input_name(parts: ModelParts) -> str:
    return "text" if parts.encoder.spec.kind == "text" else "image_bytes"


def _raw(parts: ModelParts, examples: Sequence[Any] | None) -> list[bytes]:
    """What clients will send for the examples: UTF-8 texts, or encoded images."""
    if parts.encoder.spec.kind == "text":
        texts = _TEXTS if examples is None else examples
        return [text if isinstance(text, bytes) else str(text).encode() for text in texts]
    if examples is None:
        size = (*(parts.encoder.spec.image_size or (32, 32)), 3)
        return [_png(each) for each in np.random.default_rng(0).integers(0, 256, (4, *size), dtype=np.uint8)]
    if isinstance(examples, np.ndarray) and examples.dtype == np.uint8:
        return [_png(pixels) for pixels in examples]
    return read_images(list(examples))


def _as_examples(parts: ModelParts, raw: list[bytes]) -> list[Any]:
    return [each.decode() for each in raw] if parts.encoder.spec.kind == "text" else raw


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
