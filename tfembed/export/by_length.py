"""Embedding a batch that clients sent: texts in parts of like length, since what is padded less is computed sooner."""

from typing import Any

import tensorflow as tf

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.preprocessing import count_tokens, trim_padding

_ROWS, _MOST_PARTS = 8, 4  # of a part at least; smaller ones keep the cores less busy than padding would


def embed_by_length(encoder: Encoder, raw: Any) -> Any:
    """Embed a batch whole or, from 16 texts with tokens on, in parts of like length.

    Clients send short and long texts at the same time, and a server makes one batch of them, padded to the longest.

    Args:
        encoder: Runs in inference mode.
        raw: Raw examples `(n,)`.

    Returns:
        Embeddings `(n, dim)`, in the order of the examples.
    """
    prepared = encoder.prepare(raw)
    lengths = count_tokens(prepared)
    if lengths is None:
        return _embed_whole(encoder, prepared, tf.shape(raw)[0])
    order = tf.argsort(lengths, stable=True)
    num_rows = tf.size(order)
    num_parts = tf.clip_by_value(num_rows // _ROWS, 1, _MOST_PARTS)
    found = tf.TensorArray(tf.float32, num_parts, infer_shape=False, element_shape=[None, encoder.dim])

    def embed_part(i: Any, found: tf.TensorArray) -> tuple[Any, tf.TensorArray]:
        rows = order[i * num_rows // num_parts : (i + 1) * num_rows // num_parts]
        part = trim_padding({name: tf.gather(value, rows) for name, value in prepared.items()})
        return i + 1, found.write(i, encoder.run(part, 0, len(encoder.blocks)))

    # One graph for all parts: written out for each, the model would be as many times as large. They run side by side,
    # since an op of few rows does not keep all cores busy.
    _, found = tf.while_loop(lambda i, _: i < num_parts, embed_part, (0, found), parallel_iterations=_MOST_PARTS)
    return tf.gather(found.concat(), tf.math.invert_permutation(order))


def _embed_whole(encoder: Encoder, prepared: Any, num_rows: Any) -> Any:
    """Embed a batch, with a row of zeros in place of none.

    Where TensorFlow uses oneDNN, as it does on processors with AVX512-VNNI, a convolution of an empty batch gives the
    shape of its input.
    """

    def at_least_one(value: Any) -> Any:
        one_more = [[0, 1], *[[0, 0]] * (len(value.shape) - 1)]
        return tf.cond(num_rows > 0, lambda: value, lambda: tf.pad(value, one_more))

    return encoder.run(tf.nest.map_structure(at_least_one, prepared), 0, len(encoder.blocks))[:num_rows]
