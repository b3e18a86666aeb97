"""What happens when Keras is imported."""

import keras.src.backend
import pytest
from keras.src.backend.common import masking

from tfembed.registration import _register


@pytest.mark.parametrize("name", ["get_keras_mask", "set_keras_mask"])
def test_names_that_keras_moved_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """KerasHub before 0.33 imports them from a module that has them no more in Keras 3.16."""
    monkeypatch.delattr(keras.src.backend, name)
    _register(keras)
    assert getattr(keras.src.backend, name) is getattr(masking, name)
