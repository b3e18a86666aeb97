"""MiniLM without internet: an installed package holds its official files."""

from dataclasses import replace
from pathlib import Path

import keras

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec
from tfembed.encoders.text_tokens import TextTokens, Writing

PRESET = "all_minilm_l6_v2_en"
# As it was trained; what KerasHub does to small letters and accents keeps spaces such as U+00A0 inside of words.
_WRITING = Writing(clean=True, accents="NFD", lowercase=True)


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
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=str(folder / "vocab.txt"))
    if most > backbone.max_sequence_length:
        raise ValueError(
            f"sequence_length={most}: encoder {spec.name!r} has positions for at most {backbone.max_sequence_length} "
            "tokens. Pass no more."
        )
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=most)
    # What acts on another output than the one that is wanted, such as the pooler, is left out.
    body = keras.Model(backbone.input, {output: backbone.output[output]}, name="body")
    return Encoder(spec, body, TextTokens(preprocessor, _WRITING, outputs=sorted(backbone.input)))
