"""Pretrained embeddings in Keras 3: how much to unfreeze, and off to TF Serving."""

from typing import Any

import lazy_loader

from tfembed.registration import register_layers
from tfembed.spelling import did_you_mean
from tfembed.startup import import_tensorflow, in_notebook

# TensorFlow takes seconds to import: names are loaded when they are first used. They are listed in __init__.pyi.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in __all__:
        if in_notebook():
            import_tensorflow()  # its start-up lines would stand in the first cell
        return _load(name)
    raise AttributeError(f"module 'tfembed' has no attribute {name!r}.{did_you_mean(name, __all__)}")


register_layers()
