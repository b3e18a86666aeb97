"""Pretrained embeddings in Keras 3: how much to unfreeze, and off to TF Serving."""

from typing import Any

import lazy_loader

from tfembed.backend import check_backend
from tfembed.registration import register_layers
from tfembed.spelling import did_you_mean
from tfembed.startup import import_tensorflow, in_notebook

# TensorFlow takes seconds to import: names are loaded when they are first used. They are listed in __init__.pyi.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
# These may be used beside another backend of Keras.
_WITHOUT_KERAS = ("Client", "ClientOptions", "resource_path", "rollback", "versions")


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'tfembed' has no attribute {name!r}.{did_you_mean(name, __all__)}")
    if name not in _WITHOUT_KERAS:
        check_backend()
    if in_notebook():
        import_tensorflow()  # its start-up lines would stand in the first cell
    return _load(name)


register_layers()
