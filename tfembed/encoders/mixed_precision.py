"""Mixed precision: an encoder that computes in bfloat16 for a while, its weights in float32."""

from collections.abc import Iterator
from contextlib import contextmanager

from tfembed.encoders.encoder import Encoder
from tfembed.saved_model.layer import HubLayer

_POLICY = "mixed_bfloat16"


@contextmanager
def mixed_precision(encoder: Encoder, wanted: bool) -> Iterator[None]:
    """Let an encoder's layers compute in bfloat16; what crosses a cut, and the embedding, stay in float32.

    Keras does so with every layer: norms and softmax take their sums in float32, and weights are cast as they are read.
    bfloat16 has the range of float32, so that losses need no scaling.

    Args:
        encoder: Its layers compute as before at the end.
        wanted: Whether to do so; without it nothing is done.

    Raises:
        ValueError: If the encoder is a SavedModel, whose types are settled.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder = load_encoder("minilm")
        >>> with mixed_precision(encoder, True):
        ...     print({layer.compute_dtype for layer in encoder.body.layers})
        {'bfloat16'}
        >>> {layer.compute_dtype for layer in encoder.body.layers}
        {'float32'}
    """
    if not wanted:
        yield
        return
    if isinstance(encoder.body, HubLayer):
        raise ValueError(
            f"mixed_precision=True: encoder {encoder.spec.name!r} is a SavedModel, which computes in the types that it "
            "was saved with. Leave it out, or take an encoder of Keras layers, such as a preset of KerasHub."
        )
    before = [(layer, layer.dtype_policy) for layer in encoder.body._flatten_layers(include_self=False)]
    for layer, _ in before:
        layer.dtype_policy = _POLICY
    try:
        yield
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy
