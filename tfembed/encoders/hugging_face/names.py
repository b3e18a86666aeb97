"""Where the checkpoints of each model type keep their weights: literal tables, from layers here to modules there."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfembed.encoders.hugging_face.positions import fit_positions
from tfembed.encoders.hugging_face.text_bodies import first_position
from tfembed.encoders.hugging_face.weights import Names

_WORDS, _POSITIONS, _TYPES = (f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type"))
_EMBEDDINGS = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding/embeddings": _POSITIONS,
    "embeddings_layer_norm": "embeddings.LayerNorm",
}
_BERT_LAYER = {
    "self_attention_layer/query": "attention.self.query",
    "self_attention_layer/key": "attention.self.key",
    "self_attention_layer/value": "attention.self.value",
    "self_attention_layer/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
    "feedforward_layer_norm": "output.LayerNorm",
}
_DISTILBERT_LAYER = {
    "self_attention_layer/query": "attention.q_lin",
    "self_attention_layer/key": "attention.k_lin",
    "self_attention_layer/value": "attention.v_lin",
    "self_attention_layer/attention_output": "attention.out_lin",
    "self_attention_layer_norm": "sa_layer_norm",
    "feedforward_intermediate_dense": "ffn.lin1",
    "feedforward_output_dense": "ffn.lin2",
    "feedforward_layer_norm": "output_layer_norm",
}
_ALBERT_LAYER = {
    "self_attention_layer/query": "attention.query",
    "self_attention_layer/key": "attention.key",
    "self_attention_layer/value": "attention.value",
    "self_attention_layer/attention_output": "attention.dense",
    "self_attention_layer_norm": "attention.LayerNorm",
    "feedforward_intermediate_dense": "ffn",
    "feedforward_output_dense": "ffn_output",
    "feedforward_layer_norm": "full_layer_layer_norm",
}
_MPNET_LAYER = {
    "attention/query": "attention.attn.q",
    "attention/key": "attention.attn.k",
    "attention/value": "attention.attn.v",
    "attention/attention_output": "attention.attn.o",
    "norm_1": "attention.LayerNorm",
    "dense_1": "intermediate.dense",
    "dense_2": "output.dense",
    "norm_2": "output.LayerNorm",
}
_DEBERTA_LAYER = _BERT_LAYER | {
    "self_attention_layer/query": "attention.self.query_proj",
    "self_attention_layer/key": "attention.self.key_proj",
    "self_attention_layer/value": "attention.self.value_proj",
}
_VIT_LAYER = {
    "norm_1": "layernorm_before",
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/attention_output": "attention.output.dense",
    "norm_2": "layernorm_after",
    "dense_1": "intermediate.dense",
    "dense_2": "output.dense",
}
_DINOV2_LAYER = _VIT_LAYER | {
    "norm_1": "norm1",
    "norm_2": "norm2",
    "scale_1/factors": "layer_scale1.lambda1",
    "scale_2/factors": "layer_scale2.lambda1",
}
_PATCHES = {
    "patch_embedding": "embeddings.patch_embeddings.projection",
    "position_embedding/class_token": "embeddings.cls_token",
    "position_embedding/positions": "embeddings.position_embeddings",
}
_UNUSED = r"pooler\.|embeddings\.position_ids$|embeddings\.mask_token$"


def text_names(config: dict[str, Any]) -> Names:
    """Names of BERT and its family."""
    kind = config["model_type"]
    modules = dict(_EMBEDDINGS)
    if kind == "albert":
        inner = config.get("inner_group_num", 1)
        for i in range(config.get("num_hidden_groups", 1) * inner):
            there = f"encoder.albert_layer_groups.{i // inner}.albert_layers.{i % inner}"
            modules |= {f"layer_{i}/{layer}": f"{there}.{name}" for layer, name in _ALBERT_LAYER.items()}
        modules |= {"embeddings_projection": "encoder.embedding_hidden_mapping_in", "pooler": "pooler"}
    elif kind == "distilbert":
        modules |= _numbered("layer_{i}/", "transformer.layer.{i}.", _DISTILBERT_LAYER)
    elif kind == "mpnet":
        modules |= _numbered("layer_{i}_", "encoder.layer.{i}.", _MPNET_LAYER)
        modules |= {"relative_bias/values": "encoder.relative_attention_bias.weight", "pooler": "pooler.dense"}
    else:
        modules |= _numbered("layer_{i}/", "encoder.layer.{i}.", _BERT_LAYER)
        modules |= {"embeddings_projection": "embeddings_project", "pooler": "pooler.dense"}
    start = first_position(config)
    has_types = kind not in ("distilbert", "mpnet") and config.get("type_vocab_size", 2) > 0

    def positions(value: np.ndarray, take: Callable[[str], np.ndarray]) -> np.ndarray:
        return value[start:] + take(_TYPES)[0] if has_types else value[start:]

    return Names(modules=modules, anchor=_WORDS, unused=_UNUSED, changed={_POSITIONS: positions})


def deberta_names(config: Mapping[str, Any]) -> Names:
    """Names of DeBERTa, for KerasHub's backbone."""
    modules = {
        "token_embedding": "embeddings.word_embeddings",
        "embeddings_layer_norm": "embeddings.LayerNorm",
        "rel_embedding/rel_embedding": "encoder.rel_embeddings.weight",
        "rel_embedding/rel_embeddings_layer_norm": "encoder.LayerNorm",
    }
    layers = _numbered("disentangled_attention_encoder_layer_{i}/", "encoder.layer.{i}.", _DEBERTA_LAYER)
    return Names(modules=modules | layers, anchor=_WORDS, unused=_UNUSED)


def image_names(config: Mapping[str, Any], grid: int) -> Names:
    """Names of ViT, DeiT and DINOv2.

    Args:
        config: What config.json says.
        grid: Patches along the side of an image; positions are fitted to it.
    """
    kind = config["model_type"]
    dinov2 = kind.startswith("dinov2")
    extra = "embeddings.distillation_token" if kind == "deit" else "embeddings.register_tokens"
    layer = dict(_DINOV2_LAYER if dinov2 else _VIT_LAYER)
    if dinov2:
        gated = config.get("use_swiglu_ffn", False)
        layer |= {f"dense_{i}": f"mlp.weights_{end}" if gated else f"mlp.fc{i}" for i, end in ((1, "in"), (2, "out"))}

    def positions(value: np.ndarray, take: Callable[[str], np.ndarray]) -> np.ndarray:
        return fit_positions(value, grid, smooth=kind == "dinov2_with_registers")

    return Names(
        modules=_PATCHES
        | {"position_embedding/extra_tokens": extra, "norm": "layernorm"}
        | _numbered("layer_{i}_", "encoder.layer.{i}.", layer),
        anchor="embeddings.cls_token",
        unused=_UNUSED,
        changed={"embeddings.position_embeddings": positions} if dinov2 else {},
    )


def _numbered(here: str, there: str, layer: Mapping[str, str]) -> dict[str, str]:
    return {here + name: there + module for name, module in layer.items()}
