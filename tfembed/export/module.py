"""An encoder as a module: a SavedModel in the form of TF Hub, which other programs load, call and train on."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.encoders.compute import sample_examples
from tfembed.encoders.encoder import INPUTS, Encoder
from tfembed.encoders.freezing import trained_as_before
from tfembed.encoders.hub import DESCRIBED, DESCRIPTION, TOKENIZER
from tfembed.encoders.preprocessing import ImagePreprocessing, mask_name
from tfembed.export.gate import ExportError
from tfembed.export.signatures import tracked
from tfembed.export.versions import writing_aside
from tfembed.progress import waiting
from tfembed.runs import check_free
from tfembed.saved_model.blocks import variable_name
from tfembed.saved_model.graph import tf_variable
from tfembed.saved_model.layer import HubLayer

_TOLERANCE = 1e-5


def export_module(encoder: Encoder, folder: str | os.PathLike[str]) -> Path:
    """Write an encoder as a module: the other direction of `load_encoder`, with the weights that it has now.

    The SavedModel is callable as modules of TF Hub are, `module(inputs, training=False)`, and gives embeddings
    `(n, dim)`. It takes texts, string `(n,)`, with all preprocessing inside, or images, float32
    `(n, height, width, 3)` with values in [0, 1]. It has `variables`, `trainable_variables` (of all blocks, whatever
    is frozen now) and `regularization_losses`, and a signature `serving_default`. `hub.load`, `HubLayer` and
    `load_encoder` take it; blocks keep their names. Before the folder is there, it is loaded and compared.

    Args:
        encoder: It is left as it was.
        folder: A folder that does not exist yet.

    An encoder of tokens takes these as well as texts, and what makes them lies beside it, in `assets.extra`: so what
    is frozen can be computed once, and texts be batched by length.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder exists.
        ExportError: If the module does not give what the encoder does; nothing is written then.

    Example:
        >>> import tempfile, tfembed as te
        >>> folder = te.export_module(te.load_encoder("glyphs"), tempfile.mkdtemp() + "/module")
        >>> [block.name for block in te.load_encoder(folder).blocks][0]
        'stem'
    """
    target = Path(folder)
    check_free(target)
    with writing_aside(target.parent) as aside:
        with waiting("Writing the module"):
            with _all_unfrozen(encoder), _named(encoder):  # to the end: to save a function is to trace it again
                root, serve = _module(encoder)
                tf.saved_model.save(root, str(aside), {"serving_default": serve})
            _write_beside(encoder, aside)
            _check(encoder, aside)
        os.rename(aside, target)
    return target


def _module(encoder: Encoder) -> tuple[Any, Any]:
    """The object to save, and its signature."""
    spec, tokens, (_, inside) = _input_spec(encoder), _token_specs(encoder), _in_two(encoder.preprocessing)

    def call(inputs: Any, training: bool = False) -> Any:
        if isinstance(inputs, dict):
            return encoder.run(inputs, 0, len(encoder.blocks), training)
        if inputs.dtype == tf.string:
            return encoder(inputs, training=training)
        return encoder.run({INPUTS: inside(inputs * 255.0)}, 0, len(encoder.blocks), training)

    function = tf.function(call, autograph=False)
    specs = [spec] if tokens is None else [spec, tokens]
    traced = [function.get_concrete_function(each, training=False) for each in specs]
    if encoder.trainable:
        traced += [function.get_concrete_function(each, training=True) for each in specs]
    root = tf.train.Checkpoint()
    root.__call__ = function
    blocks = {block.name: [tf_variable(variable) for variable in block.variables] for block in encoder.blocks}
    own = [variable for variables in blocks.values() for variable in variables]
    used = [variable for each in traced for variable in each.variables]  # seeds of dropout, and what prepares
    root.tfembed_blocks = blocks
    root.variables = list({id(variable): variable for variable in [*own, *used]}.values())
    root.trainable_variables = [v for v in own if encoder.trainable and v.trainable and v.dtype.is_floating]
    root.regularization_losses = _regularization_losses(encoder)
    root.used = tracked(encoder, encoder.preprocessing, [tf_variable(variable) for variable in encoder.variables])
    serve = tf.function(lambda inputs: {"embedding": call(inputs)}, input_signature=[spec], autograph=False)
    return root, serve.get_concrete_function()


def _token_specs(encoder: Encoder) -> dict[str, tf.TensorSpec] | None:
    """What an encoder makes of texts first, where these are tokens with a mask."""
    prepared = encoder.prepare(tf.constant(["a"])) if encoder.spec.kind == "text" else {}
    if mask_name(prepared) is None:
        return None
    return {name: tf.TensorSpec([None, None], value.dtype, name=name) for name, value in prepared.items()}


def _write_beside(encoder: Encoder, folder: Path) -> None:
    """Write what is known of the encoder, and what makes its tokens."""
    description = {name: getattr(encoder.spec, name) for name in DESCRIBED}
    description["sequence_length"] = encoder.sequence_length
    (folder / DESCRIPTION).parent.mkdir(exist_ok=True)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    preprocessing = encoder.preprocessing
    if preprocessing is not None and _token_specs(encoder) is not None:
        root = tf.train.Checkpoint()
        spec = [tf.TensorSpec([None], tf.string, name="text")]
        root.__call__ = tf.function(lambda texts: preprocessing(texts), input_signature=spec, autograph=False)
        root.used = tracked(preprocessing, preprocessing, [tf_variable(each) for each in preprocessing.variables])
        tf.saved_model.save(root, str(folder / TOKENIZER))


def _in_two(preprocessing: Any) -> tuple[Any, Any]:
    """What makes pixels of images, in two: to the size that the module takes, and from there to what the body takes."""
    if not isinstance(preprocessing, ImagePreprocessing):
        return preprocessing, preprocessing
    said = {name: getattr(preprocessing, name) for name in ("image_size", "interpolation", "crop")}
    inside = {name: getattr(preprocessing, name) for name in ("image_size", "mean", "scale", "channels")}
    return ImagePreprocessing(**said), ImagePreprocessing(**inside)


def _input_spec(encoder: Encoder) -> tf.TensorSpec:
    if encoder.spec.kind == "text":
        return tf.TensorSpec([None], tf.string, name="text")
    return tf.TensorSpec([None, *(encoder.spec.image_size or (None, None)), 3], tf.float32, name="images")


def _can_train(encoder: Encoder) -> bool:
    """Tell whether anything may train; nothing of a module of TF1 Hub does."""
    return not isinstance(encoder.body, HubLayer) or encoder.body.may_train


@contextmanager
def _all_unfrozen(encoder: Encoder) -> Iterator[None]:
    if isinstance(encoder.body, HubLayer):
        encoder.body.set_seed()  # in the written module dropout draws as in the one that was read
    with trained_as_before(encoder):
        encoder.unfreeze(_can_train(encoder), batch_norm="train")  # whoever trains the module freezes what shall stay
        yield


def _regularization_losses(encoder: Encoder) -> list[Any]:
    """Callables without arguments that return a scalar loss each."""
    if isinstance(encoder.body, HubLayer):
        return list(getattr(encoder.body.resolved_object, "regularization_losses", ()))
    variables = [variable for block in encoder.blocks for variable in block.variables]
    losses = [_loss(variable) for variable in variables if getattr(variable, "regularizer", None) is not None]
    for loss in losses:
        loss.get_concrete_function()
    return losses


def _loss(variable: Any) -> Any:
    def loss() -> Any:
        return variable.regularizer(tf.convert_to_tensor(variable))

    return tf.function(loss, input_signature=[], autograph=False)


@contextmanager
def _named(encoder: Encoder) -> Iterator[None]:
    """Give variables names that tell them apart, such as `layer_0/query/kernel`; Keras calls them all `kernel`."""
    before: list[tuple[Any, str]] = []
    taken: set[str] = set()
    for block in encoder.blocks:
        for variable in block.variables:
            raw = tf_variable(variable)
            path = variable_name(raw if isinstance(encoder.body, HubLayer) else variable)
            name = path if path.startswith(f"{block.name}/") else f"{block.name}/{path}"
            before.append((raw, raw._handle_name))  # there is no public way to rename one
            raw._handle_name = f"{_free(name, taken)}:0"
    try:
        yield
    finally:
        for raw, name in before:
            raw._handle_name = name


def _free(name: str, taken: set[str]) -> str:
    found = next(each for each in (name, *(f"{name}_{i}" for i in range(1, len(taken) + 2))) if each not in taken)
    taken.add(found)
    return found


def _check(encoder: Encoder, folder: Path) -> None:
    """Compare the module with the encoder on a few examples, together and alone."""
    module, examples = tf.saved_model.load(str(folder)), sample_examples(encoder.spec.kind, encoder.spec.image_size)
    outside, inputs = _in_two(encoder.preprocessing)[0], examples
    if encoder.spec.kind == "image":
        is_known = isinstance(outside, ImagePreprocessing)
        inputs = outside(examples) if is_known else tf.cast(examples, tf.float32) / 255.0
    expected = np.asarray(encoder(examples, training=False))
    for given, wanted in ((inputs, expected), (inputs[:1], expected[:1])):
        found = np.asarray(module(given, training=False))
        if found.shape != wanted.shape or not np.allclose(found, wanted, atol=_TOLERANCE, rtol=_TOLERANCE):
            raise ExportError(
                f"The written module gives {found.ravel()[:4]}..., shape {found.shape}, for {len(given)} inputs, where "
                f"the encoder gives {wanted.ravel()[:4]}..., shape {wanted.shape}. Nothing was published."
            )
