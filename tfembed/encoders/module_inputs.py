"""What a module takes and gives, read from specs: is it an encoder of texts or images, and which of its signatures?"""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from tfembed.encoders.preprocessing import mask_name
from tfembed.saved_model.graph_file import SignatureSpec

_EXPECTED = "expected texts (string), tokens with a mask, or images (float32, batch x height x width x 3)"


def kind_of(handle: str, inputs: Any) -> str:
    """Tell texts from images by what a module takes.

    Args:
        handle: The module, to be named in errors.
        inputs: A nest of tf.TensorSpec.

    Returns:
        `"text"` or `"image"`.

    Raises:
        ValueError: If it takes neither, or not in batches of any size; the message says what it takes.

    Example:
        >>> kind_of("module", tf.TensorSpec([None, 32, 32, 3], tf.float32))
        'image'
    """
    why = _why_not(inputs)
    if why is not None:
        raise ValueError(
            f"Module {handle!r} takes {_described(inputs)}: {_EXPECTED}. {why} Wrap it in a SavedModel that does."
        )
    return "text" if mask_name(inputs) is not None or tf.nest.flatten(inputs)[0].dtype == tf.string else "image"


def choose_signature(
    handle: str, signatures: Mapping[str, SignatureSpec], signature: str | None, output: str | None
) -> tuple[SignatureSpec, str]:
    """Choose the signature of a module, and its output, that give embeddings.

    Args:
        handle: The module, to be named in errors.
        signatures: Its signatures by name.
        signature: The one asked for; None for the only one that takes what an encoder takes.
        output: The output or block asked for; None for the only output of vectors or feature maps.

    Returns:
        The signature and the name of the output or block.

    Raises:
        ValueError: If there is no such signature, or more than one candidate; the message lists them.
    """
    if signature is not None and signature not in signatures:
        raise ValueError(
            f"Module {handle!r} has no signature {signature!r}: pass signature= (--signature), one of "
            f"{', '.join(signatures) or 'none, it has no signatures'}."
        )
    asked = _distinct(signatures) if signature is None else [signatures[signature]]
    fitting = [each for each in asked if _why_not(_single(each.inputs)) is None]
    if not fitting:
        kind_of(handle, _single(asked[0].inputs))  # says what it takes in place of texts or images
    pairs = [(each, name) for each in fitting for name in _vectors(each) if output in (None, name)]
    if not pairs and output is not None:
        pairs = [(each, output) for each in fitting]  # a block
    if len(pairs) == 1:
        return pairs[0]
    if not pairs:
        gives = "; ".join(f"{each.name} gives {_described(each.outputs)}" for each in fitting)
        raise ValueError(f"Module {handle!r} gives no vectors: {gives}. Expected an output of floats, (n, dim).")
    listed = "; ".join(f"signature={each.name!r}, output={name!r} {_shape(each, name)}" for each, name in pairs)
    raise ValueError(
        f"Module {handle!r} cannot be called itself, and has more than one signature or output that embeddings could "
        f"be made of: {listed}. Pass signature= and output= (--signature, --output)."
    )


def _distinct(signatures: Mapping[str, SignatureSpec]) -> list[SignatureSpec]:
    """Signatures that compute different things; of several names for one, `serving_default` if it is among them."""
    ordered = sorted(signatures.values(), key=lambda each: each.name == "serving_default")
    return list({(each.computes, *each.inputs, *each.outputs): each for each in ordered}.values())


def _single(inputs: Mapping[str, tf.TensorSpec]) -> Any:
    """The only input of a signature; all of them by name where there are several."""
    return next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)


def _vectors(signature: SignatureSpec) -> list[str]:
    """The outputs of floats that are vectors, sequences or feature maps."""
    return [
        name
        for name, spec in signature.outputs.items()
        if spec.dtype.is_floating and spec.shape.rank in (None, 2, 3, 4)
    ]


def _shape(signature: SignatureSpec, output: str) -> str:
    return str(signature.outputs[output].shape) if output in signature.outputs else ""


def _why_not(inputs: Any) -> str | None:
    """Why these inputs are not those of an encoder; None where they are."""
    specs = [spec for spec in tf.nest.flatten(inputs) if isinstance(spec, tf.TensorSpec)]
    has_mask = mask_name(inputs) is not None
    if len(specs) != 1 and not has_mask:
        return f"It has {len(specs)} inputs."
    if sizes := {spec.shape[0] for spec in specs if spec.shape.rank and spec.shape[0] is not None}:
        return f"It takes batches of exactly {min(sizes)}."
    if has_mask:
        return _why_no_tokens(specs)
    (spec,) = specs
    if spec.dtype == tf.string:
        return None if spec.shape.rank in (None, 1) else "It takes texts in another shape."
    return _why_no_images(spec)


def _why_no_tokens(specs: Iterable[tf.TensorSpec]) -> str | None:
    lengths = {spec.shape[1] for spec in specs if spec.shape.rank == 2} - {None}
    return f"It takes texts of exactly {min(lengths)} tokens." if lengths else None


def _why_no_images(spec: tf.TensorSpec) -> str | None:
    if spec.shape.rank != 4:
        return "These are neither texts nor images."
    if spec.shape[3] not in (None, 3):
        if spec.shape[1] in (1, 3):
            return "It has the channels first."
        return f"It takes images of {spec.shape[3]} channels."
    return None if spec.dtype == tf.float32 else f"It takes {spec.dtype.name} in place of float32."


def _described(inputs: Any) -> str:
    """Inputs in short, such as `images float32 (None, 8, 8, 3)`."""
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {_described(value)}" for name, value in inputs.items())
    if isinstance(inputs, list | tuple):
        return ", ".join(map(_described, inputs))
    return f"{inputs.dtype.name} {inputs.shape}" if isinstance(inputs, tf.TensorSpec) else str(inputs)
