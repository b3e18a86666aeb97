"""Pretrained embeddings in Keras 3: how much to unfreeze, and off to TF Serving."""

import lazy_loader

from tfembed.registration import register_layers

# TensorFlow takes seconds to import: names are loaded when they are first used. They are listed in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

register_layers()
