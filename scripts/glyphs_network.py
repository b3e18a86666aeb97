"""The network of `glyphs` in plain TensorFlow, and its SavedModel with TF Hub's reusable interface.

A small residual network in five blocks, `stem` and `stage_1` to `stage_4`; every variable's name starts with the name
of its block. The recipe that trains it is `make_glyphs.py`.
"""

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

IMAGE_SHAPE = (32, 32, 3)
STEM_CHANNELS = 24
STAGES = ((24, 1), (64, 2), (128, 2))  # (channels, stride) of each residual stage
DIM = 192  # stage_4: a 1x1 convolution before the mean over positions
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.98  # a run is a few thousand steps
L2_STRENGTH = 1e-4

Variables = Mapping[str, tf.Variable]


def make_variables(seed: int) -> dict[str, tf.Variable]:
    """Create the variables, by name: kernels as He et al. (2015, page 4) draw them, the same for the same seed.

    Example:
        >>> list(make_variables(0))[:3]
        ['stem/conv/kernel', 'stem/norm/scale', 'stem/norm/offset']
    """
    shapes = {"stem/conv": (3, 3, IMAGE_SHAPE[-1], STEM_CHANNELS)}
    channels = STEM_CHANNELS
    for stage, (width, stride) in enumerate(STAGES, start=1):
        shapes[f"stage_{stage}/conv_1"] = (3, 3, channels, width)
        shapes[f"stage_{stage}/conv_2"] = (3, 3, width, width)
        if stride > 1:
            shapes[f"stage_{stage}/conv_shortcut"] = (1, 1, channels, width)
        channels = width
    shapes[f"stage_{len(STAGES) + 1}/conv"] = (1, 1, channels, DIM)
    variables: dict[str, tf.Variable] = {}
    for order, (name, shape) in enumerate(shapes.items()):
        variables |= _convolution_variables(name, shape, seed=(seed, order))
    return variables


def _convolution_variables(name: str, shape: tuple[int, ...], seed: tuple[int, int]) -> dict[str, tf.Variable]:
    """One convolution's kernel and the batch norm behind it."""
    spread = (2.0 / (shape[0] * shape[1] * shape[2])) ** 0.5
    norm, ones, zeros = name.replace("conv", "norm"), tf.ones(shape[-1:]), tf.zeros(shape[-1:])
    values = {
        f"{name}/kernel": (spread * tf.random.stateless_normal(shape, seed), True),
        f"{norm}/scale": (ones, True),
        f"{norm}/offset": (zeros, True),
        f"{norm}/moving_mean": (zeros, False),
        f"{norm}/moving_variance": (ones, False),
    }
    return {key: tf.Variable(value, name=key, trainable=trains) for key, (value, trains) in values.items()}


def forward(variables: Variables, images: tf.Tensor, training: bool) -> tf.Tensor:
    """Encode images.

    Args:
        variables: What `make_variables` returns.
        images: (batch, 32, 32, 3) float32 in [0, 1].
        training: Normalise by the batch and move the moving statistics towards it; otherwise normalise by them.

    Returns:
        (batch, 192) float32, none negative.
    """
    x = tf.nn.relu(_convolve(variables, 2.0 * images - 1.0, "stem/conv", 2, training))
    for stage, (_, stride) in enumerate(STAGES, start=1):
        y = tf.nn.relu(_convolve(variables, x, f"stage_{stage}/conv_1", stride, training))
        y = _convolve(variables, y, f"stage_{stage}/conv_2", 1, training)
        if stride > 1:
            x = _convolve(variables, x, f"stage_{stage}/conv_shortcut", stride, training)
        x = tf.nn.relu(x + y)
    x = tf.nn.relu(_convolve(variables, x, f"stage_{len(STAGES) + 1}/conv", 1, training))
    return tf.reduce_mean(x, axis=(1, 2))


def _convolve(variables: Variables, x: tf.Tensor, name: str, stride: int, training: bool) -> tf.Tensor:
    """Convolution and batch norm."""
    x = tf.nn.conv2d(x, variables[f"{name}/kernel"], strides=stride, padding="SAME")
    norm = name.replace("conv", "norm")
    scale, offset = variables[f"{norm}/scale"], variables[f"{norm}/offset"]
    moving = variables[f"{norm}/moving_mean"], variables[f"{norm}/moving_variance"]
    if not training:
        return tf.nn.batch_normalization(x, *moving, offset, scale, BATCH_NORM_EPSILON)
    y, *batch = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=BATCH_NORM_EPSILON, is_training=True)
    for old, new in zip(moving, batch, strict=True):
        old.assign_sub((1.0 - BATCH_NORM_MOMENTUM) * (old - new))
    return y


def save(variables: Variables, folder: Path) -> None:
    """Write the reusable SavedModel: `__call__(inputs, training=False)`, its variables and regularization losses."""
    module = tf.train.Checkpoint()

    @tf.function(autograph=False)
    def call(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return forward(variables, inputs, training)

    inputs = tf.TensorSpec((None, *IMAGE_SHAPE), tf.float32, name="inputs")
    for training in (True, False):
        call.get_concrete_function(inputs, training)
    module.__call__ = call
    module.variables = list(variables.values())
    module.trainable_variables = [v for v in variables.values() if v.trainable]
    module.regularization_losses = [_penalty(v) for name, v in variables.items() if name.endswith("/kernel")]
    tf.saved_model.save(module, str(folder))


def _penalty(kernel: tf.Variable) -> tf.types.experimental.PolymorphicFunction:
    """A function without arguments that gives the kernel's L2 penalty."""
    return tf.function(lambda: L2_STRENGTH * tf.nn.l2_loss(kernel), input_signature=[], autograph=False)
