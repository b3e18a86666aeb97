"""MiniLM without internet: an installed package holds its official files."""

from dataclasses import replace
from pathlib import Path

import keras

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.hugging_face.folder import Folder
from tfembed.encoders.hugging_face.tokenizers import TokenizerOptions, text_tokenizer
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec

PRESET = "all_minilm_l6_v2_en"


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
