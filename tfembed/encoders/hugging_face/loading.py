"""From a handle on the Hugging Face Hub, or a folder with the same files, to an encoder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from tfembed.encoders import keras_hub
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.hugging_face.folder import Folder, Tensors
from tfembed.encoders.hugging_face.image_bodies import dinov2_shape, image_body, vit_shape
from tfembed.encoders.hugging_face.image_processing import image_processing
from tfembed.encoders.hugging_face.modules import ADAPTER, MODULES, Modules, read_modules, with_dense
from tfembed.encoders.hugging_face.names import deberta_names, image_names, text_names
from tfembed.encoders.hugging_face.text_bodies import deberta_body, text_body, text_shape
from tfembed.encoders.hugging_face.tokenizers import TokenizerOptions, text_tokenizer, usual_length
from tfembed.encoders.hugging_face.weights import Names, fill
from tfembed.encoders.keras_settings import check_settings
from tfembed.encoders.pixels import ImagePixels
from tfembed.encoders.pytorch import loading as pytorch
from tfembed.encoders.repositories import CONFIG, fetch
from tfembed.encoders.request import PRETRAINED, Request
from tfembed.encoders.spec import EncoderSpec

_OUTPUTS = (None, "sequence_output", "pooled_output")
_TEXTS = ("bert", "distilbert", "roberta", "xlm-roberta", "albert", "electra", "mpnet", "deberta-v2")
_ARCHITECTURES = {  # in old files without model_type
    "BertModel": "bert",
    "DistilBertModel": "distilbert",
    "RobertaModel": "roberta",
    "XLMRobertaModel": "xlm-roberta",
    "AlbertModel": "albert",
    "ElectraModel": "electra",
    "MPNetModel": "mpnet",
}
_IMAGES = ("vit", "deit", "dinov2", "dinov2_with_registers")


def is_folder(path: str) -> bool:
    """Whether a folder holds a model as the Hub has it, or a preset of KerasHub."""
    named = any(Path(path, name).is_file() for name in (CONFIG, MODULES, ADAPTER))
    return named and not Path(path, "saved_model.pb").exists()


def load(wanted: Request) -> Encoder:
    """Load an encoder from the Hugging Face Hub or from a folder.

    Args:
        wanted: Its handle is `hf://owner/name`, or a folder with config.json.

    Raises:
        ValueError: If it is of a type that is not known here, or its files are damaged.
        ConnectionError: If it must be downloaded and cannot be.
    """
    remote = str(wanted.handle).startswith("hf:")
    folder = Folder(fetch(wanted.rest, trust=wanted.trust) if remote else Path(wanted.handle), str(wanted.handle))
    modules = read_modules(folder, wanted.pooling)
    inner = Folder(folder.path / modules.transformer, folder.handle)
    config = inner.read(CONFIG)
    if "registered_name" in config:  # KerasHub wrote it
        return keras_hub.load_preset(wanted, str(folder.path))
    if "model_type" not in config:
        config |= {
            "model_type": modules.model_type or _ARCHITECTURES.get(next(iter(config.get("architectures", ())), ""))
        }
    kind = config["model_type"]
    if kind in _TEXTS:
        return _load_text(wanted, folder, inner, config, modules)
    if kind in _IMAGES:
        return _load_image(wanted, folder, config)
    if "architecture" in config:
        return pytorch.load(wanted)
    what = "names no model_type in its config.json" if kind is None else f"is a model of type {kind!r}"
    raise ValueError(
        f"{folder.handle!r} {what}: expected one of texts ({', '.join(_TEXTS)}) or images "
        f"({', '.join(_IMAGES)}), or a network of timm. Look for one of these, or pass a SavedModel."
    )


def _load_text(wanted: Request, folder: Folder, inner: Folder, config: dict[str, Any], modules: Modules) -> Encoder:
    if wanted.output not in _OUTPUTS:
        raise ValueError(f"{folder.handle!r} has no output {wanted.output!r}: pass one of {', '.join(_OUTPUTS[1:])}.")
    pooled = wanted.output == "pooled_output"
    if config["model_type"] == "deberta-v2":
        body, names, positions = deberta_body(config), deberta_names(config), config["max_position_embeddings"]
    else:
        shape = text_shape(config)
        body, names, positions = text_body(shape, pooled=pooled), text_names(config), shape.max_length
    _fill(body, names, wanted, inner)
    if modules.dense and not pooled:
        body = with_dense(body, modules, folder, trust=wanted.trust)
    most = max(modules.max_length or min(positions, usual_length(inner)), wanted.max_length or 0)
    if most > positions:
        raise ValueError(
            f"sequence_length={most}: encoder {wanted.name!r} has positions for at most {positions} tokens. Pass no "
            "more."
        )
    is_vector = pooled or bool(modules.dense)
    spec = replace(
        _described(wanted, folder, "text"),
        pooling=None if is_vector else modules.pooling or "mean",
        normalize=modules.normalize,
        max_length=most,
    )
    options = TokenizerOptions(
        max_length=most, rows=config["vocab_size"], prefix=modules.prefix, lowercase=modules.lowercase
    )
    return Encoder(spec, body, text_tokenizer(inner, config["model_type"], options))


def _load_image(wanted: Request, folder: Folder, config: dict[str, Any]) -> Encoder:
    check_settings("image")
    processing = image_processing(folder)
    size, side = processing.image_size, config["patch_size"]
    if size[0] != size[1] or size[0] % side or config.get("num_channels", 3) != 3:
        raise ValueError(
            f"{folder.handle!r} takes images of {size[0]} x {size[1]} pixels and {config.get('num_channels', 3)} "
            f"colours, in patches of {side}: expected squares of whole patches in 3 colours. Write another size into "
            "its preprocessor_config.json."
        )
    make = dinov2_shape if config["model_type"].startswith("dinov2") else vit_shape
    body = image_body(make(config, size[0]))
    _fill(body, image_names(config, size[0] // side), wanted, folder)
    spec = replace(_described(wanted, folder, "image"), pooling=wanted.pooling or "cls", image_size=size)
    return Encoder(spec, body, ImagePixels(processing))


def _fill(body: keras.Model, names: Names, wanted: Request, folder: Folder) -> None:
    if wanted.weights is not None:
        path = folder.path if wanted.weights == PRETRAINED else Path(wanted.weights)
        fill(body, Tensors(path, folder.handle, trust=wanted.trust), names, folder.handle)


def _described(wanted: Request, folder: Folder, kind: str) -> EncoderSpec:
    handle = str(wanted.handle)
    unnamed = EncoderSpec(name=wanted.name, handle=handle, kind=kind, licence=folder.licence, source=handle)
    return wanted.spec or unnamed
