"""Names of encoders: what a handle can be, checked without loading anything, not even TensorFlow."""

import importlib.util
import os
import re
from pathlib import Path
from typing import NoReturn

from tfembed.encoders.catalog import CATALOG
from tfembed.spelling import did_you_mean

HUBS = ("keras_hub", "https", "http", "gs", "kaggle", "applications", "timm", "torchvision", "hf")
WORD_VECTORS = ("glove", "word2vec", "fasttext")
SCHEMES = (*HUBS, *WORD_VECTORS)
_PATH = re.compile(r"^[^:]*[/\\]|\.(pth|pt|bin|safetensors|tar|gz|tgz|keras)$")


def check_handle(handle: str, kind: str | None = None) -> None:
    """Check as much of a handle as can be known before it is loaded.

    Args:
        handle: As `load_encoder` takes it, as text.
        kind: Kind of the examples, `"text"` or `"image"`; None to leave it open.

    Raises:
        ValueError: If it names no encoder, no file that is there, or an encoder of the other kind.

    Example:
        >>> check_handle("minilm", "text")
        >>> check_handle("minlm")
        Traceback (most recent call last):
        ...
        ValueError: 'minlm' is no encoder. Did you mean 'minilm' or 'minilm_l12'? `tfembed encoders` lists the names.
    """
    if (spec := CATALOG.get(handle)) is not None:
        if kind not in (None, spec.kind) and not spec.both:
            refuse_kind(handle, spec.kind, str(kind))
        return
    scheme, colon, rest = handle.partition(":")
    if colon and scheme in WORD_VECTORS and not Path(rest).expanduser().exists():
        raise ValueError(f"{handle}: there is no file {rest!r} with word vectors. Check the path.")
    if (colon and scheme in (*SCHEMES, "resource")) or os.path.exists(handle) or _may_be_preset(handle):
        return
    refuse_handle(handle)


def refuse_handle(handle: str) -> NoReturn:
    """Raise the error about a handle that names nothing, with the nearest name.

    Raises:
        ValueError: Always.
    """
    if _PATH.search(handle):
        raise ValueError(
            f"There is no file or folder {handle!r}: expected a SavedModel, a preset or a model of Hugging Face as a "
            "folder, a .tar.gz, a .keras file, or a file of weights. Check the path."
        )
    if near := did_you_mean(handle, (*CATALOG, *(f"{name}:" for name in SCHEMES))):
        raise ValueError(f"{handle!r} is no encoder.{near} `tfembed encoders` lists the names.")
    raise ValueError(
        f"{handle!r} is no encoder. Pass a name of the catalogue ({', '.join(CATALOG)}), a folder or .tar.gz with a "
        "SavedModel, an address such as https://tfhub.dev/google/nnlm-en-dim128/2 or "
        "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim128/1, hf://owner/name, or a preset of KerasHub "
        "such as bert_tiny_en_uncased."
    )


def refuse_kind(name: str, own: str, kind: str) -> NoReturn:
    """Raise the error about an encoder that embeds another kind of examples.

    Args:
        name: Name of the encoder.
        own: Kind that it embeds.
        kind: Kind that was asked for.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f"Encoder {name!r} embeds {own}s alone, no {kind}s. Take another encoder, or one that embeds both, such as "
        "clip_vit_base_patch32."
    )


def _may_be_preset(name: str) -> bool:
    """Check that KerasHub has a preset of a name, by the tables in its source; True if there are none to look into."""
    if not re.fullmatch(r"\w+", name):
        return False
    spec = importlib.util.find_spec("keras_hub")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    tables = [table for folder in folders for table in Path(folder).glob("src/models/*/*_presets.py")]
    return not tables or any(f'"{name}"' in table.read_text(encoding="utf-8") for table in tables)
