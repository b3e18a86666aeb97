"""KerasHub's DINOv2 as a model whose positions train and are saved like all else.

KerasHub keeps them twice, makes the one set of the other when a file is read, and does not notice every change when it
is written.
"""

import re
from typing import Any

import keras

from tfembed.encoders.hugging_face.image_bodies import ImageShape, image_body

# From the paths of variables here to those in KerasHub's backbone.
_PATHS = (
    (r"^patch_embedding/", "embeddings/patch_embeddings/projection/"),
    (r"^position_embedding/class_token$", "embeddings/cls_token"),
    (r"^position_embedding/extra_tokens$", "embeddings/register_tokens"),
    (r"^position_embedding/positions$", "embeddings/interpolated_position_embeddings"),
    (r"^norm/", "layernorm/"),
    (r"^layer_(\d+)_norm_(\d)/", r"encoder/layers_\1/norm\2/"),
    (r"^layer_(\d+)_attention/", r"encoder/layers_\1/attention/attention/"),
    (r"^layer_(\d+)_scale_(\d)/factors$", r"encoder/layers_\1/layer_scale\2/lambda1"),
)
_DENSE = ((r"^layer_(\d+)_dense_(\d)/", r"encoder/layers_\1/mlp/fc\2/"),)
_GATED = (
    (r"^layer_(\d+)_dense_1/", r"encoder/layers_\1/mlp/weights_in/"),
    (r"^layer_(\d+)_dense_2/", r"encoder/layers_\1/mlp/weights_out/"),
)


def from_keras_hub(backbone: Any) -> keras.Model:
    """The same network.

    Args:
        backbone: A DINOV2Backbone.

    Returns:
        A model from pixels to the vectors of class token, registers and patches.
    """
    inside = backbone.intermediate_dim
    shape = ImageShape(
        image_size=backbone.image_shape[0],
        patch_size=backbone.patch_size,
        num_layers=backbone.num_layers,
        num_heads=backbone.num_heads,
        dim=backbone.hidden_dim,
        intermediate_dim=(int(inside * 2 / 3) + 7) // 8 * 8 if backbone.use_swiglu_ffn else inside,
        num_extra=backbone.num_register_tokens,
        gated=backbone.use_swiglu_ffn,
        scaled=True,
        dropout=backbone.dropout_rate,
    )
    body = image_body(shape)
    theirs = {variable.path.removeprefix(f"{backbone.name}_"): variable for variable in backbone.variables}
    for variable in body.variables:
        if "seed_generator" in variable.path:
            continue
        path = variable.path
        for here, there in (*_PATHS, *(_GATED if shape.gated else _DENSE)):
            path = re.sub(here, there, path)
        variable.assign(theirs[path])
    return body
