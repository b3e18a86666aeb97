"""Features: what crosses the freeze boundary, computed once per example and used in every epoch, phase and trial.

Reading order: `columns` (what features are), `encoding` (how they are computed), `key` (what they depend on), `entry`
and `store` (how they lie on disk), `cache` (all of it together).
"""

import lazy_loader

# `tfembed cache` looks at what is stored without waiting for TensorFlow.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
