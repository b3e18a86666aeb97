"""From a handle to an encoder: one function for every source."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from tfembed.encoders import applications, hub, keras_hub, keras_model
from tfembed.encoders.catalog import CATALOG
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.hugging_face import loading as hugging_face
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


# A new source is one module, and one line here.
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

_PATH = re.compile(r"^[^:]*[/\\]|\.(pth|pt|bin|safetensors|tar|gz|tgz)$")
_WHOLE = (keras_hub.load, applications.load, pytorch.load, hugging_face.load)  # sources with their own preprocessing


def load_encoder(  # noqa: PLR0913  what can be said of an encoder, each by name
    handle: str | os.PathLike[str] | Any,
    *,
    kind: str | None = None,
    preprocessing: str | Any | None = None,
    pooling: str | None = None,
    output: str | None = None,
    weights: str | os.PathLike[str] | None = PRETRAINED,
    sequence_length: int | None = None,
    compute: str = "float32",
    trust: bool = False,
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
        pooling: `"mean"`, `"max"` or `"cls"` to make one vector of an encoder's token vectors; of word vectors
            `"mean"`, `"max"` or `"sif"`, which weighs rare words more.
        output: The name of the output, or of the layer or block, that embeddings are made of, where there are several.
        weights: `"pretrained"`, a file with weights where the source takes one, or None for random ones.
        sequence_length: Tokens kept of a text, its first ones and the separator at its end; None to let training
            choose: the 99th percentile of its texts.
        compute: What the features of the frozen part are computed in: `"float32"`; `"bfloat16"`; or `"auto"`, which
            takes bfloat16 where there is hardware for it and a sample agrees. What is exported stays float32.
        trust: Load files that can do more than hold weights (pickles, modules that write files) as well.

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
        weights=weights,
        max_length=sequence_length,
        trust=trust,
    )
    load = _source_of(wanted)
    if preprocessing is not None and load in _WHOLE:
        raise ValueError(f"preprocessing={preprocessing!r}: encoder {wanted.name!r} brings its own. Leave it out.")
    encoder = load(wanted)
    if kind not in (None, encoder.spec.kind):
        raise ValueError(
            f"Encoder {wanted.name!r} embeds {encoder.spec.kind}s alone, no {kind}s. Take another encoder, or one that "
            "embeds both, such as clip_vit_base_patch32."
        )
    used = None if weights is None else os.fspath(weights)
    encoder.spec = replace(encoder.spec, compute=compute, weights=used, licence=_licence(encoder.spec))
    encoder.unfreeze(False)
    if output is not None:
        _ = encoder.blocks  # where there is no such output, that is said here
    if sequence_length is not None:
        encoder.limit_length(sequence_length)
    return encoder


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
        if _PATH.search(wanted.handle):
            raise ValueError(
                f"There is no file or folder {wanted.handle!r}: expected a SavedModel, a preset or a model of Hugging "
                "Face as a folder, a .tar.gz, or a file of weights. Check the path."
            )
        raise ValueError(
            f"{wanted.handle!r} is no encoder. Pass a name of the catalogue ({', '.join(CATALOG)}), a folder or "
            ".tar.gz with a SavedModel, an address such as https://tfhub.dev/google/nnlm-en-dim128/2 or "
            "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim128/1, hf://owner/name, or a preset of "
            "KerasHub such as bert_tiny_en_uncased."
        )
    return hub.load
