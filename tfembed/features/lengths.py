"""How many tokens of a text are kept: chosen from the training data, and part of the encoder from then on."""

import logging

import numpy as np
import tensorflow as tf

from tfembed.encoders.encoder import Encoder

logger = logging.getLogger(__name__)

_PERCENTILE = 99
_STEP = 8  # limits of slightly different draws of the same data are equal, and so are their features
_MOST_LOOKED_AT = 10_000
TEXTS_PER_TOKENIZING = 512


def fit_sequence_length(encoder: Encoder, texts: np.ndarray) -> int | None:
    """Limit an encoder's texts to the 99th percentile of the training texts' lengths, rounded up to a multiple of 8.

    The limit becomes part of the encoder, is saved with it, and holds for everything it embeds from then on. A limit
    that was given to `load_encoder`, or came with a saved model, stays. How many of the texts are cut off is logged
    under `tfembed.features.lengths`, as a warning where there are any: Python prints it to stderr.

    Args:
        encoder: Its limit is set; call this before features are computed or the model is run.
        texts: The training texts; at most 10,000 of them, evenly spaced, are looked at.

    Returns:
        The limit; None for encoders of images, and of texts without a padding mask.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder = load_encoder("minilm")
        >>> fit_sequence_length(encoder, np.array(["a short text", "another one"], object))
        8
    """
    if encoder.spec.kind != "text" or not len(texts):
        return None
    step = -(-len(texts) // _MOST_LOOKED_AT)
    lengths = _lengths(encoder, texts[::step])
    if lengths is None:
        return None
    if encoder.chooses_length:
        wanted = float(np.percentile(lengths, _PERCENTILE, method="inverted_cdf"))
        encoder.sequence_length = max(_STEP, -(-int(wanted) // _STEP) * _STEP)
    limit = encoder.sequence_length
    num_cut = int((lengths > limit).sum())
    level = logging.WARNING if num_cut else logging.INFO
    chosen = (
        f"the {_PERCENTILE}th percentile of the training texts, rounded up" if encoder.chooses_length else "as given"
    )
    logger.log(
        level,
        "Texts are cut off at %d tokens (%s): %d of %d are longer, up to %d tokens. "
        "Pass sequence_length to load_encoder, or --sequence-length, for another limit.",
        *(limit, chosen, num_cut, len(lengths), lengths.max()),
    )
    return limit


def _lengths(encoder: Encoder, texts: np.ndarray) -> np.ndarray | None:
    """Tokens of each text before any is cut off."""
    found = []
    for start in range(0, len(texts), TEXTS_PER_TOKENIZING):
        _, counts = encoder.tokenize(tf.constant(texts[start : start + TEXTS_PER_TOKENIZING].tolist(), tf.string))
        if counts is None:
            return None
        found.append(counts.numpy())
    return np.concatenate(found)
