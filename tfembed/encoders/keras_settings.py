"""Settings of Keras in which encoders would fail, or compute something else without a word."""

import keras


def check_settings(kind: str | None = None) -> None:
    """Check that Keras is set as encoders need it: to float32 and, for images, to channels last.

    Args:
        kind: Kind of the encoder, `"text"` or `"image"`; None to check what both need.

    Raises:
        ValueError: If it is set otherwise, with the call that sets it right.

    Example:
        >>> check_settings("image")
    """
    settings = [("floatx", keras.config.floatx(), "float32", "tfembed computes in float32")]
    if kind == "image":
        form = keras.config.image_data_format()
        settings.append(("image_data_format", form, "channels_last", "images have their channels last"))
    for name, value, expected, why in settings:
        if value != expected:
            raise ValueError(
                f"Keras is set to {name} {value!r}, but {why}: call keras.config.set_{name}({expected!r}) before you "
                f'load anything, or write "{name}": "{expected}" into the file keras.json.'
            )
