"""What sentence-transformers put behind a transformer: modules.json, and a folder for each step that it names."""

import re
from dataclasses import dataclass
from typing import Any

import keras

from tfembed.encoders.hugging_face.folder import Folder, Tensors
from tfembed.encoders.pooling import TokenPooling
from tfembed.encoders.spec import POOLINGS

MODULES = "modules.json"
ADAPTER = "adapter_config.json"
# By the kind of transformer, in folders of early versions.
_SETTINGS = [f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "albert", "xlm-roberta")]
# Modules of the first versions, each for one type of transformer.
_OLD_KINDS = {
    "BERT": "bert",
    "RoBERTa": "roberta",
    "DistilBERT": "distilbert",
    "ALBERT": "albert",
    "XLMRoBERTa": "xlm-roberta",
}
_POOLINGS = {"lasttoken": "last"}  # what sentence-transformers calls otherwise
_DENSE = {"Identity": "linear", "Tanh": "tanh", "GELU": "gelu", "ReLU": "relu", "SiLU": "silu", "Sigmoid": "sigmoid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """What becomes of the vectors of a text's tokens.

    Attributes:
        transformer: Folder of the transformer, inside of the model's.
        model_type: Type of the transformer, where its module says it; config.json did not, at first.
        pooling: How one vector is made of them; None if nothing is said of it.
        dense: Folders of dense layers behind the pooling.
        normalize: Whether embeddings get length 1.
        max_length: Tokens kept of a text; None if nothing is said of it.
        lowercase: Whether texts are in small letters, whatever the tokenizer does.
        prefix: Stands in front of every text.
    """

    transformer: str = ""
    model_type: str | None = None
    pooling: str | None = None
    dense: tuple[str, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lowercase: bool = False
    prefix: str = ""


def read_modules(folder: Folder, pooling: str | None = None) -> Modules:
    """The steps that a folder of sentence-transformers names; none for other folders.

    Args:
        folder: With modules.json, or without.
        pooling: Taken in place of the folder's own.

    Raises:
        ValueError: If one of them is not known here; the message names it.
    """
    _check_layout(folder)
    if not folder.has(MODULES):
        return Modules(pooling=pooling)
    steps = _steps(folder)
    kinds = ["Transformer" if kind in _OLD_KINDS else kind for kind, _ in steps]
    dense = kinds.count("Dense")
    if kinds not in (
        ["Transformer", "Pooling", *["Dense"] * dense],
        ["Transformer", "Pooling", *["Dense"] * dense, "Normalize"],
    ):
        raise ValueError(
            f"{MODULES} of {folder.handle!r} names {', '.join(kinds)}: expected Transformer, Pooling, then Dense and "
            "Normalize where wanted. Take another model."
        )
    first = steps[0][1]
    _check_layout(Folder(folder.path / first, folder.handle))
    own = next(filter(None, (folder.read_if_there(f"{first}/{name}".lstrip("/")) for name in _SETTINGS)), {})
    rules = folder.read(f"{steps[1][1]}/config.json")
    return Modules(
        transformer=first,
        model_type=_OLD_KINDS.get(steps[0][0]),
        pooling=pooling or _pooling(rules, folder.handle),
        dense=tuple(path for kind, path in steps if kind == "Dense"),
        normalize="Normalize" in kinds,
        max_length=own.get("max_seq_length"),
        lowercase=bool(own.get("do_lower_case", False)),
        prefix=_prefix(folder, rules),
    )


def _steps(folder: Folder) -> list[tuple[str, str]]:
    """Kind and folder of each module."""
    return [(str(step["type"]).rsplit(".", 1)[-1], step["path"]) for step in folder.read(MODULES)]


def _check_layout(folder: Folder) -> None:
    """Refuse folders that hold no transformer of their own.

    Raises:
        ValueError: If the folder holds a table of token vectors, or an adapter to another model.
    """
    if folder.has(ADAPTER):
        base = folder.read(ADAPTER).get("base_model_name_or_path") or "its base model"
        raise ValueError(
            f"{folder.handle!r} is an adapter (LoRA), which changes {base} and is no model of its own: expected whole "
            "weights. Merge the two with peft, as merge_and_unload() and save_pretrained(), and pass the folder with "
            "the result."
        )
    if folder.has(MODULES) and "StaticEmbedding" in [kind for kind, _ in _steps(folder)]:
        raise ValueError(
            f"{folder.handle!r} is a StaticEmbedding of sentence-transformers, a table of token vectors without a "
            "transformer: expected modules Transformer and Pooling. Take a model with a transformer, such as minilm, "
            "or word vectors (glove:, word2vec:, fasttext:)."
        )


def _pooling(config: dict[str, Any], handle: str) -> str:
    """Newer files name the pooling, older ones have a switch for each."""
    named = config.get("pooling_mode")
    names = [named] if isinstance(named, str) else named
    if not names:
        names = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
    plain = [re.sub("^pooling_mode_|_tokens?$", "", name) for name in names]
    found = [_POOLINGS.get(name, name) for name in plain]
    if len(found) != 1 or found[0] not in POOLINGS:
        raise ValueError(
            f"{handle!r} pools by {' and '.join(found) or 'nothing'}: expected one of {', '.join(POOLINGS)}. Pass "
            "pooling=... (--pooling) to have it otherwise than it was made for."
        )
    return found[0]


def _prefix(folder: Folder, pooling: dict[str, Any]) -> str:
    """What stands in front of texts unless one says otherwise."""
    config = folder.read_if_there("config_sentence_transformers.json")
    name = config.get("default_prompt_name")
    prefix = (config.get("prompts") or {}).get(name, "") if name else ""
    if prefix and not pooling.get("include_prompt", True):
        raise ValueError(
            f"{folder.handle!r} puts {prefix!r} in front of texts and leaves it out of the pooling: expected "
            '"include_prompt": true in its pooling. Take another model.'
        )
    return prefix


def with_dense(body: keras.Model, modules: Modules, folder: Folder, *, trust: bool = False) -> keras.Model:
    """A transformer with the pooling and the dense layers of its folder behind it.

    Args:
        body: From `token_ids` and `padding_mask` to a vector per token.
        modules: With the folders of dense layers.
        folder: Where they lie.
        trust: See Tensors.

    Returns:
        A model from the same inputs to one vector per text.

    Raises:
        ValueError: If a layer is not of the kind that is known here, or its weights are missing.
    """
    x = TokenPooling(modules.pooling or "mean", name="pooling")([body.output, body.input["padding_mask"]])
    layers = []
    for i, path in enumerate(modules.dense):
        config = folder.read(f"{path}/config.json")
        name = str(config.get("activation_function", "Identity")).rsplit(".", 1)[-1].removesuffix("()")
        if name not in _DENSE:
            raise ValueError(
                f"{path} of {folder.handle!r} has the activation {name!r}: expected one of {', '.join(_DENSE)}. Take "
                "another model."
            )
        bias = config.get("bias", True)
        layer = keras.layers.Dense(config["out_features"], _DENSE[name], use_bias=bias, name=f"dense_{i}")
        x = layer(x)
        layers.append(layer)
    for layer, path in zip(layers, modules.dense, strict=True):
        tensors = Tensors(folder.path / path, f"{folder.handle}/{path}", trust=trust)
        layer.set_weights([tensors["linear.weight"].T, *([tensors["linear.bias"]] if layer.use_bias else [])])
    return keras.Model(body.input, x, name="body")
