"""Export for TF Serving: versions of a model, each checked before it is published."""

import lazy_loader

# `tfembed doctor` and `tfembed versions` read exports without TensorFlow.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
