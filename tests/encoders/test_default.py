"""The encoder that is taken where none is named."""

from pathlib import Path
from typing import Any

import keras
import pytest

from tfembed.encoders.applications import parse_variant
from tfembed.encoders.catalog import CATALOG
from tfembed.encoders.default import FOR_PHOTOGRAPHS, default_encoder


@pytest.mark.parametrize("name", FOR_PHOTOGRAPHS)
def test_weights_are_looked_for_where_keras_keeps_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of each network for photographs is the one that Keras asks for."""
    files = []

    def get_file(file: str, *_: Any, **__: Any) -> None:
        files.append(file)
        raise OSError("stopped")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    handle = CATALOG[name].handle if name in CATALOG else name
    variant = parse_variant(handle.removeprefix("applications:"))
    with pytest.raises(OSError, match="stopped"):
        getattr(keras.applications, variant.name)(
            **variant.options, weights="imagenet", include_top=False, input_shape=(224, 224, 3)
        )
    assert files == [FOR_PHOTOGRAPHS[name]]


def test_images_get_a_network_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first network of the table whose weights are here is taken, `glyphs` only if there is none."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert (default_encoder("text"), default_encoder("image")) == ("minilm", "glyphs")
    (tmp_path / "models").mkdir()
    for name in reversed(FOR_PHOTOGRAPHS):
        (tmp_path / "models" / FOR_PHOTOGRAPHS[name]).touch()
        assert default_encoder("image") == name
