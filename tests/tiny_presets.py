"""Presets of KerasHub, of a few thousand random weights, as `save_to_preset` writes them."""

import shutil
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

HUGGING_FACE = Path(__file__).parent / "encoders" / "hugging_face" / "data"
_TEXT: dict[str, Any] = {
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 40,
}
_SHARED = {"num_groups": 1, "num_inner_repetitions": 1, "embedding_dim": 4}
_RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64, 8],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_strides": [1, 2],
    "block_type": "basic_block",
}
_VIT = {
    "image_shape": (16, 16, 3),
    "patch_size": (4, 4),
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "mlp_dim": 16,
}
_DINOV2 = {"patch_size": 4, "num_layers": 2, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 16}
_EFFICIENTNET = {
    "stackwise_kernel_sizes": [3, 3],
    "stackwise_num_repeats": [1, 2],
    "stackwise_input_filters": [4, 4],
    "stackwise_output_filters": [4, 8],
    "stackwise_expansion_ratios": [1, 2],
    "stackwise_strides": [1, 2],
    "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
    "stackwise_block_types": ["v1", "v1"],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "depth_divisor": 4,
    "min_depth": 4,
    "stem_conv_padding": "same",
}
_MOBILENET = {
    "stackwise_expansion": [[4, 8], [8, 8]],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_filters": [[4, 4], [8, 8]],
    "stackwise_kernel_size": [[3, 3], [3, 3]],
    "stackwise_num_strides": [[2, 1], [2, 1]],
    "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
    "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
    "stackwise_padding": [[1, 1], [1, 1]],
    "output_num_filters": 8,
    "depthwise_filters": 4,
    "depthwise_stride": 1,
    "depthwise_residual": False,
    "last_layer_filter": 8,
}

TEXTS = {
    "bert": ("Bert", _TEXT),
    "distil_bert": ("DistilBert", _TEXT),
    "roberta": ("Roberta", _TEXT),
    "albert": ("Albert", _TEXT | _SHARED),
    "deberta_v3": ("DebertaV3", _TEXT | {"bucket_size": 4}),
    "electra": ("Electra", _TEXT | {"embedding_dim": 4}),
    "xlm_roberta": ("XLMRoberta", _TEXT),
}
IMAGES = {
    "resnet": ("ResNet", _RESNET),
    "vgg": ("VGG", {"stackwise_num_repeats": [1, 2], "stackwise_num_filters": [4, 8]}),
    "mobilenet": ("MobileNet", _MOBILENET),
    "efficientnet": ("EfficientNet", _EFFICIENTNET),
    "densenet": ("DenseNet", {"stackwise_num_repeats": [1, 2], "growth_rate": 4}),
    "vit": ("ViT", _VIT),
    "dinov2": ("DINOV2", _DINOV2 | {"image_shape": (24, 24, 3), "position_embedding_shape": (24, 24)}),
    "dinov2_fitted": ("DINOV2", _DINOV2 | {"image_shape": (24, 24, 3), "position_embedding_shape": (24, 24)}),
}

_TOWER = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
TOWERS = {"clip": "CLIP", "siglip": "SigLIP", "metaclip": "MetaCLIP2"}
PROJECTED = 6  # numbers of an embedding, where there is a projection
# Words of CLIP's vocabulary, beside all letters.
_MERGES = ("r e", "re d</w>", "s h", "o e</w>", "sh oe</w>", "b l", "u e</w>", "bl ue</w>")


def write_preset(name: str, folder: Path) -> tuple[keras.Model, keras.layers.Layer]:
    """Write a preset; returns its backbone, and what prepares texts or images for it."""
    family, options = (TEXTS | IMAGES)[name]
    preprocessor = _text_preprocessor(family) if name in TEXTS else _converter(name, family)
    if name in TEXTS:
        option = "vocab_size" if name == "electra" else "vocabulary_size"
        options = options | {option: preprocessor.tokenizer.vocabulary_size()}
    backbone = getattr(keras_hub.models, f"{family}Backbone")(**options)
    randomize(backbone)
    backbone.save_to_preset(str(folder))
    preprocessor.save_to_preset(str(folder))
    return backbone, preprocessor


def write_towers(name: str, folder: Path, seed: int = 0, size: int = 16) -> tuple[keras.Model, keras.layers.Layer]:
    """Write a preset of a tower for texts and one for images; returns its backbone, and what prepares both for it."""
    family, models = TOWERS[name], keras_hub.models
    scale, offset = [0.01, 0.02, 0.03], [-0.5, 0.1, 0.2]
    converter = getattr(keras_hub.layers, f"{family}ImageConverter")
    images = converter(image_size=(size, size), scale=scale, offset=offset, interpolation="bicubic")
    length = 16 if name == "siglip" else 24
    task = "CausalLMPreprocessor" if name == "metaclip" else "Preprocessor"
    preprocessor = getattr(models, f"{family}{task}")(_tower_tokenizer(name), images, sequence_length=length)
    words = preprocessor.tokenizer.vocabulary_size()
    options = _TOWER | {"vocabulary_size": words, "embedding_dim": 8, "max_sequence_length": length}
    texts = getattr(models, f"{family}TextEncoder")(**options, **({"projection_dim": 8} if name == "siglip" else {}))
    pictures = getattr(models, f"{family}VisionEncoder")(**_TOWER, patch_size=4, image_shape=(size, size, 3))
    projected = {} if name == "siglip" else {"projection_dim": PROJECTED}
    backbone = getattr(models, f"{family}Backbone")(pictures, texts, **projected)
    randomize(backbone, seed)
    backbone.save_to_preset(str(folder))
    preprocessor.save_to_preset(str(folder))
    return backbone, preprocessor


def copy_folder(name: str, folder: Path) -> Path:
    """Copy a model of the Hugging Face tests; those of sentence-transformers share the weights of `bert`."""
    if name.startswith("sentences"):
        shutil.copytree(HUGGING_FACE / "bert", folder)
    return Path(shutil.copytree(HUGGING_FACE / name, folder, dirs_exist_ok=True))


def randomize(model: keras.Model, seed: int = 0) -> None:
    """Give a model random weights, large enough that each step counts."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed_generator" in weight.path or "interpolated" in weight.path:
            continue
        if "position_ids" in weight.path:
            weight.assign(np.arange(weight.shape[1])[np.newaxis])
            continue
        positive = any(part in weight.path for part in ("moving_variance", "gamma"))
        low, high = (0.5, 1.5) if positive else (-0.5, 0.5)
        weight.assign(rng.uniform(low, high, weight.shape))


def _text_preprocessor(family: str) -> Any:
    models = keras_hub.models
    tokenizer = getattr(models, f"{family}Tokenizer")
    if family in ("Bert", "DistilBert", "Electra"):
        words = (HUGGING_FACE / "bert" / "vocab.txt").read_text(encoding="utf-8").split()
        made = tokenizer(words, lowercase=True)
    elif family == "Roberta":
        made = tokenizer(*(str(HUGGING_FACE / "roberta" / name) for name in ("vocab.json", "merges.txt")))
    else:
        files = {"XLMRoberta": "xlm_roberta/sentencepiece.bpe.model", "Albert": "albert/spiece.model"}
        made = tokenizer((HUGGING_FACE / files.get(family, "deberta_v3/spm.model")).read_bytes())
    general = models.TextClassifierPreprocessor
    return getattr(models, f"{family}TextClassifierPreprocessor", general)(made, sequence_length=40)


def _tower_tokenizer(name: str) -> Any:
    if name != "clip":
        model = (HUGGING_FACE / "xlm_roberta" / "sentencepiece.bpe.model").read_bytes()
        return getattr(keras_hub.models, f"{TOWERS[name]}Tokenizer")(model)
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(each) for each in (*printed, *range(256, 256 + 256 - len(printed)))]
    merged = [merge.replace(" ", "") for merge in _MERGES]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *merged, "<|startoftext|>", "<|endoftext|>"]
    return keras_hub.models.CLIPTokenizer({word: i for i, word in enumerate(words)}, list(_MERGES))


def _converter(name: str, family: str) -> Any:
    size = {"vit": (16, 16), "dinov2": (24, 24), "dinov2_fitted": (16, 16)}.get(name, (32, 32))
    scale, offset = [0.01, 0.02, 0.03], [-0.5, 0.1, 0.2]
    return getattr(keras_hub.layers, f"{family}ImageConverter")(image_size=size, scale=scale, offset=offset)
