"""Texts to tokens in one graph, many times as fast as layer by layer."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.composition import consists_of
from tfembed.encoders.graph_hash import GraphHash, hash_graph
from tfembed.encoders.preprocessing import mask_name
from tfembed.encoders.python_state import PythonState
from tfembed.saved_model.layer import HubLayer

Prepare = Callable[[Any], dict[str, Any]]
_TEXTS = tf.TensorSpec([None], tf.string)
_REFUSALS = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError, tf.errors.OpError)


class TracedTokens:
    """What an encoder makes of raw examples before its body, in graphs traced anew where that was changed in place.

    Attributes:
        has_separator: Whether texts end with a separator; None until somebody has looked, and after a change.
    """

    def __init__(self) -> None:
        self._state: PythonState | None = None
        self._forget()

    def _forget(self) -> None:
        self._graphs: dict[tf.TensorSpec, Any] = {}
        self._hashes: dict[tf.TensorSpec, GraphHash | None] = {}
        self._own_name = uuid.uuid4().hex
        self.has_separator: bool | None = None

    def __call__(self, texts: Any, prepare: Prepare, preprocessing: keras.layers.Layer | None) -> dict[str, Any]:
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

    def _traced(self, prepare: Prepare, preprocessing: keras.layers.Layer | None, form: tf.TensorSpec = _TEXTS) -> Any:
        state = PythonState(preprocessing)
        if state != self._state:
            self._state = state
            self._forget()
        if form not in self._graphs:
            trace = tf.function(prepare, input_signature=[form], autograph=False)
            self._graphs[form] = trace.get_concrete_function()
            self._state = PythonState(preprocessing)  # layers note things as they are first called
        return self._graphs[form]

    def fingerprint(
        self, forms: Sequence[tf.TensorSpec], prepare: Prepare, preprocessing: keras.layers.Layer | None
    ) -> Any:
        """Name what is made of raw examples, as JSON values that are the same in every process.

        A name that no other object has, until the layer is changed, where it calls Python, or cannot be traced or
        described.

        Args:
            forms: Forms of raw examples; those that the layer does not take are left out.
            prepare: From raw examples to what the body takes.
            preprocessing: The layer that it calls.
        """
        described = consists_of(preprocessing)
        if preprocessing is None or (isinstance(preprocessing, HubLayer) and preprocessing.fingerprint):
            return described
        digests = []
        for form in forms:
            try:
                graph = self._traced(prepare, preprocessing, form)
            except _REFUSALS:
                continue
            if form not in self._hashes:
                self._hashes[form] = hash_graph(graph, [])
            hashed = self._hashes[form]
            if hashed is None or not (hashed.is_whole or described):
                return self._own_name
            digests.append(hashed.digest())
        return [described, digests] if digests else self._own_name

    def renew(self, preprocessing: keras.layers.Layer | None) -> None:
        """Make SentencePiece models anew: TensorFlow drops them whenever a seed is set, and texts have no tokens."""
        for layer in [] if preprocessing is None else preprocessing._flatten_layers():
            if getattr(layer, "proto", None):
                layer.set_proto(layer.proto)
        self._forget()


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
