"""From a handle to an encoder: one function for every source."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders import applications, hub, keras_hub, keras_model
from tfembed.encoders.catalog import CATALOG
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.hugging_face import loading as hugging_face
from tfembed.encoders.names import refuse_handle, refuse_kind
from tfembed.encoders.pytorch import loading as pytorch
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import KINDS, EncoderSpec
from tfembed.encoders.words import loading as words
from tfembed.encoders.wrong_files import check_files
from tfembed.resources import resource_path


def _load_of_kaggle(wanted: Request) -> Encoder:
    """`kaggle://OWNER/MODEL/keras/PRESET` is a preset of KerasHub, all else a module."""
    parts = wanted.rest.split("/")
    return (keras_hub if "keras" in parts[2:3] else hub).load(wanted)


# A new source is one module, one line here, and its name in `names`.
SCHEMES: dict[str, Callable[[Request], Encoder]] = {
    "keras_hub": keras_hub.load,
    "https": hub.load,
    "http": hub.load,
    "gs": hub.load,
    "kaggle": _load_of_kaggle,
    "applications": applications.load,
    "timm": pytorch.load,
    "torchvision": pytorch.load,
    "hf": hugging_face.load,
    "glove": words.load,
    "word2vec": words.load,
    "fasttext": words.load,
}

_WHOLE = (keras_hub.load, applications.load, pytorch.load, hugging_face.load)  # sources with their own preprocessing


def load_encoder(  # noqa: PLR0913  what can be said of an encoder, each by name
    handle: str | os.PathLike[str] | Any,
    *,
    kind: str | None = None,
    preprocessing: str | Any | None = None,
    pooling: str | None = None,
    output: str | None = None,
    signature: str | None = None,
    weights: str | os.PathLike[str] | None = PRETRAINED,
    sequence_length: int | None = None,
    compute: str = "float32",
    trust: bool = False,
    name: str | None = None,
) -> Encoder:
    """Load a pretrained encoder, frozen.

    Args:
        handle: A name of the catalogue (`tfembed encoders` lists it), a SavedModel folder or `.tar.gz`, an address
            on tfhub.dev or Kaggle; a preset of KerasHub, its name, its folder or on Kaggle; `hf://owner/name` or a
            folder with the same files; `applications:ResNet50`; a file of weights of TorchVision or timm; `glove:`,
            `word2vec:` or `fasttext:` and the path of a file of word vectors; a `.keras` file, a Keras model or layer.
        kind: What it is to embed, `"text"` or `"image"`: of an encoder such as CLIP, which embeds both into one space,
            the tower for it, by default that for images; of others, what they embed anyway.
        preprocessing: The handle of the preprocessing module, for text encoders that come as a pair; of a Keras model,
            a layer too.
        pooling: `"mean"`, `"max"`, `"cls"`, `"mean_sqrt_len"` or `"last"` to make one vector of an encoder's token
            vectors; of word vectors `"mean"`, `"max"` or `"sif"`, which weighs rare words more.
        output: The name of the output, or of the layer or block, that embeddings are made of, where there are several.
        signature: The signature of a SavedModel to call, in place of the module itself, or where it has signatures
            alone and more than one could be meant.
        weights: `"pretrained"`, a file with weights where the source takes one, or None for random ones.
        sequence_length: Tokens kept of a text, its first ones and the separator at its end; None to let training
            choose: the 99th percentile of its texts.
        compute: What the features of the frozen part are computed in: `"float32"`; `"bfloat16"`; or `"auto"`, which
            takes bfloat16 where there is hardware for it and a sample agrees. What is exported stays float32.
        trust: Load files that can do more than hold weights (pickles, modules that write files) as well.
        name: Name of the encoder, also as a Keras layer, so that two from one handle can be told apart, in a search or
            in one Keras model; by default that of the handle, and `encoder` as a layer.

    Raises:
        ValueError: If the handle is none of these, names something that is no encoder, or one of another kind.
        ConnectionError: If it must be downloaded and cannot be.

    Example:
        >>> [block.name for block in load_encoder("glyphs").blocks][0]
        'stem'
    """
    if isinstance(handle, os.PathLike):
        handle = os.fspath(handle)
    spec = CATALOG.get(handle) if isinstance(handle, str) else None
    target = spec.handle if spec else handle
    if isinstance(target, str) and target.startswith("resource:"):
        target = str(resource_path(target.removeprefix("resource:")))
    _check_name(name)
    if kind not in (None, *KINDS):
        raise ValueError(f"Unknown kind {kind!r}: pass one of {', '.join(KINDS)}, or None.")
    check_files(target, weights)
    wanted = Request(
        handle=target,
        spec=spec,
        kind=kind,
        preprocessing=preprocessing,
        pooling=pooling,
        output=output,
        signature=signature,
        weights=weights,
        max_length=sequence_length,
        trust=trust,
    )
    load = _source_of(wanted)
    _check_request(wanted, load)
    encoder = load(wanted)
    if kind not in (None, encoder.spec.kind):
        refuse_kind(wanted.name, encoder.spec.kind, str(kind))
    used = None if weights is None else os.fspath(weights)
    encoder.spec = replace(encoder.spec, compute=compute, weights=used, licence=_licence(encoder.spec))
    if name is not None:
        encoder.spec, encoder.name = replace(encoder.spec, name=name), name
    encoder.unfreeze(False)
    if weights is not None:
        _check_finite(encoder)
    if output is not None:
        _ = encoder.blocks  # where there is no such output, that is said here
    if sequence_length is not None:
        encoder.limit_length(sequence_length)
    return encoder


def _check_name(name: str | None) -> None:
    if name is not None and (not isinstance(name, str) or not name or "/" in name):
        raise ValueError(f"name={name!r}: expected a text without '/', which Keras takes as the name of a layer.")


def _check_request(wanted: Request, load: Callable[[Request], Encoder]) -> None:
    """Refuse arguments that the source of an encoder does not take."""
    if wanted.preprocessing is not None and load in _WHOLE:
        raise ValueError(
            f"preprocessing={wanted.preprocessing!r}: encoder {wanted.name!r} brings its own. Leave it out."
        )
    if wanted.signature is not None and load not in (hub.load, _load_of_kaggle):
        raise ValueError(f"signature={wanted.signature!r}: encoder {wanted.name!r} is no SavedModel. Leave it out.")


def _check_finite(encoder: Encoder) -> None:
    """Check that no weight is NaN or infinite, as those of a training that diverged are.

    Raises:
        ValueError: If one is; the message names some.
    """
    floats = [variable for variable in encoder.body.weights if "float" in str(variable.dtype)]
    broken = [v for v in floats if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(v))))]
    if broken:
        names = ", ".join(str(variable.path) for variable in broken[:3])
        raise ValueError(
            f"Encoder {encoder.spec.name!r} has weights that are not finite (NaN or infinite) in {len(broken)} of its "
            f"{len(floats)} variables: {names}. Its training diverged: take an earlier checkpoint."
        )


def _licence(spec: EncoderSpec) -> str:
    """The licence that is known; of an address, that of the catalogue's encoder which is there."""
    same = (each.licence for each in CATALOG.values() if each.handle == spec.handle)
    return next(same, spec.licence) if spec.licence == "unknown" else spec.licence


def _source_of(wanted: Request) -> Callable[[Request], Encoder]:
    """The function that loads what is wanted: by the scheme of the handle, or by what lies there."""
    if isinstance(wanted.handle, keras.layers.Layer) or str(wanted.handle).endswith(keras_model.SUFFIX):
        return keras_model.load
    if not isinstance(wanted.handle, str):
        raise ValueError(f"{wanted.handle!r} is no encoder: pass a handle as text, or a Keras model or layer.")
    scheme = wanted.handle.partition(":")[0]
    if ":" in wanted.handle and scheme in SCHEMES:
        return SCHEMES[scheme]
    if pytorch.is_weights(wanted.handle):
        return pytorch.load
    if hugging_face.is_folder(wanted.handle):
        return hugging_face.load
    if wanted.spec is None and not os.path.exists(wanted.handle):
        if re.fullmatch(r"\w+", wanted.handle) and keras_hub.is_preset(wanted.handle):
            return keras_hub.load
        refuse_handle(wanted.handle)
    return hub.load
