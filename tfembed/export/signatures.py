"""The signatures of an exported model: raw text or image bytes in; labels, values or embeddings out."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.trackable.resource import CapturableResource  # tables; no public name has what fills TF1's

from tfembed.data.class_names import RESERVED
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.words.layer import Words
from tfembed.export.by_length import embed_by_length
from tfembed.export.quantization import StoredWeight
from tfembed.export.raw_inputs import input_name
from tfembed.predict import ModelParts
from tfembed.saved_model.layer import HubLayer

REJECTED = RESERVED  # the label of what is none of the classes


def signatures(parts: ModelParts, reject_below: float | None) -> dict[str, Any]:
    """The signatures, as concrete functions by their names; see `export`.

    Args:
        parts: Of the model.
        reject_below: The score that the best class must have; None to take every one.
    """
    name = input_name(parts)
    raw_spec = [tf.TensorSpec([None], tf.string, name=name)]
    example_spec = [tf.TensorSpec([None], tf.string, name="inputs")]
    # All signatures call the same function: to trace an encoder, and its tokenizer above all, takes seconds.
    embed = tf.function(lambda raw: _embed(parts.encoder, raw), input_signature=raw_spec, autograph=False)

    def of_examples(serialized: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(serialized, {name: tf.io.FixedLenFeature([], tf.string)})
        outputs = _outputs(parts, embed(parsed[name]))
        if not parts.class_names:
            return {"outputs": outputs[:, 0]}
        labels, scores = _ranked(parts, outputs)
        return {"classes": labels, "scores": scores}

    functions = {
        "serving_default": (lambda raw: _serve(parts, embed(raw), reject_below), raw_spec),
        "embed": (lambda raw: {"embedding": embed(raw)}, raw_spec),
        "classify" if parts.class_names else "regress": (of_examples, example_spec),
    }
    return {
        each: tf.function(function, input_signature=spec, autograph=False).get_concrete_function()
        for each, (function, spec) in functions.items()
    }


def _embed(encoder: Encoder, raw: Any) -> Any:
    """Embed a batch; texts of which an encoder of word vectors knows no word are counted in the server's log."""
    embeddings = embed_by_length(encoder, raw)
    if not isinstance(encoder.preprocessing, Words):
        return embeddings
    num_unknown = tf.math.count_nonzero(tf.reduce_all(embeddings == 0, axis=1))
    log = partial(tf.print, "W tfembed:", num_unknown, "of", tf.size(raw), "texts have no word that the encoder knows")
    with tf.control_dependencies([tf.cond(num_unknown > 0, log, tf.no_op)]):
        return tf.identity(embeddings)


def _serve(parts: ModelParts, embeddings: Any, reject_below: float | None) -> dict[str, Any]:
    outputs = _outputs(parts, embeddings)
    if not parts.class_names:
        return {"value": outputs[:, 0]}
    labels, scores = _ranked(parts, outputs)
    label = labels[:, 0]
    if reject_below is not None:
        label = tf.where(scores[:, 0] < reject_below, REJECTED, label)
    return {"label": label, "score": scores[:, 0], "labels": labels, "scores": scores}


def _outputs(parts: ModelParts, embeddings: Any) -> Any:
    return parts.last(parts.head(embeddings, training=False))


def _ranked(parts: ModelParts, outputs: Any) -> tuple[Any, Any]:
    """Labels and scores `(n, num_classes)`, best first."""
    order = tf.argsort(outputs, axis=1, direction="DESCENDING", stable=True)
    return tf.gather(tf.constant(parts.class_names), order), tf.gather(outputs, order, batch_dims=1)


def tracked(layer: keras.layers.Layer, preprocessing: keras.layers.Layer | None, used: Sequence[Any]) -> tf.Module:
    """What the graphs of an encoder use: variables, lookup tables, files.

    Keras's own archive would hold every variable twice, as Keras's and as TensorFlow's.

    Args:
        layer: The encoder, or another layer.
        preprocessing: That of the encoder.
        used: Variables, and weights that are stored in their place.
    """
    root, layers = tf.Module(), list(layer._flatten_layers())
    root.stored = [each for each in used if isinstance(each, StoredWeight)]
    root.used_variables = [each for each in used if isinstance(each, tf.Variable)]
    root.used_variables += [variable for each in root.stored for variable in each.variables]
    hub_layers = [each for each in layers if isinstance(each, HubLayer)]
    modules = [each.resolved_object for each in hub_layers]
    root.untracked_variables = [variable for each in hub_layers for variable in each.untracked_variables]
    tables = [value for each in layers for value in vars(each).values() if isinstance(value, tf.lookup.StaticHashTable)]
    root.resources = [
        each
        for part in (*modules, *tables)
        for each in tf.train.TrackableView(part).descendants()
        if isinstance(each, CapturableResource | tf.saved_model.Asset)
    ]
    if not isinstance(preprocessing, HubLayer):
        root.preprocessing = preprocessing
    return root
