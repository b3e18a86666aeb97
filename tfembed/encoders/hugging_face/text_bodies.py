"""Transformers of texts as Keras models, from tokens to one vector per token."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from tfembed.encoders.activations import activation
from tfembed.encoders.relative import RelativeAttention, RelativeBias

# What DistilBERT's config.json calls what the others call otherwise.
_SYNONYMS = {
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    """The form of a transformer of texts.

    Attributes:
        vocabulary_size: Number of tokens.
        max_length: Number of positions.
        num_layers: How often a layer is run.
        num_groups: Layers with weights of their own; the layers of a group are run after each other.
        num_inner: Layers with weights of their own in a group.
        num_heads: Attention heads of a layer.
        dim: Length of a token's vector.
        intermediate_dim: Length of the vectors inside a layer.
        embedding_dim: Length of the vectors in the table of tokens.
        projected: Whether a dense layer leads from there to `dim`.
        activation: As config.json calls it.
        epsilon: Of the layer norms.
        dropout: While training.
        num_buckets: Distances between tokens that attention tells apart, as in MPNet; 0 for none.
    """

    vocabulary_size: int
    max_length: int
    num_layers: int
    num_groups: int
    num_inner: int = 1
    num_heads: int
    dim: int
    intermediate_dim: int
    embedding_dim: int
    projected: bool
    activation: str
    epsilon: float
    dropout: float
    num_buckets: int = 0


def text_shape(config: dict[str, Any]) -> TextShape:
    """The form that a config.json describes, as the model types of BERT's family spell it.

    Raises:
        ValueError: If it is of a form that is not built here.
    """

    def value(name: str, default: Any = None) -> Any:
        found = config.get(name, config.get(_SYNONYMS.get(name, name), default))
        if found is None:
            raise ValueError(f"config.json has no {name!r}, which a model of type {config.get('model_type')!r} needs.")
        return found

    _check_form(config)
    unused = first_position(config)
    dim, num_layers = value("hidden_size"), value("num_hidden_layers")
    shares = config["model_type"] == "albert"
    return TextShape(
        vocabulary_size=value("vocab_size"),
        max_length=value("max_position_embeddings") - unused,
        num_layers=num_layers,
        num_groups=value("num_hidden_groups", 1) if shares else num_layers,
        num_inner=value("inner_group_num", 1) if shares else 1,
        num_heads=value("num_attention_heads"),
        dim=dim,
        intermediate_dim=value("intermediate_size"),
        embedding_dim=config.get("embedding_size", dim),
        projected=shares or config.get("embedding_size", dim) != dim,
        activation=value("hidden_act", "gelu"),
        epsilon=value("layer_norm_eps", 1e-12),
        dropout=value("hidden_dropout_prob", 0.1),
        num_buckets=config.get("relative_attention_num_buckets", 32) if config["model_type"] == "mpnet" else 0,
    )


def first_position(config: dict[str, Any]) -> int:
    """The row of the table of positions that the first token gets: RoBERTa counts from behind its padding token on."""
    return config.get("pad_token_id", 1) + 1 if config["model_type"] in ("roberta", "xlm-roberta", "mpnet") else 0


def _check_form(config: dict[str, Any]) -> None:
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("sinusoidal_pos_embds"):
        raise ValueError(
            f"config.json asks for positions of type {config.get('position_embedding_type', 'sinusoidal')!r}: expected "
            "'absolute' ones, which are learnt. Take a model that has them."
        )
    if config.get("is_decoder"):
        raise ValueError("config.json describes a decoder, which writes texts: expected an encoder.")


def text_body(shape: TextShape, *, pooled: bool) -> keras.Model:
    """A transformer with random weights.

    A text stands alone, so that the vector of the first segment is the same for all its tokens: it is taken into those
    of the positions.

    Args:
        shape: Its form.
        pooled: Whether it ends in the dense layer on the first token instead of in a vector per token.

    Returns:
        A model from `token_ids` and `padding_mask`, both int32 `(n, length)`, to `(n, length, dim)`, or `(n, dim)`.
    """
    import keras_hub

    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = layers.Embedding(shape.vocabulary_size, shape.embedding_dim, name="token_embedding")(tokens)
    positions = keras_hub.layers.PositionEmbedding(shape.max_length, name="position_embedding")(x)
    x = layers.Add(name="embeddings_add")([x, positions])
    x = layers.LayerNormalization(epsilon=shape.epsilon, name="embeddings_layer_norm")(x)
    x = layers.Dropout(shape.dropout, name="embeddings_dropout")(x)
    if shape.projected:
        x = layers.Dense(shape.dim, name="embeddings_projection")(x)
    if shape.num_buckets:
        bias = RelativeBias(shape.num_buckets, shape.num_heads, name="relative_bias")(mask)
        for i in range(shape.num_layers):
            x = _relative_layer(x, bias, mask, shape, f"layer_{i}")
    else:
        for layer in _layers(shape):
            x = layer(x, padding_mask=mask)
    if pooled:
        x = layers.Dense(shape.dim, activation="tanh", name="pooler")(x[:, 0])
    return keras.Model({"token_ids": tokens, "padding_mask": mask}, x, name="body")


def _relative_layer(x: Any, bias: Any, mask: Any, shape: TextShape, name: str) -> Any:
    layers = keras.layers
    y = RelativeAttention(shape.num_heads, shape.dropout, name=f"{name}_attention")(x, bias, mask)
    y = layers.Add(name=f"{name}_add_1")([x, layers.Dropout(shape.dropout, name=f"{name}_dropout_1")(y)])
    x = layers.LayerNormalization(epsilon=shape.epsilon, name=f"{name}_norm_1")(y)
    y = layers.Dense(shape.intermediate_dim, activation(shape.activation), name=f"{name}_dense_1")(x)
    y = layers.Dropout(shape.dropout, name=f"{name}_dropout_2")(layers.Dense(shape.dim, name=f"{name}_dense_2")(y))
    return layers.LayerNormalization(epsilon=shape.epsilon, name=f"{name}_norm_2")(
        layers.Add(name=f"{name}_add_2")([x, y])
    )


def deberta_body(config: dict[str, Any]) -> keras.Model:
    """KerasHub's DeBERTa-v3 with random weights.

    Args:
        config: What config.json says.

    Raises:
        ValueError: If it describes an earlier form of DeBERTa.
    """
    import keras_hub

    attention = config.get("pos_att_type") or []
    form = {
        "relative_attention": config.get("relative_attention", False),
        "position_buckets": config.get("position_buckets", -1) > 0,
        "share_att_key": config.get("share_att_key", False),
        "norm_rel_ebd": config.get("norm_rel_ebd", "none") == "layer_norm",
        "pos_att_type": sorted(attention.split("|") if isinstance(attention, str) else attention) == ["c2p", "p2c"],
        "position_biased_input": not config.get("position_biased_input", True),
        "conv_kernel_size": not config.get("conv_kernel_size"),
        "type_vocab_size": not config.get("type_vocab_size"),
        "hidden_act": config.get("hidden_act", "gelu") == "gelu",
        "layer_norm_eps": config.get("layer_norm_eps", 1e-7) == 1e-7,
    }
    if wrong := [name for name, is_right in form.items() if not is_right]:
        raise ValueError(f"config.json has {', '.join(wrong)} otherwise than DeBERTa-v3: expected version 3.")
    return keras_hub.models.DebertaV3Backbone(
        vocabulary_size=config["vocab_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        hidden_dim=config["hidden_size"],
        intermediate_dim=config["intermediate_size"],
        dropout=config.get("hidden_dropout_prob", 0.1),
        max_sequence_length=config["max_position_embeddings"],
        bucket_size=config["position_buckets"],
    )


def _layers(shape: TextShape) -> Iterator[keras.layers.Layer]:
    """The layers in the order in which they are run; with fewer groups than layers, some of them several times."""
    import keras_hub

    made = [
        keras_hub.layers.TransformerEncoder(
            intermediate_dim=shape.intermediate_dim,
            num_heads=shape.num_heads,
            dropout=shape.dropout,
            activation=activation(shape.activation),
            layer_norm_epsilon=shape.epsilon,
            name=f"layer_{i}",
        )
        for i in range(shape.num_groups * shape.num_inner)
    ]
    for i in range(shape.num_layers):
        first = i * shape.num_groups // shape.num_layers * shape.num_inner
        yield from made[first : first + shape.num_inner]
