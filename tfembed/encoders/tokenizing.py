"""Texts to tokens in one graph, many times as fast as layer by layer."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.composition import consists_of
from tfembed.encoders.preprocessing import mask_name
from tfembed.encoders.python_state import state_of


class TracedTokens:
    """What an encoder makes of texts before its body, as a graph that is traced anew where its vocabulary changed."""

    def __init__(self) -> None:
        self._graph: Callable[[Any], dict[str, Any]] | None = None
        self._made_from: Any = None

    def __call__(
        self, texts: Any, prepare: Callable[[Any], dict[str, Any]], preprocessing: keras.layers.Layer | None
    ) -> dict[str, Any]:
        """Prepare texts.

        Args:
            texts: Strings `(n,)`.
            prepare: From texts to what the body takes.
            preprocessing: The layer that it calls.

        Returns:
            What `prepare` gives.
        """
        try:
            return self._traced(prepare, preprocessing)(texts)
        except tf.errors.NotFoundError:  # somebody set a seed
            self.renew(preprocessing)
            return self._traced(prepare, preprocessing)(texts)

    def _traced(
        self, prepare: Callable[[Any], dict[str, Any]], preprocessing: keras.layers.Layer | None
    ) -> Callable[[Any], dict[str, Any]]:
        # The vocabulary, a setting or the code may have been changed in place.
        now = consists_of(preprocessing), state_of(preprocessing)
        if self._graph is None or self._made_from != now:
            trace = tf.function(prepare, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
            self._graph, self._made_from = trace.get_concrete_function(), now
        return self._graph

    def renew(self, preprocessing: keras.layers.Layer | None) -> None:
        """Make SentencePiece models anew: TensorFlow drops them whenever a seed is set, and texts have no tokens."""
        for layer in [] if preprocessing is None else preprocessing._flatten_layers():
            if getattr(layer, "proto", None):
                layer.set_proto(layer.proto)
        self._graph = None


def check_length(preprocessing: keras.layers.Layer | None, sequence_length: int, name: str) -> None:
    """Check that so many tokens can be kept of a text.

    Raises:
        ValueError: If there are no tokens, or the preprocessing keeps fewer.
    """
    prepared = {} if preprocessing is None else preprocessing(tf.constant(["a"]))
    mask = mask_name(prepared)
    if mask is None:
        raise ValueError(
            f"sequence_length={sequence_length}: encoder {name!r} takes no tokens with a padding mask. "
            "Leave sequence_length out."
        )
    most = prepared[mask].shape[1]
    if not 2 <= sequence_length <= most:
        raise ValueError(
            f"sequence_length={sequence_length}: expected 2 to {most}, which the preprocessing of encoder {name!r} "
            "keeps of a text."
        )
