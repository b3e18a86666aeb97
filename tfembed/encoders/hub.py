"""Encoders that are SavedModels: from TF Hub, from Kaggle, from a folder or an archive."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.hub_families import HubFamily, family_of, image_size
from tfembed.encoders.module_inputs import choose_signature, kind_of
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.request import PRETRAINED, Request, name_of
from tfembed.encoders.spec import EncoderSpec
from tfembed.saved_model.graph_file import is_callable, read_signatures
from tfembed.saved_model.handles import resolve
from tfembed.saved_model.layer import HubLayer
from tfembed.saved_model.module import TF1_HUB_MARKER

DESCRIPTION = "assets.extra/encoder.json"  # what `export_module` says of the encoder that a module was
TOKENIZER = "assets.extra/tokenizer"  # and the module that makes its tokens
DESCRIBED = ("name", "licence", "source", "good_for", "interpolation", "crop")
_DEFAULT_SIZE = (224, 224)


def load(wanted: Request) -> Encoder:
    """Load a SavedModel as an encoder.

    Args:
        wanted: Its handle is a folder, an archive or a web address.

    Raises:
        ValueError: If the module takes neither texts nor images, or lacks its preprocessing.
    """
    handle = wanted.handle
    if wanted.weights != PRETRAINED:
        raise ValueError(f"weights={wanted.weights!r}: module {handle!r} brings its own. Leave weights out.")
    body, output = _body(wanted)
    inputs = body.input_specs
    found = _describe(handle, inputs, wanted.spec)
    found = replace(
        found,
        pooling=wanted.pooling or found.pooling,
        preprocessing=wanted.preprocessing or found.preprocessing,
        output=output or found.output or body.get_config().get("output_key"),
        signature=body.get_config().get("signature"),
    )
    tokenizer = os.path.join(handle, TOKENIZER)
    if found.preprocessing is None and os.path.isdir(tokenizer):  # a module that takes texts and tokens
        preprocessing = HubLayer(tokenizer, trust=wanted.trust)
        return _tried(Encoder(found, body, preprocessing, sequence_length=_said(handle).get("sequence_length")))
    if isinstance(inputs, dict) and len(inputs) > 1:
        if found.preprocessing is None:
            raise ValueError(
                f"Module {handle!r} takes {sorted(inputs)}: it needs its preprocessing module too. Pass "
                "preprocessing=..., the handle that its documentation names."
            )
        if found.output is None:
            output = "sequence_output" if found.pooling else "pooled_output"
            found = replace(found, output=output)
        return _tried(Encoder(found, body, HubLayer(found.preprocessing, trust=wanted.trust)))
    if wanted.preprocessing is not None:
        raise ValueError(
            f"preprocessing={wanted.preprocessing!r}: module {handle!r} takes {found.kind}s as they are. Leave it out."
        )
    if found.kind == "image":
        size = _size_of(inputs) or found.image_size or _DEFAULT_SIZE
        found = replace(found, image_size=size)
        return _tried(Encoder(found, body, ImagePreprocessing.of(found)))
    return _tried(Encoder(found, body))


def _tried(encoder: Encoder) -> Encoder:
    """The encoder, after it embedded two examples: what a graph cannot do, its specs need not say.

    Raises:
        ValueError: If it cannot embed them.
    """
    _ = encoder.blocks  # where there is no such output, that is said here
    try:
        _ = encoder.dim
    except ValueError as error:
        raise ValueError(_one_line(error)) from error
    except (tf.errors.OpError, TypeError) as error:
        said = _one_line(error)[:200].rstrip(".")
        raise ValueError(
            f"Module {encoder.spec.handle!r} cannot embed two {encoder.spec.kind}s: {said}. "
            "Expected a graph that takes raw examples in batches of any size. Wrap it in a SavedModel that does."
        ) from error
    return encoder


def _one_line(error: Exception) -> str:
    """What an error says, without what Keras and TensorFlow add about layers, arguments and nodes."""
    said = re.sub(r"\x1b\[\d*m", "", str(error)).removeprefix("Graph execution error:")
    said = said.split("Arguments received by")[0].split("[[{{node")[0].split("<stack traces unavailable>")[-1]
    return " ".join(re.sub(r"Exception encountered when calling .*", "", said).split())


def _body(wanted: Request) -> tuple[HubLayer, str | None]:
    """The module, or one of its signatures, and the output that embeddings are made of; None for the usual one."""
    handle, folder = wanted.handle, resolve(wanted.handle)
    if os.path.exists(os.path.join(folder, TF1_HUB_MARKER)):  # whose layer gives a single output
        layer = HubLayer(handle, trust=wanted.trust, signature=wanted.signature, output_key=wanted.output)
        return layer, wanted.output
    signatures = read_signatures(folder)
    if wanted.signature is None and (is_callable(folder) or not signatures):
        return HubLayer(handle, trust=wanted.trust), wanted.output
    signature, output = choose_signature(handle, signatures, wanted.signature, wanted.output)
    layer = HubLayer(handle, trust=wanted.trust, signature=signature.name, signature_outputs_as_dict=True)
    return layer, output


def _describe(handle: str, inputs: Any, spec: EncoderSpec | None) -> EncoderSpec:
    is_text = kind_of(handle, inputs) == "text"
    if spec is not None:
        return spec
    family = family_of(handle) or HubFamily(pattern="")
    known: dict[str, Any] = {"name": name_of(handle), "source": handle}
    known |= {name: value for name, value in _said(handle).items() if name in DESCRIBED}
    return EncoderSpec(
        **known,
        handle=handle,
        kind="text" if is_text else "image",
        preprocessing=family.preprocessing if is_text else None,
        output=family.output if is_text else None,
        normalize=family.normalize,
        image_size=None if is_text else image_size(handle),
    )


def _said(handle: str) -> dict[str, Any]:
    """What `export_module` says of the encoder that a module was; nothing of other modules."""
    file = Path(handle, DESCRIPTION)
    return json.loads(file.read_text(encoding="utf-8-sig")) if file.is_file() else {}


def _size_of(inputs: Any) -> tuple[int, int] | None:
    """Height and width that a module fixes; None if it takes any."""
    shape = tf.nest.flatten(inputs)[0].shape
    return None if None in (shape[1], shape[2]) else (int(shape[1]), int(shape[2]))
