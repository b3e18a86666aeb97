"""Encoders that are SavedModels: from TF Hub, from Kaggle, from a folder or an archive."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.hub_families import HubFamily, family_of, image_size
from tfembed.encoders.preprocessing import ImagePreprocessing, mask_name
from tfembed.encoders.request import PRETRAINED, Request, name_of
from tfembed.encoders.spec import EncoderSpec
from tfembed.saved_model.layer import HubLayer

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
    body = _body(wanted)
    inputs = body.input_specs
    found = _describe(handle, inputs, wanted.spec)
    found = replace(
        found,
        pooling=wanted.pooling or found.pooling,
        preprocessing=wanted.preprocessing or found.preprocessing,
        output=wanted.output or found.output or body.get_config().get("output_key"),
    )
    tokenizer = os.path.join(handle, TOKENIZER)
    if found.preprocessing is None and os.path.isdir(tokenizer):  # a module that takes texts and tokens
        preprocessing = HubLayer(tokenizer, trust=wanted.trust)
        return Encoder(found, body, preprocessing, sequence_length=_said(handle).get("sequence_length"))
    if isinstance(inputs, dict) and len(inputs) > 1:
        if found.preprocessing is None:
            raise ValueError(
                f"Module {handle!r} takes {sorted(inputs)}: it needs its preprocessing module too. Pass "
                "preprocessing=..., the handle that its documentation names."
            )
        if found.output is None:
            output = "sequence_output" if found.pooling else "pooled_output"
            found = replace(found, output=output)
        return Encoder(found, body, HubLayer(found.preprocessing, trust=wanted.trust))
    if wanted.preprocessing is not None:
        raise ValueError(
            f"preprocessing={wanted.preprocessing!r}: module {handle!r} takes {found.kind}s as they are. Leave it out."
        )
    if found.kind == "image":
        size = _size_of(inputs) or found.image_size or _DEFAULT_SIZE
        found = replace(found, image_size=size)
        return Encoder(found, body, ImagePreprocessing.of(found))
    return Encoder(found, body)


def _body(wanted: Request) -> HubLayer:
    """The module; of one in the format of TF1, whose layer gives a single output, the one that is wanted."""
    body = HubLayer(wanted.handle, trust=wanted.trust)
    signature, key = (body.get_config().get(name) for name in ("signature", "output_key"))
    if signature is None or wanted.output in (None, key):
        return body
    return HubLayer(wanted.handle, trust=wanted.trust, signature=signature, output_key=wanted.output)


def _describe(handle: str, inputs: Any, spec: EncoderSpec | None) -> EncoderSpec:
    tensors = tf.nest.flatten(inputs)
    is_text = mask_name(inputs) is not None or (len(tensors) == 1 and tensors[0].dtype == tf.string)
    is_image = len(tensors) == 1 and tensors[0].dtype.is_floating and tensors[0].shape.rank == 4
    if not is_text and not is_image:
        raise ValueError(
            f"Module {handle!r} takes {inputs}: expected texts (string), tokens with a mask, or images (float, "
            "batch x height x width x 3). Wrap it in a SavedModel that does."
        )
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
