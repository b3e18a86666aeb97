"""From an encoder and a head to a plain Keras model: raw texts or images in, probabilities or values out."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import keras

from tfembed.data import Dataset
from tfembed.data.class_names import normalize_name
from tfembed.encoders.encoder import Encoder
from tfembed.head_layers import build_head
from tfembed.heads import Head, linear_head


@keras.saving.register_keras_serializable(package="tfembed")
class Probabilities(keras.layers.Layer):
    """Logits to probabilities: over classes that exclude each other, or one by one. Knows the classes' names.

    Logits are divided by a temperature first, 1 until `calibrate` finds a better one.
    """

    def __init__(self, class_names: Sequence[str], multi_label: bool = False, **layer_options: Any) -> None:
        super().__init__(**{"name": "probabilities", "dtype": "float32"} | layer_options)
        self.class_names, self.multi_label = tuple(class_names), multi_label
        self.temperature = self.add_weight(shape=(), initializer="ones", trainable=False, name="temperature")
        self.built = True

    def call(self, logits: Any) -> Any:
        """Probabilities `(n, num_classes)`; losses of Keras find the logits they were made of."""
        activation = keras.activations.sigmoid if self.multi_label else keras.activations.softmax
        return activation(logits / self.temperature)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"class_names": list(self.class_names), "multi_label": self.multi_label}


@keras.saving.register_keras_serializable(package="tfembed")
class Values(keras.layers.Layer):
    """Standardized values to values in the unit of the targets: `value * scale + mean`.

    Training sets `mean` and `scale` to mean and standard deviation of the training targets; before, they are 0 and 1.
    """

    def __init__(self, **layer_options: Any) -> None:
        super().__init__(**{"name": "values", "dtype": "float32"} | layer_options)
        # float64, so that standardized targets are the same for targets far from 0, where float32 is coarse
        exact: dict[str, Any] = {"shape": (), "dtype": "float64", "trainable": False, "autocast": False}
        self.mean = self.add_weight(initializer="zeros", name="mean", **exact)
        self.scale = self.add_weight(initializer="ones", name="scale", **exact)
        self.built = True

    def call(self, standardized: Any) -> Any:
        """Values `(n, 1)` in the unit of the targets, float32."""
        return keras.ops.cast(keras.ops.cast(standardized, "float64") * self.scale + self.mean, "float32")


def build_text_classifier(
    encoder: Encoder, class_names: Sequence[str], *, head: Head | None = None, multi_label: bool = False
) -> keras.Model:
    """Build a classifier of texts.

    Args:
        encoder: A text encoder.
        class_names: In the order of their indices.
        head: Linear if None.
        multi_label: Whether an example may have several classes, or none.

    Returns:
        A Keras model from texts, string `(n,)`, to probabilities `(n, num_classes)`. Its layer `head` gives the logits:
        `keras.Model(model.input, model.get_layer("head").output)`. The encoder is frozen unless it was unfrozen.

    Raises:
        ValueError: If the encoder is none of texts, or the class names are not at least two different ones.

    Example:
        >>> import tfembed as te
        >>> model = te.build_text_classifier(te.load_encoder("minilm"), ["no", "yes"])
        >>> model.output.shape
        (None, 2)
    """
    return _build(encoder, "text", head, Probabilities(_checked(class_names, multi_label), multi_label))


def build_image_classifier(
    encoder: Encoder,
    class_names: Sequence[str],
    *,
    head: Head | None = None,
    multi_label: bool = False,
    inputs: str = "arrays",
) -> keras.Model:
    """Build a classifier of images.

    Args:
        encoder: An image encoder.
        class_names: In the order of their indices.
        head: Linear if None.
        multi_label: Whether an example may have several classes, or none.
        inputs: `"arrays"` for uint8 pixels `(n, height, width, 3)`, or `"bytes"` for encoded images, string `(n,)`.

    Returns:
        See `build_text_classifier`.

    Raises:
        ValueError: See `build_text_classifier`.

    Example:
        >>> import tfembed as te
        >>> te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b", "c"]).output.shape
        (None, 3)
    """
    return _build(encoder, "image", head, Probabilities(_checked(class_names, multi_label), multi_label), inputs)


def build_text_regressor(encoder: Encoder, *, head: Head | None = None) -> keras.Model:
    """Build a regressor of texts: from texts, string `(n,)`, to values `(n, 1)` in the unit of the targets.

    Its layer `head` gives standardized values; the last layer holds mean and scale of the training targets.

    Raises:
        ValueError: If the encoder is none of texts.

    Example:
        >>> import tfembed as te
        >>> te.build_text_regressor(te.load_encoder("minilm")).output.shape
        (None, 1)
    """
    return _build(encoder, "text", head, Values())


def build_image_regressor(encoder: Encoder, *, head: Head | None = None, inputs: str = "arrays") -> keras.Model:
    """Build a regressor of images: from images, as `build_image_classifier` takes them, to values `(n, 1)`.

    See `build_text_regressor` for its layers.

    Raises:
        ValueError: If the encoder is none of images.

    Example:
        >>> import tfembed as te
        >>> te.build_image_regressor(te.load_encoder("glyphs")).output.shape
        (None, 1)
    """
    return _build(encoder, "image", head, Values(), inputs)


def build_embedder(encoder: Encoder, *, normalize: bool = True, inputs: str = "arrays") -> keras.Model:
    """Build a model from raw examples to embeddings, which shares the encoder's weights.

    To make embeddings of the same class more similar, train a classifier of the same encoder with `contrastive` first.

    Args:
        encoder: Of texts or images.
        normalize: Whether embeddings have length 1, so that their dot product is their cosine.
        inputs: What images come as; see `build_image_classifier`.

    Returns:
        A model from texts, or images, to float32 `(n, dim)`.

    Raises:
        ValueError: If `inputs` is neither `"arrays"` nor `"bytes"`.

    Example:
        >>> import tensorflow as tf, tfembed as te
        >>> model = te.build_embedder(te.load_encoder("minilm"))
        >>> a, b, c = model(tf.constant(["my card was swallowed", "the machine ate my card", "good morning"])).numpy()
        >>> bool(a @ b > a @ c)
        True
    """
    _check_encoder(encoder)
    raw = _raw(encoder.spec.kind, inputs)
    embedding = encoder(raw)
    if normalize:
        embedding = keras.layers.UnitNormalization(name="unit_length")(embedding)
    return keras.Model(raw, embedding, name="embedder")


def build_model(encoder: Encoder, data: Dataset, head: Head | None = None) -> keras.Model:
    """Build the model that a data set asks for: a classifier or a regressor, of texts or of images.

    Raises:
        ValueError: If the encoder is not of what the data are.

    Example:
        >>> import tfembed as te
        >>> data = te.load_text(te.resource_path("reviews"), label="sentiment")
        >>> build_model(te.load_encoder("minilm"), data).output.shape
        (None, 2)
    """
    if data.task == "regression":
        return (build_text_regressor if data.kind == "text" else build_image_regressor)(encoder, head=head)
    classifier = build_text_classifier if data.kind == "text" else build_image_classifier
    return classifier(encoder, data.class_names, head=head, multi_label=data.task == "multi_label")


def _build(encoder: Encoder, kind: str, head: Head | None, last: keras.layers.Layer, inputs: str = "arrays") -> Any:
    _check_encoder(encoder)
    if head is not None and not isinstance(head, Head):
        raise ValueError(f"The head is {head!r}: expected a Head, such as te.mlp_head(128), or None for a linear one.")
    if encoder.spec.kind != kind:
        raise ValueError(
            f"Encoder {encoder.spec.name!r} is of {encoder.spec.kind}s, expected one of {kind}s: "
            f"use build_{encoder.spec.kind}_{'classifier' if isinstance(last, Probabilities) else 'regressor'}."
        )
    raw = _raw(kind, inputs)
    num_outputs = len(last.class_names) if isinstance(last, Probabilities) else 1
    layers = build_head(head or linear_head(), encoder.dim, num_outputs)
    return keras.Model(raw, last(layers(encoder(raw))), name=f"{kind}_model")


def _check_encoder(encoder: Any) -> None:
    if not isinstance(encoder, Encoder):
        raise ValueError(f"The encoder is {encoder!r}: expected an Encoder, such as te.load_encoder('minilm').")


def _raw(kind: str, inputs: str) -> Any:
    """What a model takes."""
    if inputs not in ("arrays", "bytes"):
        raise ValueError(f"Unknown inputs {inputs!r}: pass 'arrays' or 'bytes'.")
    if kind == "text":
        return keras.Input((), dtype="string", name="text")
    if inputs == "bytes":
        return keras.Input((), dtype="string", name="image_bytes")
    return keras.Input((None, None, 3), dtype="uint8", name="image")


def _checked(class_names: Sequence[str], multi_label: bool) -> tuple[str, ...]:
    if isinstance(class_names, Set | Mapping):
        raise ValueError(f"Class names {class_names!r} have no order of their own: pass a list.")
    least = 1 if multi_label else 2
    if not isinstance(class_names, Iterable):
        raise ValueError(
            f"class_names={class_names!r}: expected a list of at least {least} different names, such as "
            "data.class_names or ['no', 'yes']."
        )
    names = tuple(normalize_name(name) if isinstance(name, str) else name for name in class_names)
    if isinstance(class_names, str) or len(names) < least or len(set(names)) != len(names):
        raise ValueError(f"Class names {class_names!r}: expected a list of at least {least} different names.")
    return names
