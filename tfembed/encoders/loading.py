"""From a handle to an encoder: one function for every source."""

import os
from dataclasses import replace

from tfembed.encoders import hub, keras_hub
from tfembed.encoders.catalog import CATALOG
from tfembed.encoders.encoder import Encoder
from tfembed.resources import resource_path


def load_encoder(
    handle: str | os.PathLike[str],
    *,
    preprocessing: str | None = None,
    pooling: str | None = None,
    sequence_length: int | None = None,
    compute: str = "float32",
) -> Encoder:
    """Load a pretrained encoder, frozen.

    Args:
        handle: A name of the catalogue (`tfembed encoders` lists it), a SavedModel folder or `.tar.gz`, or an address
            on tfhub.dev or Kaggle.
        preprocessing: The handle of the preprocessing module, for text encoders that come as a pair.
        pooling: `"mean"`, `"max"` or `"cls"` to make one vector of an encoder's token vectors.
        sequence_length: Tokens kept of a text, its first ones and the separator at its end; None to let training
            choose: the 99th percentile of its texts.
        compute: What the features of the frozen part are computed in: `"float32"`; `"bfloat16"`; or `"auto"`, which
            takes bfloat16 where there is hardware for it and a sample agrees. What is exported stays float32.

    Raises:
        ValueError: If the handle is none of these, or names something that is no encoder.
        ConnectionError: If it must be downloaded and cannot be.

    Example:
        >>> [block.name for block in load_encoder("glyphs").blocks][0]
        'stem'
    """
    text = os.fspath(handle)
    spec = CATALOG.get(text)
    if spec is not None and spec.handle.startswith("keras_hub:"):
        most = max(spec.max_length, sequence_length or 0)
        encoder = keras_hub.load(replace(spec, pooling=pooling or spec.pooling, max_length=most))
        return _frozen(encoder, sequence_length, compute)
    target = spec.handle if spec else text
    if target.startswith("resource:"):
        target = str(resource_path(target.removeprefix("resource:")))
    elif spec is None and "://" not in text and not os.path.exists(text):
        raise ValueError(
            f"{text!r} is no encoder. Pass a name of the catalogue ({', '.join(CATALOG)}), a folder or .tar.gz with "
            "a SavedModel, or an address such as https://tfhub.dev/google/nnlm-en-dim128/2 or "
            "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim128/1."
        )
    return _frozen(hub.load(target, spec, preprocessing=preprocessing, pooling=pooling), sequence_length, compute)


def _frozen(encoder: Encoder, sequence_length: int | None, compute: str) -> Encoder:
    encoder.spec = replace(encoder.spec, compute=compute)
    encoder.unfreeze(False)
    if sequence_length is not None:
        encoder.limit_length(sequence_length)
    return encoder
