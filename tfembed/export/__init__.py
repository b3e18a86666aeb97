"""Export for TF Serving: versions of a model, each checked before it is published."""

import lazy_loader

# Parts of it are read without waiting for TensorFlow. The names are listed in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
